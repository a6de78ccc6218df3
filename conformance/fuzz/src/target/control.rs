//! The control protocol between metadata and data servers: arguments and replies of every
//! procedure.
//!
//! Input: a word whose first byte chooses the message, then the message.

use bytes::Bytes;
use wire_nfs::control::admin::{
    DrainServer, HandleKeyRotation, Readmit, Readmitted, Rebalance, Rebalanced, RemoveServer,
    RotateHandleKey, Ruling, Verified, Verify,
};
use wire_nfs::control::auth::{Auth, Hello};
use wire_nfs::control::copies::{AskCopies, CopySet};
use wire_nfs::control::exports::{ExportsRuling, SetExports};
use wire_nfs::control::extent::{AtEpoch, Cut, ExtentName, KnownEpoch, SizeOf, Sizes};
use wire_nfs::control::groups::{AskGroup, EncodeGroup, EncodedGroup, GroupSlot};
use wire_nfs::control::handles::{Admitted, AskHeld, Held};
use wire_nfs::control::heartbeat::{AskClock, ClockTold, Heartbeat, Renewed, Stat};
use wire_nfs::control::images::{
    Adopt, AskAtRest, AtRest, EndImage, HadImages, HaveImages, ImageData, ImageWords, PutImage, ReadImage,
    ShowImages, Thaw,
};
use wire_nfs::control::limits::IMAGE_RECORD_DATA_BYTES;
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::replicate::{Act, Attach, Attached, Flush, HeldData, ReadData, Replicate, SayAgain};
use wire_nfs::control::report::{AskReport, Reported};
use wire_nfs::control::{Nothing, decode_args, decode_reply, put_reply};
use wire_xdr::{Decode, Encode, Reader, Writer};

use super::row::{MemoryBound, Shape, Target};
use crate::round_trip::check_whole;
use crate::seed::{encoded, search, search_type, selected};

pub(super) const TARGET: Target = Target {
    name: "control",
    about: "arguments and replies of every procedure of the control protocol",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound::DECODER,
    input_bytes_max: 4096,
};

/// How one message is read, and how seeds for it are found.
struct Message {
    check: fn(Bytes) -> bool,
    seeds: fn() -> Vec<Bytes>,
}

const fn args<T: Decode + Encode>() -> Message {
    Message {
        check: |bytes| {
            assert_eq!(decode_args::<T>(bytes.clone()).is_ok(), check_whole::<T>(bytes.clone()).is_ok());
            check_whole::<T>(bytes).is_ok()
        },
        seeds: search_type::<T>,
    }
}

const fn reply<T: Decode + Encode>() -> Message {
    Message {
        check: |bytes| reply_again::<T>(bytes).is_some(),
        seeds: || search(|r: &mut Reader| Ok(reply_again::<T>(r.rest()))),
    }
}

/// The wire form of a reply that was read; it is the same as what was read from.
fn reply_again<T: Decode + Encode>(bytes: Bytes) -> Option<Bytes> {
    let reply = decode_reply::<T>(bytes.clone()).ok()?;
    let mut w = Writer::new();
    put_reply(&mut w, &reply);
    let again = w.into_bytes();
    assert_eq!(again, bytes, "a reply has one wire form");
    Some(again)
}

const MESSAGES: &[Message] = &[
    args::<Nothing>(),
    args::<Hello>(),
    args::<Auth>(),
    args::<Register>(),
    args::<Heartbeat>(),
    args::<AtEpoch>(),
    args::<Cut>(),
    args::<SizeOf>(),
    args::<AskCopies>(),
    args::<CopySet>(),
    args::<Attach>(),
    args::<Replicate>(),
    args::<Flush>(),
    reply::<Hello>(),
    reply::<Auth>(),
    reply::<Registered>(),
    reply::<Renewed>(),
    reply::<KnownEpoch>(),
    reply::<Sizes>(),
    reply::<Stat>(),
    reply::<CopySet>(),
    reply::<Attached>(),
    args::<ShowImages>(),
    args::<AskGroup>(),
    args::<ReadImage>(),
    args::<PutImage>(),
    args::<EndImage>(),
    args::<EncodeGroup>(),
    args::<GroupSlot>(),
    reply::<ImageWords>(),
    reply::<GroupSlot>(),
    reply::<ImageData>(),
    reply::<EncodedGroup>(),
    args::<Thaw>(),
    args::<Adopt>(),
    args::<HaveImages>(),
    reply::<HadImages>(),
    args::<ReadData>(),
    reply::<HeldData>(),
    args::<RemoveServer>(),
    args::<DrainServer>(),
    args::<Verify>(),
    reply::<Ruling>(),
    reply::<Verified>(),
    args::<AskAtRest>(),
    reply::<AtRest>(),
    args::<Rebalance>(),
    reply::<Rebalanced>(),
    args::<SayAgain>(),
    args::<RotateHandleKey>(),
    reply::<HandleKeyRotation>(),
    args::<Readmit>(),
    reply::<Readmitted>(),
    args::<SetExports>(),
    reply::<ExportsRuling>(),
    args::<AskReport>(),
    reply::<Reported>(),
    args::<AskClock>(),
    reply::<ClockTold>(),
    args::<AskHeld>(),
    reply::<Held>(),
    reply::<Admitted>(),
];

fn run(input: &[u8]) -> usize {
    let Some((selector, bytes)) = input.split_first_chunk::<4>() else { return 0 };
    let message = &MESSAGES[usize::from(selector[0]) % MESSAGES.len()];
    usize::from((message.check)(Bytes::copy_from_slice(bytes)))
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, message) in (0..).zip(MESSAGES) {
        let found = (message.seeds)();
        assert!(!found.is_empty(), "message {number} has a seed");
        seeds.extend(found.iter().map(|bytes| selected([number, 0, 0, 0], bytes)));
    }
    // An IMAGE record, whose data has one length only.
    let image = Replicate {
        instance: 1,
        stable: true,
        act: Act::Image,
        extent: ExtentName { ino: 1, index: 2 },
        epoch: 3,
        sequence: 4,
        offset: 5,
        data: Bytes::from_static(&[6; IMAGE_RECORD_DATA_BYTES]),
    };
    seeds.push(selected([11, 0, 0, 0], &encoded(&image)));
    // "Not the leader", with an address.
    seeds.push(selected([15, 0, 0, 0], b"\0\0\0\x05\0\0\0\x08h:1 addr"));
    seeds
}
