//! NFS version 3: arguments and results of each procedure that has a codec.
//!
//! Input: a word whose first byte chooses the message, then the message.

use bytes::Bytes;
use wire_nfs::v3::{access, commit, fsinfo, fsstat, getattr, pathconf, read, write};
use wire_xdr::{Decode, Encode};

use super::row::{MemoryBound, Shape, Target};
use crate::round_trip::check_whole;
use crate::seed::{search_type, selected};

pub(super) const TARGET: Target = Target {
    name: "nfs3",
    about: "NFSv3 arguments and results of every procedure",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound::DECODER,
    input_bytes_max: 2048,
};

/// How one message is read, and how seeds for it are found.
struct Message {
    check: fn(Bytes) -> bool,
    seeds: fn() -> Vec<Bytes>,
}

const fn message<T: Decode + Encode>() -> Message {
    Message { check: |bytes| check_whole::<T>(bytes).is_ok(), seeds: search_type::<T> }
}

const MESSAGES: &[Message] = &[
    message::<access::Args>(),
    message::<access::Res>(),
    message::<commit::Args>(),
    message::<commit::Res>(),
    message::<fsinfo::Args>(),
    message::<fsinfo::Res>(),
    message::<fsstat::Args>(),
    message::<fsstat::Res>(),
    message::<getattr::Args>(),
    message::<getattr::Res>(),
    message::<pathconf::Args>(),
    message::<pathconf::Res>(),
    message::<read::Args>(),
    message::<read::Res>(),
    message::<write::Args>(),
    message::<write::Res>(),
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
    seeds
}
