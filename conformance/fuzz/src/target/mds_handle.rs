//! The metadata server's filehandles: nothing is accepted but what was sealed under the same key.
//!
//! Input: a byte that chooses, then either a handle as it would come off the wire, or the fields of
//! one to be sealed and a bit of it to be changed.

use mds_server::handle::{ExportId, FileHandle, HANDLE_BYTES, HandleMaker};

use super::row::{MemoryBound, Shape, Target};

pub(super) const TARGET: Target = Target {
    name: "mds_handle",
    about: "metadata filehandles, made up and altered",
    run,
    seeds,
    shape: Shape::Bytes,
    bound: MemoryBound { single_bytes: 0, single_bytes_per_byte: 0, live_bytes: 0, live_bytes_per_byte: 0 },
    input_bytes_max: 128,
};

const FIELD_BYTES: usize = 15;

fn run(input: &[u8]) -> usize {
    let maker = HandleMaker::new(&[7; 32]);
    let Some((choice, bytes)) = input.split_first() else { return 0 };
    if choice.is_multiple_of(2) {
        let Ok(handle) = maker.open(bytes) else { return 0 };
        assert_eq!(maker.seal(handle), bytes, "a handle has one form");
        return 1;
    }
    bytes.first_chunk().map_or(0, |fields| check_sealed(&maker, fields))
}

fn check_sealed(maker: &HandleMaker, fields: &[u8; FIELD_BYTES]) -> usize {
    let [e0, e1, g0, g1, g2, g3, ino @ .., bit] = *fields;
    let handle = FileHandle {
        export: ExportId(u16::from_be_bytes([e0, e1])),
        generation: u32::from_be_bytes([g0, g1, g2, g3]),
        ino: u64::from_be_bytes(ino),
    };
    let sealed = maker.seal(handle);
    assert_eq!(maker.open(&sealed), Ok(handle));
    let mut altered = sealed;
    let bit = usize::from(bit) % (HANDLE_BYTES * 8);
    altered[bit / 8] ^= 1 << (bit % 8);
    assert!(maker.open(&altered).is_err(), "bit {bit} is covered");
    assert!(HandleMaker::new(&[8; 32]).open(&sealed).is_err(), "another key opens nothing");
    1
}

fn seeds() -> Vec<Vec<u8>> {
    let maker = HandleMaker::new(&[7; 32]);
    let sealed = maker.seal(FileHandle { export: ExportId(2), generation: 3, ino: 4 });
    vec![[&[0_u8][..], &sealed].concat(), [&[1_u8][..], &[9; FIELD_BYTES]].concat()]
}
