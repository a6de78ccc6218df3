//! Tests of what is granted to channels.

use wire_nfs::v4::callback_sec::{AuthSys, GssHandles};

use super::*;

fn attrs(bytes: u32, operations_max: u32, requests_max: u32) -> ChannelAttrs {
    ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: bytes,
        response_bytes_max: bytes,
        response_cached_bytes_max: bytes,
        operations_max,
        requests_max,
        rdma_ird: Vec::new(),
    }
}

fn args(fore: ChannelAttrs, back: ChannelAttrs) -> Args {
    Args { clientid: 1, sequence: 1, flags: 0, fore, back, cb_program: 123, sec_parms: Vec::new() }
}

fn plain() -> Args {
    args(attrs(8192, 128, 8), attrs(8192, 128, 8))
}

/// What Linux sends, and what it demands of the answer: no size above what it sent, operations no
/// fewer, at least one slot, and in the backchannel nothing kept and no more operations or slots
/// than it sent.
#[test]
fn linux_is_content() {
    let fore = ChannelAttrs {
        request_bytes_max: 1_049_620,
        response_bytes_max: 1_049_480,
        response_cached_bytes_max: 7584,
        ..attrs(0, 8, 64)
    };
    let back = ChannelAttrs { response_cached_bytes_max: 0, ..attrs(4096, 2, 16) };
    let got = negotiate(&Args { flags: 3, ..args(fore.clone(), back.clone()) }).unwrap();
    assert_eq!(got.fore, fore);
    assert_eq!(got.back, back);
    assert!(got.back_wanted);
}

/// Origin: pynfs CSESS22, CSESS17, CSESS18.
#[test]
fn large_wishes_are_cut() {
    let mut huge = attrs(u32::MAX, u32::MAX, 500);
    huge.rdma_ird = vec![57];
    huge.header_pad_bytes = 9;
    let got = negotiate(&args(huge.clone(), huge)).unwrap();
    assert_eq!(got.fore.requests_max, SLOTS_MAX);
    assert_eq!(got.fore.request_bytes_max, REQUEST_BYTES_MAX);
    assert_eq!(got.fore.response_cached_bytes_max, RESPONSE_CACHED_BYTES_MAX);
    assert_eq!(got.fore.header_pad_bytes, 0);
    assert_eq!(got.fore.rdma_ird, []);
    assert_eq!((got.back.operations_max, got.back.requests_max), (2, 16));
    assert_eq!(got.back.response_cached_bytes_max, 0);
}

/// Origin: pynfs CSESS25, CSESS28, CSESS29.
#[test]
fn channels_that_carry_nothing_are_refused() {
    let small = |change: fn(&mut Args)| {
        let mut args = plain();
        change(&mut args);
        negotiate(&args).map_err(ChannelError::status)
    };
    let too_small = Err(Nfsstat4::Toosmall);
    assert_eq!(small(|args| args.fore.response_bytes_max = 0), too_small);
    assert_eq!(small(|args| args.fore.request_bytes_max = 20), too_small);
    assert_eq!(small(|args| args.fore.operations_max = 0), too_small);
    assert_eq!(small(|args| args.back.request_bytes_max = 10), too_small);
    assert_eq!(small(|args| args.back.response_bytes_max = 10), too_small);
    assert_eq!(small(|args| args.back.operations_max = 1), too_small);
    assert_eq!(small(|args| args.fore.requests_max = 0), Err(Nfsstat4::Inval));
    assert!(small(|args| args.fore.response_cached_bytes_max = 0).is_ok());
}

/// Origin: pynfs CSESS26: 400 bytes are enough for both channels.
#[test]
fn small_channels_are_fine() {
    let got = negotiate(&args(attrs(400, 128, 8), attrs(400, 128, 8))).unwrap();
    assert_eq!(got.fore, attrs(400, 128, 8));
}

/// Origin: pynfs CSESS15.
#[test]
fn unknown_flags_are_refused() {
    let refused = negotiate(&Args { flags: 0xf, ..plain() });
    assert_eq!(refused, Err(ChannelError::Flags { flags: 0xf }));
    assert_eq!(ChannelError::Flags { flags: 0xf }.status(), Nfsstat4::Inval);
    assert!(negotiate(&Args { flags: 7, ..plain() }).is_ok());
}

/// Origin: pynfs CSESS16, CSESS16a.
#[test]
fn the_first_credential_we_can_make() {
    let gss = CallbackSec::Gss(GssHandles::default());
    let sys = CallbackSec::Sys(AuthSys { uid: 7, ..AuthSys::default() });
    assert_eq!(choose_credential(&[gss.clone(), sys.clone(), CallbackSec::None]), Some(sys));
    assert_eq!(choose_credential(&[]), Some(CallbackSec::None));
    assert_eq!(choose_credential(&[gss]), None);
}
