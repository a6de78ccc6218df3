//! The results of a COMPOUND as a client takes them: header, then result by result, with the bodies
//! that some failures have.
//!
//! Input: the results of a COMPOUND.

use bytes::Bytes;
use wire_nfs::v4::compound::{OpReplyHeader, ReplyHeader};
use wire_nfs::v4::ops::AnyResOk;
use wire_nfs::v4::ops::{getdeviceinfo, layoutget, lock, setattr};
use wire_nfs::v4::{Fattr4, Nfsstat4, Op};
use wire_xdr::{Encode, Reader, Writer, XdrError};

use super::attributes;
use super::row::{MemoryBound, Shape, Target};
use crate::round_trip::{check, check_with};
use crate::seed::{encoded, search, search_type};

pub(super) const TARGET: Target = Target {
    name: "nfs4_reply",
    about: "COMPOUND results, one after another, with the bodies of failures",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound::DECODER,
    input_bytes_max: 4096,
};

fn run(input: &[u8]) -> usize {
    let mut r = Reader::new(Bytes::copy_from_slice(input));
    let Ok(header) = check::<ReplyHeader>(&mut r) else { return 0 };
    if header.check_op_count().is_err() {
        return 0;
    }
    let mut valid = 0;
    for _ in 0..header.op_count {
        if next_result(&mut r) != Ok(true) {
            break;
        }
        valid += 1;
    }
    valid
}

/// Whether the next result is one that can be stepped over.
pub(super) fn next_result(r: &mut Reader) -> Result<bool, XdrError> {
    let header = check::<OpReplyHeader>(r)?;
    let Some(op) = Op::from_u32(header.op) else { return Ok(false) };
    match (op, header.status) {
        (Op::Setattr, _) => drop(check::<setattr::ResOk>(r)?),
        (Op::Lock | Op::Lockt, Nfsstat4::Denied) => drop(check::<lock::Denied>(r)?),
        (Op::Layoutget, Nfsstat4::Layouttrylater) => drop(check::<layoutget::TryLater>(r)?),
        (Op::Getdeviceinfo, Nfsstat4::Toosmall) => drop(check::<getdeviceinfo::TooSmall>(r)?),
        (_, Nfsstat4::Ok) => return next_body(op, r),
        _ => {}
    }
    Ok(true)
}

fn next_body(op: Op, r: &mut Reader) -> Result<bool, XdrError> {
    if !AnyResOk::OPS.contains(&op) {
        return Ok(false);
    }
    let body =
        check_with(r, |r| AnyResOk::decode(op, r).map(|body| body.expect("it is among those with a codec")))?;
    assert_eq!(body.op(), op);
    match &body {
        AnyResOk::Getattr(body) => check_attributes(&body.attributes),
        AnyResOk::Readdir(body) => body.entries.iter().for_each(|entry| check_attributes(&entry.attributes)),
        _ => {}
    }
    Ok(true)
}

fn check_attributes(attributes: &Fattr4) {
    attributes::check(attributes);
}

fn reply(results: &[(Op, Nfsstat4, &Bytes)]) -> Vec<u8> {
    let mut w = Writer::new();
    let status = results.last().map_or(Nfsstat4::Ok, |(_, status, _)| *status);
    let op_count = u32::try_from(results.len()).expect("seeds are short");
    ReplyHeader { status, tag: Bytes::from_static(b"tag"), op_count }.encode(&mut w);
    for (op, status, body) in results {
        OpReplyHeader { op: op.as_u32(), status: *status }.encode(&mut w);
        w.raw(body);
    }
    w.into_bytes().to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    let bodies: Vec<(Op, Vec<Bytes>)> = AnyResOk::OPS
        .iter()
        .map(|op| (*op, search(|r| AnyResOk::decode(*op, r).map(|body| body.map(|body| encoded(&body))))))
        .collect();
    let mut seeds = Vec::new();
    for (op, found) in &bodies {
        assert!(!found.is_empty(), "{op:?} has a seed");
        seeds.extend(found.iter().map(|body| reply(&[(*op, Nfsstat4::Ok, body)])));
    }
    for (op, status, found) in [
        (Op::Lock, Nfsstat4::Denied, search_type::<lock::Denied>()),
        (Op::Lockt, Nfsstat4::Denied, search_type::<lock::Denied>()),
        (Op::Layoutget, Nfsstat4::Layouttrylater, search_type::<layoutget::TryLater>()),
        (Op::Getdeviceinfo, Nfsstat4::Toosmall, search_type::<getdeviceinfo::TooSmall>()),
        (Op::Setattr, Nfsstat4::Perm, search_type::<setattr::ResOk>()),
        (Op::Putfh, Nfsstat4::Stale, vec![Bytes::new()]),
    ] {
        seeds.extend(found.iter().map(|body| reply(&[(op, status, body)])));
    }
    let short = bodies.iter().take(12).map(|(op, found)| (*op, Nfsstat4::Ok, &found[0])).collect::<Vec<_>>();
    seeds.push(reply(&short));
    seeds
}
