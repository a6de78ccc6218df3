//! The codecs against a naive field, and every loss that a profile tolerates.

use super::*;
use crate::ec::fixture::{combinations, noise};
use crate::limits::COLUMN_BYTES;

const CODED: [Profile; 4] =
    [Profile::TwoPlusOne, Profile::FourPlusTwo, Profile::SixPlusThree, Profile::EightPlusFour];

/// docs/formats/group.md §2.2, as it is written there: no table, no transform, no code of the
/// crate.
mod oracle {
    const POLYNOMIAL: u32 = 0x1002d;
    const BASIS: [u16; 16] = [
        0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900,
        0xfdb8, 0xfb34, 0xff38, 0x991e,
    ];

    /// From a number, whose bits choose elements of the basis, to a polynomial.
    fn polynomial(number: u16) -> u16 {
        (0..16).filter(|bit| number >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASIS[bit])
    }

    fn times_polynomial(a: u16, b: u16) -> u16 {
        let product =
            (0..16).filter(|bit| b >> bit & 1 == 1).fold(0_u32, |sum, bit| sum ^ (u32::from(a) << bit));
        let reduce =
            |rest: u32, bit: u32| if rest >> bit & 1 == 1 { rest ^ POLYNOMIAL << (bit - 16) } else { rest };
        u16::try_from((16..32).rev().fold(product, reduce)).unwrap()
    }

    fn inverse(a: u16) -> u16 {
        // a^(2^16 - 2): the group has 2^16 - 1 elements.
        (1..16)
            .fold((1, a), |(result, power), _| {
                let power = times_polynomial(power, power);
                (times_polynomial(result, power), power)
            })
            .0
    }

    /// What member `i` is multiplied with in parity `j`, as a polynomial.
    fn coefficient(parity: usize, member: usize, of_parity: usize) -> u16 {
        let points = of_parity.next_power_of_two();
        let point = |at: usize| polynomial(u16::try_from(at).unwrap());
        let (x, own) = (point(points + member), point(parity));
        (0..points).filter(|at| *at != parity).map(point).fold(1, |product, other| {
            times_polynomial(product, times_polynomial(x ^ other, inverse(own ^ other)))
        })
    }

    /// One parity column of 64 bytes.
    pub(super) fn column(parity: usize, of_parity: usize, data: &[&[u8]]) -> Vec<u8> {
        let mut number_of = vec![0; 1 << 16];
        (0..=u16::MAX).for_each(|number| number_of[usize::from(polynomial(number))] = number);
        let mut out = vec![0; 64];
        for lane in 0..32 {
            let element = |column: &[u8]| polynomial(u16::from_be_bytes([column[32 + lane], column[lane]]));
            let terms = data.iter().enumerate().map(|(member, column)| {
                times_polynomial(coefficient(parity, member, of_parity), element(column))
            });
            let sum = terms.fold(0, |sum, term| sum ^ term);
            [out[32 + lane], out[lane]] = number_of[usize::from(sum)].to_be_bytes();
        }
        out
    }
}

fn encoded(profile: Profile, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut parity = vec![vec![0xcc; data[0].len()]; profile.parity()];
    let windows: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut made: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    profile.codec().open(profile).encode(&windows, &mut made);
    parity
}

fn members(profile: Profile, bytes: usize) -> Vec<Vec<u8>> {
    (0..profile.data()).map(|slot| noise(slot as u64 + 1, bytes)).collect()
}

#[test]
fn parity_is_what_the_page_says() {
    for profile in CODED {
        let data = members(profile, 2 * COLUMN_BYTES);
        let parity = encoded(profile, &data);
        for (at, made) in parity.iter().enumerate() {
            for from in [0, COLUMN_BYTES] {
                let columns: Vec<&[u8]> =
                    data.iter().map(|bytes| &bytes[from..from + COLUMN_BYTES]).collect();
                let expected = oracle::column(at, profile.parity(), &columns);
                assert_eq!(made[from..from + COLUMN_BYTES], expected, "{profile}, parity {at}");
            }
        }
    }
}

/// The bytes of docs/formats/group.md §2.2. They may never change under this codec id.
#[test]
fn golden_parity() {
    let mut data = vec![vec![0; COLUMN_BYTES]; 4];
    for (slot, member) in data.iter_mut().enumerate() {
        [member[32], member[0]] = [0x1234_u16, 0x5678, 0x9abc, 0xdef1][slot].to_be_bytes();
    }
    let parity = encoded(Profile::FourPlusTwo, &data);
    let element = |made: &Vec<u8>| [made[32], made[0]];
    let others: Vec<u8> = parity.iter().flat_map(|made| [&made[1..32], &made[33..]].concat()).collect();
    assert!(others.iter().all(|byte| *byte == 0), "other lanes stay zero");
    assert_eq!([element(&parity[0]), element(&parity[1])], GOLDEN);
}

const GOLDEN: [[u8; 2]; 2] = [[0x5c, 0xd6], [0x5c, 0xd7]];

#[test]
fn a_column_depends_on_its_column_only() {
    for profile in CODED {
        // Longer than strips, and not a multiple of them.
        let data = members(profile, 160 * 1024 + COLUMN_BYTES);
        let parity = encoded(profile, &data);
        for from in [0, COLUMN_BYTES, 64 * 1024 - COLUMN_BYTES, 64 * 1024, 160 * 1024] {
            let columns: Vec<Vec<u8>> =
                data.iter().map(|bytes| bytes[from..from + COLUMN_BYTES].to_vec()).collect();
            for (whole, column) in parity.iter().zip(encoded(profile, &columns)) {
                assert_eq!(whole[from..from + COLUMN_BYTES], column);
            }
        }
    }
}

#[test]
fn any_k_images_give_back_all_others() {
    for profile in Profile::ALL {
        let mut codec = profile.codec().open(profile);
        let mut images = members(profile, 3 * COLUMN_BYTES);
        images.extend(encoded(profile, &images));
        for sources in combinations(profile.images(), profile.data()) {
            let missing: Vec<usize> = (0..profile.images()).filter(|slot| !sources.contains(slot)).collect();
            assert_eq!(missing.len(), profile.losses_tolerated());
            let coefficients = codec.solve(&sources, &missing);
            let read: Vec<&[u8]> = sources.iter().map(|slot| images[*slot].as_slice()).collect();
            let mut made = vec![vec![0xcc; 3 * COLUMN_BYTES]; missing.len()];
            let mut out: Vec<&mut [u8]> = made.iter_mut().map(Vec::as_mut_slice).collect();
            codec.rebuild(&coefficients, &read, &mut out);
            for (slot, made) in missing.iter().zip(&made) {
                assert_eq!(*made, images[*slot], "{profile}: {slot} from {sources:?}");
            }
        }
    }
}

/// The crate's own decoder, from the same parity: our coefficients are those of its code.
#[test]
fn the_crate_decodes_what_we_encode() {
    for profile in CODED {
        let data = members(profile, 4096);
        let parity = encoded(profile, &data);
        let lost = profile.losses_tolerated().min(profile.data());
        let kept = data.iter().enumerate().skip(lost);
        let restored =
            reed_solomon_simd::decode(profile.data(), profile.parity(), kept, parity.iter().enumerate())
                .unwrap();
        for slot in 0..lost {
            assert_eq!(restored[&slot], data[slot]);
        }
    }
}

#[test]
fn short_windows_are_followed_by_zeros() {
    for profile in CODED {
        let bytes = 80 * 1024;
        let mut data = members(profile, bytes);
        let cuts = [bytes, 0, 1, 63, 64, 64 * 1024, 64 * 1024 + 1, 70 * 1024 + 33];
        for (member, cut) in data.iter_mut().zip(cuts) {
            member.truncate(cut);
        }
        let mut codec = profile.codec().open(profile);
        let short: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut parity = vec![vec![0xcc; bytes]; profile.parity()];
        codec.encode(&short, &mut parity.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
        let mut padded = data.clone();
        padded.iter_mut().for_each(|member| member.resize(bytes, 0));
        assert_eq!(parity, encoded(profile, &padded));
        // Lost: the first member, which is the longest, and another one.
        let missing = if profile.parity() == 1 { vec![0] } else { vec![0, profile.data() - 1] };
        let sources: Vec<usize> =
            (0..profile.images()).filter(|slot| !missing.contains(slot)).take(profile.data()).collect();
        let coefficients = codec.solve(&sources, &missing);
        let read: Vec<&[u8]> = sources
            .iter()
            .map(|slot| data.get(*slot).unwrap_or_else(|| &parity[*slot - profile.data()]).as_slice())
            .collect();
        let mut made = vec![vec![0xcc; bytes]; missing.len()];
        codec.rebuild(&coefficients, &read, &mut made.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
        for (slot, made) in missing.iter().zip(&made) {
            assert_eq!(*made, padded[*slot]);
        }
    }
}

#[test]
fn numbers_of_codecs_stay() {
    assert_eq!(CodecId::from_u8(1), Some(CodecId::Copies));
    assert_eq!(CodecId::from_u8(2), Some(CodecId::Leopard16));
    let known: Vec<u8> = (0..=255).filter(|number| CodecId::from_u8(*number).is_some()).collect();
    assert_eq!(known, [1, 2]);
    assert!(known.iter().all(|number| CodecId::from_u8(*number).unwrap().as_u8() == *number));
}
