//! A COMPOUND as a server takes it: header, then operation by operation until one cannot be read or
//! is not served.
//!
//! What a server looks into behind the codec is looked into here: attributes to set or compare, and
//! the flexible-files bodies of LAYOUTRETURN and LAYOUTSTATS.
//!
//! Input: the arguments of a COMPOUND.

use bytes::Bytes;
use wire_nfs::flexfiles::{FfLayoutReturn, FfLayoutUpdate, decode_body};
use wire_nfs::v4::compound::{CompoundHeader, RequestWriter, decode_op};
use wire_nfs::v4::ops::layoutreturn::ReturnScope;
use wire_nfs::v4::ops::open::{CreateHow, OpenHow};
use wire_nfs::v4::ops::{AnyArgs, decode_any};
use wire_nfs::v4::{Fattr4, Op};
use wire_xdr::{Reader, Writer, XdrError};

use super::attributes;
use super::row::{MemoryBound, Shape, Target};
use crate::round_trip;
use crate::seed::{encoded, search};

pub(super) const TARGET: Target = Target {
    name: "nfs4_request",
    about: "COMPOUND arguments, operation by operation as a server reads them",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound::DECODER,
    input_bytes_max: 4096,
};

fn run(input: &[u8]) -> usize {
    let mut r = Reader::new(Bytes::copy_from_slice(input));
    let Ok(header) = round_trip::check::<CompoundHeader>(&mut r) else { return 0 };
    if header.check_op_count().is_err() {
        return 0;
    }
    let mut valid = 0;
    for _ in 0..header.op_count {
        let Ok(Some(args)) = next_args(&mut r) else { break };
        check_behind(&args);
        valid += 1;
    }
    valid
}

/// `None`: a server answers ILLEGAL or NOTSUPP and stops.
fn next_args(r: &mut Reader) -> Result<Option<AnyArgs>, XdrError> {
    let Ok(op) = decode_op(r)? else { return Ok(None) };
    let served = AnyArgs::OPS.contains(&op);
    assert!(!op.name().is_empty());
    if !served {
        assert_eq!(decode_any(op.as_u32(), &mut r.clone()), Ok(None));
        return Ok(None);
    }
    let args = round_trip::check_with(r, |r| {
        decode_any(op.as_u32(), r).map(|args| args.expect("it is among those with a codec"))
    })?;
    assert_eq!(args.op(), op);
    Ok(Some(args))
}

fn check_behind(args: &AnyArgs) {
    match args {
        AnyArgs::Setattr(args) => check_attributes(Some(&args.attributes)),
        AnyArgs::Create(args) => check_attributes(Some(&args.attributes)),
        AnyArgs::Verify(args) => check_attributes(Some(&args.attributes)),
        AnyArgs::Nverify(args) => check_attributes(Some(&args.attributes)),
        AnyArgs::Open(args) => match &args.how {
            OpenHow::Create(how) => check_attributes(CreateHow::attributes(how)),
            OpenHow::NoCreate => {}
        },
        AnyArgs::Layoutreturn(args) => {
            if let ReturnScope::File(file) = &args.scope {
                drop(FfLayoutReturn::from_body(&file.body));
            }
        }
        AnyArgs::Layoutstats(args) => drop(decode_body::<FfLayoutUpdate>(&args.update.body)),
        _ => {}
    }
}

fn check_attributes(attributes: Option<&Fattr4>) {
    attributes.map(attributes::check);
}

/// Arguments of every operation that has a codec, as encoded.
fn arguments() -> Vec<(Op, Vec<Bytes>)> {
    let arguments = AnyArgs::OPS.iter().map(|op| {
        let found = search(|r| AnyArgs::decode(*op, r).map(|args| args.map(|args| encoded(&args))));
        assert!(!found.is_empty(), "{op:?} has a seed");
        (*op, found)
    });
    arguments.collect()
}

fn request(ops: &[(Op, &Bytes)]) -> Vec<u8> {
    let mut w = Writer::new();
    let mut writer = RequestWriter::begin(&mut w, &Bytes::from_static(b"tag"), 2);
    for (op, args) in ops {
        let args = AnyArgs::decode(*op, &mut Reader::new((*args).clone()));
        writer.op(&mut w, *op, &args.ok().flatten().expect("it was found by decoding"));
    }
    writer.finish(&mut w);
    w.into_bytes().to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    let arguments = arguments();
    let one = |op: Op| {
        let (_, found) = arguments.iter().find(|(one, _)| *one == op).expect("it has a codec");
        (op, &found[0])
    };
    let mut seeds: Vec<Vec<u8>> =
        arguments.iter().flat_map(|(op, found)| found.iter().map(|args| request(&[(*op, args)]))).collect();
    // What Linux sends: mount, open, layout, close.
    for ops in [
        &[Op::ExchangeId][..],
        &[Op::CreateSession],
        &[Op::Sequence, Op::ReclaimComplete],
        &[Op::Sequence, Op::Putrootfh, Op::Getfh, Op::Getattr],
        &[Op::Sequence, Op::Putfh, Op::Open, Op::Getfh, Op::Access, Op::Getattr],
        &[Op::Sequence, Op::Putfh, Op::Layoutget],
        &[Op::Sequence, Op::Putfh, Op::Layoutreturn, Op::Close],
        &[Op::Sequence, Op::Putfh, Op::Savefh, Op::Putfh, Op::Rename],
    ] {
        seeds.push(request(&ops.iter().map(|op| one(*op)).collect::<Vec<_>>()));
    }
    seeds
}

#[cfg(test)]
mod tests {
    use wire_xdr::Decode;

    use super::*;

    #[test]
    fn a_compound_is_walked_to_its_end() {
        let long = seeds().iter().map(|seed| run(seed)).max();
        assert_eq!(long, Some(6));
        let bad = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 200];
        assert_eq!(run(&bad), 0, "more operations than we take are not begun");
    }

    #[test]
    fn a_count_that_lies_ends_with_the_bytes() {
        let mut w = Writer::new();
        let mut writer = RequestWriter::begin(&mut w, &Bytes::new(), 1);
        writer.op(&mut w, Op::Putrootfh, &wire_nfs::v4::ops::putrootfh::Args);
        writer.finish(&mut w);
        let mut bytes = w.into_bytes().to_vec();
        bytes[11] = 100;
        assert!(CompoundHeader::decode(&mut Reader::new(bytes.clone().into())).is_ok());
        assert_eq!(run(&bytes), 1);
    }
}
