//! Golden bytes of the layout operations, with flexible-files bodies inside.

use super::*;
use crate::{
    flexfiles::{
        DataServer, DeviceAddr, DeviceVersion, FfLayout, Mirror, NetAddr, Transport, decode_body, encode_body,
    },
    v4::{
        attr::LayoutType,
        layout::{DeviceError, IoInfo, Iomode, LENGTH_TO_END, Layout, LayoutUpdate},
    },
};

const DEVICE: DeviceId = DeviceId(*b"devicedevicedevi");
const DEVICE_WORDS: [u32; 4] = [0x6465_7669, 0x6365_6465, 0x7669_6365, 0x6465_7669];

/// Spec: RFC 8881 §18.43.1.
#[test]
fn layoutget_args() {
    let args = layoutget::Args {
        signal_layout_avail: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::ReadWrite,
        offset: 1,
        length: LENGTH_TO_END,
        min_length: 4096,
        stateid: Stateid::CURRENT,
        maxcount: 4096,
    };
    golden(&args, &[0, 4, 2, 0, 1, u32::MAX, u32::MAX, 0, 4096, 1, 0, 0, 0, 4096]);
}

/// One segment of 64 MiB on one data server, the body inside the reply.
/// Spec: RFC 8881 §18.43.2; RFC 8435 §5.1.
#[test]
fn layoutget_result_with_a_flexible_files_layout() {
    let server = DataServer {
        device: DEVICE,
        efficiency: 1,
        stateid: Stateid::ANONYMOUS,
        filehandles: vec![Filehandle::new(name("handle")).unwrap()],
        user: DataServer::decimal(1017),
        group: DataServer::decimal(99),
    };
    let body = FfLayout {
        stripe_unit_bytes: 1 << 32,
        mirrors: vec![Mirror { data_servers: vec![server] }],
        flags: 0,
        stats_collect_hint_s: 30,
    };
    let layout = Layout {
        offset: 64 << 20,
        length: 64 << 20,
        iomode: Iomode::Read,
        layout_type: LayoutType::FLEX_FILES,
        body: body.to_body().unwrap(),
    };
    let res = layoutget::ResOk { return_on_close: true, stateid: STATEID, layouts: vec![layout] };
    golden(
        &res,
        &join(&[
            &[1], // return_on_close
            &STATEID_WORDS,
            &[1],                                    // one layout
            &[0, 0x0400_0000],                       // lo_offset
            &[0, 0x0400_0000],                       // lo_length
            &[1],                                    // LAYOUTIOMODE4_READ
            &[4],                                    // LAYOUT4_FLEX_FILES
            &[92],                                   // bytes of the body: 23 words
            &[1, 0],                                 // ffl_stripe_unit
            &[1, 1],                                 // one mirror, one data server
            &DEVICE_WORDS,                           // ffds_deviceid
            &[1],                                    // ffds_efficiency
            &[0, 0, 0, 0],                           // ffds_stateid
            &[1, 6, text(b"hand"), text(b"le\0\0")], // ffds_fh_vers
            &[4, text(b"1017")],                     // ffds_user
            &[2, text(b"99\0\0")],                   // ffds_group
            &[0],                                    // ffl_flags
            &[30],                                   // ffl_stats_collect_hint
        ]),
    );
    assert_eq!(decode_body(&res.layouts[0].body), Ok(body));
    golden(&layoutget::TryLater { will_signal: false }, &[0]);
}

/// Spec: RFC 8881 §18.40; RFC 8435 §4.1.
#[test]
fn getdeviceinfo() {
    use super::super::getdeviceinfo::{Args, ResOk, TooSmall, notify};
    let both = Bitmap::of(&[notify::CHANGE, notify::DELETE]);
    let args = Args { device: DEVICE, layout_type: LayoutType::FLEX_FILES, maxcount: 8192, notify: both };
    golden(&args, &join(&[&DEVICE_WORDS, &[4, 8192, 1, 6]]));
    let version = DeviceVersion {
        version: 3,
        minor_version: 0,
        rsize_bytes: 1 << 20,
        wsize_bytes: 1 << 19,
        tightly_coupled: false,
    };
    let address = DeviceAddr {
        addresses: vec![NetAddr::new(Transport::Tcp, "10.0.0.1:2049".parse().unwrap())],
        versions: vec![version],
    };
    let res = ResOk { layout_type: LayoutType::FLEX_FILES, address: encode_body(&address), notify: both };
    golden(
        &res,
        &join(&[
            &[4],  // da_layout_type
            &[52], // bytes of the body: 13 words
            &[1, 3, text(b"tcp\0")],
            &[12, text(b"10.0"), text(b".0.1"), text(b".8.1")], // uaddr
            &[1, 3, 0, 1 << 20, 1 << 19, 0], // one version: 3.0, rsize, wsize, loosely coupled
            &[1, 6],                         // gdir_notification
        ]),
    );
    golden(&TooSmall { mincount: 100 }, &[100]);
}

/// As Linux sends it: from 0, with the last byte, without a time.
/// Spec: RFC 8881 §18.42.
#[test]
fn layoutcommit() {
    let update = LayoutUpdate { layout_type: LayoutType::FLEX_FILES, body: Bytes::new() };
    let args = super::super::layoutcommit::Args {
        offset: 0,
        length: 100,
        reclaim: false,
        stateid: STATEID,
        last_write_offset: Some(99),
        time_modify: None,
        update: update.clone(),
    };
    golden(&args, &join(&[&[0, 0, 0, 100, 0], &STATEID_WORDS, &[1, 0, 99], &[0], &[4, 0]]));
    let timed = super::super::layoutcommit::Args {
        last_write_offset: None,
        time_modify: Some(Nfstime4 { seconds: 1, nseconds: 2 }),
        ..args
    };
    golden(&timed, &join(&[&[0, 0, 0, 100, 0], &STATEID_WORDS, &[0], &[1, 0, 1, 2], &[4, 0]]));
    golden(&super::super::layoutcommit::ResOk { new_size: Some(100) }, &[1, 0, 100]);
    golden(&super::super::layoutcommit::ResOk { new_size: None }, &[0]);
}

/// Spec: RFC 8881 §18.44.
#[test]
fn layoutreturn() {
    use super::super::layoutreturn::{Args, ResOk, ReturnFile, ReturnScope};
    let file = ReturnFile { offset: 0, length: LENGTH_TO_END, stateid: STATEID, body: name("body") };
    let args =
        |scope| Args { reclaim: false, layout_type: LayoutType::FLEX_FILES, iomode: Iomode::Any, scope };
    let file_words = join(&[&[0, 4, 3, 1, 0, 0, u32::MAX, u32::MAX], &STATEID_WORDS, &[4, text(b"body")]]);
    golden(&args(ReturnScope::File(file)), &file_words);
    golden(&args(ReturnScope::Fsid), &[0, 4, 3, 2]);
    golden(&args(ReturnScope::All), &[0, 4, 3, 3]);
    golden(&ResOk { stateid: Some(STATEID) }, &join(&[&[1], &STATEID_WORDS]));
    golden(&ResOk { stateid: None }, &[0]);
}

/// Spec: RFC 7862 §15.6, §15.7.
#[test]
fn layout_reports() {
    let error = DeviceError { device: DEVICE, status: Nfsstat4::Io, op: Op::Read.as_u32() };
    let errors = layouterror::Args { offset: 1, length: 2, stateid: STATEID, errors: vec![error] };
    golden(&errors, &join(&[&[0, 1, 0, 2], &STATEID_WORDS, &[1], &DEVICE_WORDS, &[5, 25]]));
    let stats = layoutstats::Args {
        offset: 1,
        length: 2,
        stateid: STATEID,
        read: IoInfo { count: 3, bytes: 4 },
        write: IoInfo { count: 5, bytes: 6 },
        device: DEVICE,
        update: LayoutUpdate { layout_type: LayoutType::FLEX_FILES, body: name("body") },
    };
    let io = [0, 3, 0, 4, 0, 5, 0, 6];
    golden(&stats, &join(&[&[0, 1, 0, 2], &STATEID_WORDS, &io, &DEVICE_WORDS, &[4, 4, text(b"body")]]));
}

/// A body above its bound is refused on both sides of the wire.
#[test]
fn bodies_above_their_bounds() {
    let long = layoutreturn::ReturnFile {
        offset: 0,
        length: 1,
        stateid: STATEID,
        body: vec![0; crate::limits::LAYOUT_RETURN_BODY_BYTES_MAX + 1].into(),
    };
    assert!(layoutreturn::ReturnFile::decode(&mut Reader::new(encoded(&long))).is_err());
    let layout = Layout {
        offset: 0,
        length: 1,
        iomode: Iomode::Read,
        layout_type: LayoutType::FLEX_FILES,
        body: vec![0; crate::limits::LAYOUT_BODY_BYTES_MAX + 1].into(),
    };
    assert!(Layout::decode(&mut Reader::new(encoded(&layout))).is_err());
    assert!(Iomode::decode(&mut Reader::new(words(&[0]).into())).is_err());
    assert!(Iomode::decode(&mut Reader::new(words(&[4]).into())).is_err());
}
