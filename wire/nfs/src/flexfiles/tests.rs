//! Golden bytes, refusals and hostile input of flexible-files bodies.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::v4::{
    DeviceId, Filehandle, Nfsstat4, Nfstime4, Stateid,
    layout::{DeviceError, IoInfo},
};

fn server(filehandle: &'static [u8]) -> DataServer {
    DataServer {
        device: DeviceId(*b"0123456789abcdef"),
        efficiency: 9,
        stateid: Stateid::ANONYMOUS,
        filehandles: vec![Filehandle::new(Bytes::from_static(filehandle)).unwrap()],
        user: DataServer::decimal(17),
        group: DataServer::decimal(4_294_967_295),
    }
}

fn layout() -> FfLayout {
    FfLayout {
        stripe_unit_bytes: 0,
        mirrors: vec![Mirror { data_servers: vec![server(b"fh")] }],
        flags: flags::NO_READ_IO,
        stats_collect_hint_s: 60,
    }
}

/// Spec: RFC 8435 §5.1: stripe unit, mirrors of data servers, flags, hint; each data server as
/// device, efficiency, stateid, handles, user, group.
#[test]
fn layout_golden_bytes() {
    let golden: &[u8] = &[
        0, 0, 0, 0, 0, 0, 0, 0, // stripe unit
        0, 0, 0, 1, // one mirror
        0, 0, 0, 1, // one data server
        b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9', b'a', b'b', b'c', b'd', b'e',
        b'f', // device
        0, 0, 0, 9, // efficiency
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // stateid
        0, 0, 0, 1, // one handle
        0, 0, 0, 2, b'f', b'h', 0, 0, // the handle
        0, 0, 0, 2, b'1', b'7', 0, 0, // user
        0, 0, 0, 10, b'4', b'2', b'9', b'4', b'9', b'6', b'7', b'2', b'9', b'5', 0, 0, // group
        0, 0, 0, 4, // flags
        0, 0, 0, 60, // hint
    ];
    let body = layout().to_body().unwrap();
    assert_eq!(body, golden);
    assert_eq!(decode_body(&body), Ok(layout()));
}

/// Two data servers share the mirror in turns of 64 MiB. Spec: RFC 8435 §5.1, §6.
#[test]
fn striped_layout_golden_bytes() {
    let one = |device: &[u8; 16], filehandle: &'static [u8]| DataServer {
        device: DeviceId(*device),
        user: DataServer::decimal(65_533),
        group: DataServer::decimal(65_533),
        ..server(filehandle)
    };
    let data_servers = vec![one(b"AAAAAAAAAAAAAAAA", b"even"), one(b"BBBBBBBBBBBBBBBB", b"odd")];
    let striped = FfLayout {
        stripe_unit_bytes: 64 << 20,
        mirrors: vec![Mirror { data_servers }],
        flags: 0,
        ..layout()
    };
    let head: &[u8] = &[
        0, 0, 0, 0, 4, 0, 0, 0, // stripe unit
        0, 0, 0, 1, // one mirror
        0, 0, 0, 2, // two data servers
    ];
    let even: &[u8] = &[
        0, 0, 0, 9, // efficiency
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // stateid
        0, 0, 0, 1, // one handle
        0, 0, 0, 4, b'e', b'v', b'e', b'n', // the handle
        0, 0, 0, 5, b'6', b'5', b'5', b'3', b'3', 0, 0, 0, // user
        0, 0, 0, 5, b'6', b'5', b'5', b'3', b'3', 0, 0, 0, // group
    ];
    let odd: &[u8] = &[
        0, 0, 0, 9, // efficiency
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // stateid
        0, 0, 0, 1, // one handle
        0, 0, 0, 3, b'o', b'd', b'd', 0, // the handle
        0, 0, 0, 5, b'6', b'5', b'5', b'3', b'3', 0, 0, 0, // user
        0, 0, 0, 5, b'6', b'5', b'5', b'3', b'3', 0, 0, 0, // group
    ];
    let tail: &[u8] = &[
        0, 0, 0, 0, // flags
        0, 0, 0, 60, // hint
    ];
    let golden = [head, b"AAAAAAAAAAAAAAAA", even, b"BBBBBBBBBBBBBBBB", odd, tail].concat();
    let body = striped.to_body().unwrap();
    assert_eq!(body, golden);
    assert_eq!(decode_body(&body), Ok(striped));
}

/// Spec: RFC 8435 §4.1: addresses, then versions.
#[test]
fn device_golden_bytes() {
    let device = DeviceAddr {
        addresses: vec![NetAddr::new(Transport::Tcp, "192.0.2.7:2049".parse().unwrap())],
        versions: vec![DeviceVersion {
            version: 3,
            minor_version: 0,
            rsize_bytes: 1 << 20,
            wsize_bytes: 1 << 20,
            tightly_coupled: false,
        }],
    };
    let golden: &[u8] = &[
        0, 0, 0, 1, // one address
        0, 0, 0, 3, b't', b'c', b'p', 0, // netid
        0, 0, 0, 13, b'1', b'9', b'2', b'.', b'0', b'.', b'2', b'.', b'7', b'.', b'8', b'.', b'1', 0, 0,
        0, // uaddr
        0, 0, 0, 1, // one version
        0, 0, 0, 3, 0, 0, 0, 0, // 3.0
        0, 0x10, 0, 0, 0, 0x10, 0, 0, // rsize, wsize
        0, 0, 0, 0, // loosely coupled
    ];
    let body = encode_body(&device);
    assert_eq!(body, golden);
    assert_eq!(decode_body(&body), Ok(device));
}

/// Linux reads a layout into one page: what does not fit must never leave.
#[test]
fn a_layout_that_clients_refuse_is_not_made() {
    let handle: &'static [u8] = &[1; 64];
    let one = |servers: usize| FfLayout {
        mirrors: (0..servers).map(|_| Mirror { data_servers: vec![server(handle)] }).collect(),
        ..layout()
    };
    // 20 bytes around, and for each mirror 4 + 16 + 4 + 16 + 4 + 68 + 8 + 16 = 136.
    assert_eq!(one(29).to_body().unwrap().len(), 20 + 29 * 136);
    assert_eq!(one(30).to_body(), Err(LayoutBodyError::TooLarge { bytes: 20 + 30 * 136 }));
    assert_eq!(one(0).to_body(), Err(LayoutBodyError::Empty { what: "mirrors" }));

    let mut bare = layout();
    bare.mirrors[0].data_servers[0].filehandles.clear();
    assert_eq!(bare.to_body(), Err(LayoutBodyError::Empty { what: "filehandles" }));

    let mut striped = layout();
    striped.mirrors[0].data_servers.push(server(b"other"));
    assert_eq!(striped.to_body(), Err(LayoutBodyError::Striping));
    striped.stripe_unit_bytes = 1 << 20;
    assert!(striped.to_body().is_ok());
    striped.mirrors.push(Mirror { data_servers: vec![server(b"third")] });
    assert_eq!(striped.to_body(), Err(LayoutBodyError::Striping));
}

fn layout_return() -> FfLayoutReturn {
    let stateid = Stateid { seqid: 1, other: *b"layoutlayout" };
    let error = DeviceError { device: DeviceId([7; 16]), status: Nfsstat4::Nxio, op: 38 };
    let latency = IoLatency {
        ops_requested: 1,
        busy_time: Nfstime4 { seconds: 2, nseconds: 3 },
        ..IoLatency::default()
    };
    let update = FfLayoutUpdate {
        address: NetAddr::new(Transport::Tcp, "[2001:db8::1]:2049".parse().unwrap()),
        filehandle: Filehandle::new(Bytes::from_static(b"handle")).unwrap(),
        read: latency,
        write: IoLatency::default(),
        duration: Nfstime4 { seconds: 60, nseconds: 0 },
        local: false,
    };
    let io = IoInfo { count: 4, bytes: 5 };
    FfLayoutReturn {
        errors: vec![IoError { offset: 0, length: 4096, stateid, errors: vec![error] }],
        stats: vec![IoStats {
            offset: 0,
            length: u64::MAX,
            stateid,
            read: io,
            write: IoInfo::default(),
            device: DeviceId([7; 16]),
            update,
        }],
    }
}

/// Spec: RFC 8435 §9.1: the errors' fields in their order, and no statistics.
#[test]
fn layout_return_golden_bytes() {
    let errors_only = FfLayoutReturn { stats: Vec::new(), ..layout_return() };
    let golden: &[u8] = &[
        0, 0, 0, 1, // one error
        0, 0, 0, 0, 0, 0, 0, 0, // offset
        0, 0, 0, 0, 0, 0, 0x10, 0, // length
        0, 0, 0, 1, b'l', b'a', b'y', b'o', b'u', b't', b'l', b'a', b'y', b'o', b'u', b't', // stateid
        0, 0, 0, 1, // one device
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, // device
        0, 0, 0, 6, // NXIO
        0, 0, 0, 38, // WRITE
        0, 0, 0, 0, // no statistics
    ];
    let body = encode_body(&errors_only);
    assert_eq!(body, golden);
    assert_eq!(FfLayoutReturn::from_body(&body), Ok(errors_only));
    assert_eq!(FfLayoutReturn::from_body(&Bytes::new()), Ok(FfLayoutReturn::default()));
}

#[test]
fn layout_return_round_trips_and_cut_short_is_an_error() {
    let body = encode_body(&layout_return());
    assert_eq!(FfLayoutReturn::from_body(&body), Ok(layout_return()));
    for len in 1..body.len() {
        assert!(FfLayoutReturn::from_body(&body.slice(..len)).is_err(), "{len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bodies_never_panic(body: Vec<u8>) {
        let body = Bytes::from(body);
        let _ = decode_body::<FfLayout>(&body);
        let _ = decode_body::<DeviceAddr>(&body);
        let _ = decode_body::<FfLayoutReturn>(&body);
        let _ = decode_body::<FfLayoutUpdate>(&body);
        if let Ok(address) = decode_body::<NetAddr>(&body) {
            let _ = address.resolve();
        }
    }

    /// A valid body with bytes changed is refused or is another valid body; never a panic.
    #[test]
    fn damaged_bodies_never_panic(at in 0usize..400, byte: u8) {
        let mut body = encode_body(&layout_return()).to_vec();
        let at = at % body.len();
        body[at] = byte;
        let body = Bytes::from(body);
        if let Ok(value) = decode_body::<FfLayoutReturn>(&body) {
            prop_assert_eq!(encode_body(&value), body);
        }
    }
}
