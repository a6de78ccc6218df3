//! File attributes: a `fattr4` on the wire, then its values one by one.
//!
//! Input: a `fattr4`.

use bytes::Bytes;
use wire_nfs::v4::attr::encode_fattr4;
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4};
use wire_xdr::{Decode, Reader, Writer};

use super::row::{MemoryBound, Shape, Target};
use crate::round_trip;
use crate::seed::{encoded, search};

pub(super) const TARGET: Target = Target {
    name: "attributes",
    about: "fattr4 and the values of every attribute",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound::DECODER,
    input_bytes_max: 4096,
};

fn run(input: &[u8]) -> usize {
    let mut r = Reader::new(Bytes::copy_from_slice(input));
    let Ok(attributes) = round_trip::check::<Fattr4>(&mut r) else { return 0 };
    usize::from(check(&attributes))
}

/// Reads the values; what was read is written as attributes that are read as the same values, both
/// ways of writing alike.
pub(super) fn check(attributes: &Fattr4) -> bool {
    let Ok(values) = attributes.to_values() else { return false };
    assert_eq!(values.present(), attributes.mask, "every attribute that is named is there");
    let again = Fattr4::from_values(&values);
    assert_eq!(again.to_values().as_ref(), Ok(&values), "values that were written are read back");
    let mut w = Writer::new();
    let mask = encode_fattr4(&AttrValues::KNOWN, &values, &mut w);
    assert_eq!((mask, w.into_bytes()), (again.mask, encoded(&again)));
    true
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut all = Fattr4::default();
    let mut bodies = Vec::new();
    for number in AttrValues::KNOWN.iter() {
        let mask = Bitmap::of(&[number]);
        let found = search(|r| {
            let attributes = Fattr4 { mask, mask_cut: false, body: r.rest() };
            Ok(attributes.to_values().is_ok().then_some(attributes.body))
        });
        let body = found.first().expect("every attribute has a value").clone();
        all.mask.insert(number);
        bodies.push(body);
        seeds.extend(found.into_iter().map(|body| encoded(&Fattr4 { mask, mask_cut: false, body }).to_vec()));
    }
    all.body = bodies.concat().into();
    assert!(Fattr4::decode(&mut Reader::new(encoded(&all))).is_ok());
    seeds.push(encoded(&all).to_vec());
    seeds
}
