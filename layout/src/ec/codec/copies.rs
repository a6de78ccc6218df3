//! The codec of plain copies: what comes out is what went in.
//!
//! Spec: docs/formats/group.md §2.1.

use super::contract::{Codec, Coefficients, part};

/// Copies of one member.
#[derive(Debug)]
pub(super) struct Copies {
    /// Copies besides the member itself.
    pub(super) parity: usize,
}

impl Codec for Copies {
    fn encode(&mut self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        assert!(data.len() == 1 && parity.len() == self.parity, "one member and its copies");
        for out in parity {
            copy(data[0], out);
        }
    }

    fn solve(&self, sources: &[usize], missing: &[usize]) -> Coefficients {
        assert!(sources.len() == 1, "one copy is enough");
        assert!(missing.iter().all(|slot| *slot <= self.parity), "a copy of the group");
        Coefficients { rows: vec![vec![1]; missing.len()] }
    }

    fn rebuild(&mut self, coefficients: &Coefficients, sources: &[&[u8]], missing: &mut [&mut [u8]]) {
        assert!(sources.len() == 1 && missing.len() == coefficients.rows.len(), "as solved for");
        for out in missing {
            copy(sources[0], out);
        }
    }
}

fn copy(from: &[u8], to: &mut [u8]) {
    let held = part(from, 0, to.len());
    let (front, back) = to.split_at_mut(held.len());
    front.copy_from_slice(held);
    back.fill(0);
}
