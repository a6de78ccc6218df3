//! Callbacks, both ways: a CB_COMPOUND as a client takes it, its results as a server takes them.
//!
//! Input: a word whose first byte chooses the way, then the message.

use bytes::Bytes;
use wire_nfs::v4::callback::compound::{CbCompoundHeader, CbRequestWriter, decode_cb_op, decode_cb_op_reply};
use wire_nfs::v4::callback::{AnyCbArgs, AnyCbResOk};
use wire_nfs::v4::compound::{OpReplyHeader, ReplyHeader};
use wire_nfs::v4::{CbOp, Nfsstat4};
use wire_xdr::{Encode, Reader, Writer, XdrError};

use super::row::{MemoryBound, Shape, Target};
use crate::round_trip::{check, check_with};
use crate::seed::{encoded, search, selected};

pub(super) const TARGET: Target = Target {
    name: "nfs4_callback",
    about: "CB_COMPOUND arguments and results",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound::DECODER,
    input_bytes_max: 2048,
};

fn run(input: &[u8]) -> usize {
    let Some((selector, bytes)) = input.split_first_chunk::<4>() else { return 0 };
    let mut r = Reader::new(Bytes::copy_from_slice(bytes));
    if selector[0].is_multiple_of(2) {
        let Ok(header) = check::<CbCompoundHeader>(&mut r) else { return 0 };
        let admitted = header.check_op_count().map(|()| header.op_count);
        walk(admitted.unwrap_or(0), &mut r, next_args)
    } else {
        let Ok(header) = check::<ReplyHeader>(&mut r) else { return 0 };
        let admitted = header.check_op_count().map(|()| header.op_count);
        walk(admitted.unwrap_or(0), &mut r, next_result)
    }
}

/// Decodes at most `count` steps; the result is how many were valid.
fn walk(count: u32, r: &mut Reader, step: fn(&mut Reader) -> Result<bool, XdrError>) -> usize {
    (0..count).take_while(|_| step(r) == Ok(true)).count()
}

fn next_args(r: &mut Reader) -> Result<bool, XdrError> {
    let Ok(op) = decode_cb_op(r)? else { return Ok(false) };
    if !AnyCbArgs::OPS.contains(&op) {
        return Ok(false);
    }
    let args = check_with(r, |r| {
        AnyCbArgs::decode(op, r).map(|args| args.expect("it is among those with a codec"))
    })?;
    assert_eq!(args.op(), op);
    Ok(true)
}

fn next_result(r: &mut Reader) -> Result<bool, XdrError> {
    let header = check::<OpReplyHeader>(&mut r.clone())?;
    let Some(op) = CbOp::from_u32(header.op).filter(|op| *op != CbOp::Illegal) else { return Ok(false) };
    assert_eq!(decode_cb_op_reply(r, op), Ok(header.status));
    if !header.status.is_ok() {
        return Ok(true);
    }
    if !AnyCbResOk::OPS.contains(&op) {
        return Ok(false);
    }
    let body = check_with(r, |r| {
        AnyCbResOk::decode(op, r).map(|body| body.expect("it is among those with a codec"))
    })?;
    assert_eq!(body.op(), op);
    Ok(true)
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for op in AnyCbArgs::OPS {
        let found = search(|r| AnyCbArgs::decode(*op, r).map(|args| args.map(|args| encoded(&args))));
        assert!(!found.is_empty(), "{op:?} has a seed");
        for args in found {
            let mut w = Writer::new();
            let mut writer = CbRequestWriter::begin(&mut w, &Bytes::new(), 1);
            let args = AnyCbArgs::decode(*op, &mut Reader::new(args)).ok().flatten();
            let args = args.expect("it was found by decoding");
            writer.op(&mut w, *op, &args);
            writer.op(&mut w, *op, &args);
            writer.finish(&mut w);
            seeds.push(selected([0; 4], &w.into_bytes()));
        }
    }
    for op in AnyCbResOk::OPS {
        for body in search(|r| AnyCbResOk::decode(*op, r).map(|body| body.map(|body| encoded(&body)))) {
            let mut w = Writer::new();
            ReplyHeader { status: Nfsstat4::Delay, tag: Bytes::new(), op_count: 2 }.encode(&mut w);
            OpReplyHeader { op: op.as_u32(), status: Nfsstat4::Ok }.encode(&mut w);
            w.raw(&body);
            OpReplyHeader { op: op.as_u32(), status: Nfsstat4::Delay }.encode(&mut w);
            seeds.push(selected([1, 0, 0, 0], &w.into_bytes()));
        }
    }
    seeds
}
