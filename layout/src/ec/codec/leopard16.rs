//! Reed-Solomon over GF(2^16): parity by reed-solomon-simd, rebuilding by coefficients in its
//! field.
//!
//! The crate's own decoder takes transforms over its whole field for each window, which is slow
//! where one image of a few is lost, and it cannot rebuild a parity image. The code is linear, so a
//! lost image is also a sum of `k` others, each times a coefficient. The coefficients come from a
//! matrix of at most 8 by 8 that is inverted once; the multiplications are the crate's, with the
//! instructions it finds.
//!
//! Windows are worked on in strips that stay in the processor's caches.
//!
//! Spec: docs/formats/group.md §2.2; docs/adr/0005-erasure-code.md.

use reed_solomon_simd::ReedSolomonEncoder;
use reed_solomon_simd::engine::tables::{self, ExpLog};
use reed_solomon_simd::engine::{DefaultEngine, Engine, GF_MODULUS};

use super::contract::{Codec, Coefficients, part};
use crate::ec::profile::Profile;
use crate::limits::COLUMN_BYTES;

/// Bytes of each image that are encoded at once: those of 12 images fit a core's second cache.
const ENCODE_STRIP_BYTES: usize = 64 * 1024;
/// Bytes of each image that are rebuilt at once: the one that is made stays in the first cache.
const REBUILD_STRIP_BYTES: usize = 16 * 1024;
/// Elements of a column: byte `n` is the low half of one and byte `32 + n` its high half.
const LANES: usize = COLUMN_BYTES / 2;

/// The code of one profile.
pub(super) struct Leopard16 {
    data: usize,
    parity: usize,
    encoder: ReedSolomonEncoder,
    /// Bytes per image the encoder is set to.
    encoder_bytes: usize,
    engine: DefaultEngine,
    field: Field,
    /// Row `j`: what each member is multiplied with in parity `j`.
    generator: Vec<Vec<u16>>,
    /// Where the end of a member is padded.
    padded: Vec<u8>,
}

impl std::fmt::Debug for Leopard16 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leopard16({}+{})", self.data, self.parity)
    }
}

impl Leopard16 {
    pub(super) fn new(profile: Profile) -> Self {
        let (data, parity) = (profile.data(), profile.parity());
        let encoder =
            ReedSolomonEncoder::new(data, parity, COLUMN_BYTES).expect("every profile is within the code");
        let mut code = Self {
            data,
            parity,
            encoder,
            encoder_bytes: COLUMN_BYTES,
            engine: DefaultEngine::new(),
            field: Field { tables: tables::get_exp_log() },
            generator: Vec::new(),
            padded: vec![0; ENCODE_STRIP_BYTES],
        };
        code.generator = code.probe();
        code
    }

    /// Reads the coefficients off the encoder: member `i` is 1 in lane `i` and 0 elsewhere.
    fn probe(&mut self) -> Vec<Vec<u16>> {
        assert!(self.data <= LANES, "a lane for each member");
        let mut units = vec![[0_u8; COLUMN_BYTES]; self.data];
        for (lane, unit) in units.iter_mut().enumerate() {
            unit[lane] = 1;
        }
        let mut columns = vec![[0_u8; COLUMN_BYTES]; self.parity];
        let data: Vec<&[u8]> = units.iter().map(<[u8; COLUMN_BYTES]>::as_slice).collect();
        let mut parity: Vec<&mut [u8]> = columns.iter_mut().map(<[u8; COLUMN_BYTES]>::as_mut_slice).collect();
        self.encode(&data, &mut parity);
        let element = |column: &[u8; COLUMN_BYTES], lane: usize| {
            u16::from_le_bytes([column[lane], column[LANES + lane]])
        };
        columns.iter().map(|column| (0..self.data).map(|lane| element(column, lane)).collect()).collect()
    }

    /// What an image is in terms of the members.
    fn row(&self, slot: usize) -> Vec<u16> {
        match slot.checked_sub(self.data) {
            Some(parity) => self.generator[parity].clone(),
            None => (0..self.data).map(|member| u16::from(member == slot)).collect(),
        }
    }

    /// Makes windows of images, strip by strip.
    fn strips(&self, rows: &[Vec<u16>], sources: &[&[u8]], made: &mut [&mut [u8]]) {
        let bytes = made.first().map_or(0, |window| window.len());
        assert!(made.iter().all(|window| window.len() == bytes), "what is made has one length");
        for offset in (0..bytes).step_by(REBUILD_STRIP_BYTES) {
            let end = bytes.min(offset + REBUILD_STRIP_BYTES);
            for (row, window) in rows.iter().zip(made.iter_mut()) {
                self.combine(row, sources, offset, &mut window[offset..end]);
            }
        }
    }

    /// Makes a strip of one image: `out = sum of coefficient * source`.
    ///
    /// Evaluated from the inside, `(x0 * c0/c1 + x1) * c1/c2 + ...`, so that all is done in place.
    fn combine(&self, row: &[u16], sources: &[&[u8]], offset: usize, out: &mut [u8]) {
        let mut factor_of_out = None;
        for (coefficient, source) in row.iter().zip(sources) {
            let source = part(source, offset, out.len());
            if *coefficient == 0 || source.is_empty() {
                continue;
            }
            if let Some(factor) = factor_of_out {
                self.scale(out, self.field.divide(factor, *coefficient));
                add(out, source);
            } else {
                let (front, back) = out.split_at_mut(source.len());
                front.copy_from_slice(source);
                back.fill(0);
            }
            factor_of_out = Some(*coefficient);
        }
        match factor_of_out {
            Some(factor) => self.scale(out, factor),
            None => out.fill(0),
        }
    }

    fn scale(&self, strip: &mut [u8], factor: u16) {
        assert!(factor != 0, "terms that vanish are left out");
        let (columns, rest) = strip.as_chunks_mut::<COLUMN_BYTES>();
        assert!(rest.is_empty(), "strips are whole columns");
        if factor != 1 {
            self.engine.mul(columns, self.field.log(factor));
        }
    }
}

impl Codec for Leopard16 {
    fn encode(&mut self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        assert!(data.len() == self.data && parity.len() == self.parity, "one window for each image");
        let bytes = parity[0].len();
        assert!(bytes.is_multiple_of(COLUMN_BYTES), "windows are whole columns");
        assert!(parity.iter().all(|window| window.len() == bytes), "parity has one length");
        assert!(data.iter().all(|window| window.len() <= bytes), "no member is longer than the parity");
        if let [sum] = &mut *parity
            && !self.generator.is_empty()
        {
            // One parity is a sum with coefficients of 1, which is quicker without the encoder's
            // copies.
            return self.strips(&self.generator, data, &mut [sum]);
        }
        let mut offset = 0;
        while offset < bytes {
            let strip = ENCODE_STRIP_BYTES.min(bytes - offset);
            if self.encoder_bytes != strip {
                self.encoder.reset(self.data, self.parity, strip).expect("every profile is within the code");
                self.encoder_bytes = strip;
            }
            for window in data {
                let held = part(window, offset, strip);
                let whole = if held.len() == strip {
                    held
                } else {
                    self.padded[..held.len()].copy_from_slice(held);
                    self.padded[held.len()..strip].fill(0);
                    &self.padded[..strip]
                };
                self.encoder.add_original_shard(whole).expect("as many and as long as it was set to");
            }
            let encoded = self.encoder.encode().expect("all members were added");
            for (window, made) in parity.iter_mut().zip(encoded.recovery_iter()) {
                window[offset..offset + strip].copy_from_slice(made);
            }
            offset += strip;
        }
    }

    fn solve(&self, sources: &[usize], missing: &[usize]) -> Coefficients {
        assert!(sources.len() == self.data, "k sources");
        let from_data: Vec<Vec<u16>> = sources.iter().map(|slot| self.row(*slot)).collect();
        let to_data = self.field.invert(from_data).expect("any k images of a group are independent");
        let row_of = |slot: &usize| self.field.times(&self.row(*slot), &to_data);
        Coefficients { rows: missing.iter().map(row_of).collect() }
    }

    fn rebuild(&mut self, coefficients: &Coefficients, sources: &[&[u8]], missing: &mut [&mut [u8]]) {
        assert!(sources.len() == self.data && missing.len() == coefficients.rows.len(), "as solved for");
        self.strips(&coefficients.rows, sources, missing);
    }
}

fn add(out: &mut [u8], source: &[u8]) {
    for (byte, other) in out.iter_mut().zip(source) {
        *byte ^= other;
    }
}

/// The field, by the crate's tables of logarithms.
struct Field {
    tables: &'static ExpLog,
}

impl Field {
    fn log(&self, element: u16) -> u16 {
        assert!(element != 0, "zero has no logarithm");
        self.tables.log[usize::from(element)]
    }

    fn times_one(&self, a: u16, b: u16) -> u16 {
        if a == 0 || b == 0 {
            return 0;
        }
        let sum = (u32::from(self.log(a)) + u32::from(self.log(b))) % u32::from(GF_MODULUS);
        self.tables.exp[sum as usize]
    }

    fn divide(&self, a: u16, b: u16) -> u16 {
        let modulus = u32::from(GF_MODULUS);
        let difference = (u32::from(self.log(a)) + modulus - u32::from(self.log(b))) % modulus;
        self.tables.exp[difference as usize]
    }

    /// A row times a matrix.
    fn times(&self, row: &[u16], matrix: &[Vec<u16>]) -> Vec<u16> {
        let column =
            |at: usize| row.iter().zip(matrix).fold(0, |sum, (a, line)| sum ^ self.times_one(*a, line[at]));
        (0..matrix.len()).map(column).collect()
    }

    /// The inverse of a square matrix, by elimination; `None` if it has none.
    fn invert(&self, mut left: Vec<Vec<u16>>) -> Option<Vec<Vec<u16>>> {
        let size = left.len();
        let unit = |at: usize| (0..size).map(|column| u16::from(column == at)).collect();
        let mut right: Vec<Vec<u16>> = (0..size).map(unit).collect();
        for at in 0..size {
            let pivot = (at..size).find(|row| left[*row][at] != 0)?;
            left.swap(at, pivot);
            right.swap(at, pivot);
            let head = left[at][at];
            for element in left[at].iter_mut().chain(&mut right[at]) {
                if *element != 0 {
                    *element = self.divide(*element, head);
                }
            }
            for row in (0..size).filter(|row| *row != at) {
                let factor = left[row][at];
                for column in 0..size {
                    left[row][column] ^= self.times_one(factor, left[at][column]);
                    right[row][column] ^= self.times_one(factor, right[at][column]);
                }
            }
        }
        Some(right)
    }
}
