//! Flexible-files bodies: layouts, device addresses, and what clients report.
//!
//! Input: a word whose first byte chooses the body, then the body.

use bytes::Bytes;
use wire_nfs::flexfiles::{DeviceAddr, FfLayout, FfLayoutReturn, FfLayoutUpdate, IoError, IoStats, NetAddr};
use wire_nfs::limits::LAYOUT_BODY_BYTES_MAX;

use super::row::{MemoryBound, Shape, Target};
use crate::round_trip::check_whole;
use crate::seed::{search_type, selected};

pub(super) const TARGET: Target = Target {
    name: "flexfiles",
    about: "flexible-files layouts, device addresses, universal addresses, reports of LAYOUTRETURN and LAYOUTSTATS",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound::DECODER,
    input_bytes_max: 4096,
};

fn run(input: &[u8]) -> usize {
    let Some((selector, bytes)) = input.split_first_chunk::<4>() else { return 0 };
    let body = Bytes::copy_from_slice(bytes);
    usize::from(match selector[0] % 7 {
        0 => check_whole::<FfLayout>(body.clone()).is_ok_and(|layout| check_layout(&layout, &body)),
        1 => check_whole::<DeviceAddr>(body).is_ok_and(|device| device.addresses.iter().all(check_address)),
        2 => check_report(&body),
        3 => check_whole::<FfLayoutUpdate>(body).is_ok_and(|update| check_address(&update.address)),
        4 => check_whole::<IoStats>(body).is_ok(),
        5 => check_whole::<IoError>(body).is_ok(),
        _ => check_whole::<NetAddr>(body).is_ok_and(|address| check_address(&address)),
    })
}

fn check_layout(layout: &FfLayout, body: &Bytes) -> bool {
    if let Ok(written) = layout.to_body() {
        assert_eq!(&written, body, "a layout that clients take is written as it was read");
        assert!(written.len() <= LAYOUT_BODY_BYTES_MAX);
    }
    true
}

fn check_report(body: &Bytes) -> bool {
    let Ok(report) = FfLayoutReturn::from_body(body) else { return false };
    if !body.is_empty() {
        assert_eq!(check_whole::<FfLayoutReturn>(body.clone()).as_ref(), Ok(&report));
    }
    true
}

/// Whatever is understood as an address is written as one that is understood the same.
fn check_address(address: &NetAddr) -> bool {
    if let Some((transport, socket)) = address.resolve() {
        assert_eq!(NetAddr::new(transport, socket).resolve(), Some((transport, socket)));
    }
    true
}

fn seeds() -> Vec<Vec<u8>> {
    let of_kind = [
        search_type::<FfLayout>(),
        search_type::<DeviceAddr>(),
        search_type::<FfLayoutReturn>(),
        search_type::<FfLayoutUpdate>(),
        search_type::<IoStats>(),
        search_type::<IoError>(),
        search_type::<NetAddr>(),
    ];
    let mut seeds = Vec::new();
    for (number, found) in (0..).zip(of_kind) {
        assert!(!found.is_empty(), "body {number} has a seed");
        seeds.extend(found.iter().map(|bytes| selected([number, 0, 0, 0], bytes)));
    }
    for (netid, uaddr) in [
        ("tcp", "192.0.2.1.8.1"),
        ("tcp6", "2001:db8::1.78.81"),
        ("rdma", "10.0.0.255.255.255"),
        ("rdma6", "::ffff:10.0.0.1.0.1"),
    ] {
        let address = NetAddr { netid: netid.into(), uaddr: uaddr.into() };
        seeds.push(selected([6, 0, 0, 0], &crate::seed::encoded(&address)));
    }
    seeds
}
