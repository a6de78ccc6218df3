//! How far the scrub is, and the bytes in which that is kept.
//!
//! INVARIANT: bytes that are not exactly what was written are refused.
//! Spec: docs/formats/scrub.md.

use ds_image::ImageId;
use layout::ExtentId;

/// Bytes of the file.
pub(crate) const PROGRESS_BYTES: usize = 136;

const MAGIC: &[u8; 8] = b"SHOALSCR";
const VERSION: u16 = 1;
const CHECK_AT: usize = 120;

/// Where the scrub is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Between two rounds.
    #[default]
    Between,
    /// All images up to this one were checked.
    Images(Option<ImageId>),
    /// All images were, and all extents up to this one.
    Journal(Option<ExtentId>),
}

/// How far the scrub is. Counts are of the round that is under way, or of the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) place: Place,
    /// Wall clock when the round began; 0: there was none.
    pub(crate) began_unix_ns: u64,
    /// Wall clock when the last whole round ended; 0: there was none.
    pub(crate) ended_unix_ns: u64,
    pub(crate) checked_bytes: u64,
    /// Things that were not as they were written.
    pub(crate) found: u64,
    /// Of these repaired.
    pub(crate) repaired: u64,
    /// Of these as bad as before.
    pub(crate) bad: u64,
    /// The same of the round before.
    pub(crate) bad_before: u64,
}

/// Why bytes say nothing about progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProgressError {
    #[error("it has {bytes} bytes")]
    Length { bytes: usize },
    #[error("it is something else")]
    Magic,
    #[error("its checksum is wrong")]
    Damaged,
    #[error("its version is {version}")]
    Version { version: u16 },
    #[error("it is another store's")]
    Foreign,
    #[error("it says a place that there is not")]
    Place,
}

impl Progress {
    /// The bytes for the store with this uuid.
    pub(crate) fn encode(&self, store: [u8; 16]) -> [u8; PROGRESS_BYTES] {
        let mut bytes = [0; PROGRESS_BYTES];
        let mut put = |at: usize, field: &[u8]| {
            assert!(at + field.len() <= CHECK_AT, "a field lies before the checksum");
            bytes[at..at + field.len()].copy_from_slice(field);
        };
        put(0, MAGIC);
        put(8, &VERSION.to_be_bytes());
        put(16, &store);
        match self.place {
            Place::Between => {}
            Place::Images(after) => {
                put(10, &[1]);
                put(32, &after.map_or([0; 16], |image| image.0));
            }
            Place::Journal(after) => {
                put(10, &[2]);
                let ExtentId { ino, index } = after.unwrap_or(ExtentId { ino: 0, index: 0 });
                put(48, &ino.to_be_bytes());
                put(56, &index.to_be_bytes());
            }
        }
        for (number, field) in self.numbers().into_iter().enumerate() {
            put(64 + 8 * number, &field.to_be_bytes());
        }
        let check = blake3::hash(&bytes[..CHECK_AT]);
        bytes[CHECK_AT..].copy_from_slice(&check.as_bytes()[..PROGRESS_BYTES - CHECK_AT]);
        bytes
    }

    fn numbers(&self) -> [u64; 7] {
        let Self { began_unix_ns, ended_unix_ns, checked_bytes, found, repaired, bad, bad_before, .. } =
            *self;
        [began_unix_ns, ended_unix_ns, checked_bytes, found, repaired, bad, bad_before]
    }

    /// Reads the bytes of the store with this uuid.
    ///
    /// # Errors
    /// Any [`ProgressError`].
    pub(crate) fn decode(bytes: &[u8], store: [u8; 16]) -> Result<Self, ProgressError> {
        let bytes: &[u8; PROGRESS_BYTES] =
            bytes.try_into().map_err(|_| ProgressError::Length { bytes: bytes.len() })?;
        if bytes[..8] != *MAGIC {
            return Err(ProgressError::Magic);
        }
        if bytes[CHECK_AT..] != blake3::hash(&bytes[..CHECK_AT]).as_bytes()[..PROGRESS_BYTES - CHECK_AT] {
            return Err(ProgressError::Damaged);
        }
        let version = u16::from_be_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(ProgressError::Version { version });
        }
        if bytes[16..32] != store {
            return Err(ProgressError::Foreign);
        }
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let image = ImageId(bytes[32..48].try_into().expect("sixteen bytes"));
        let index = u32::from_be_bytes(bytes[56..60].try_into().expect("four bytes"));
        let extent = ExtentId { ino: number(48), index };
        let place = match bytes[10] {
            0 => Place::Between,
            1 => Place::Images(Some(image).filter(|image| image.0 != [0; 16])),
            2 => Place::Journal(Some(extent).filter(|extent| extent.ino != 0)),
            _ => return Err(ProgressError::Place),
        };
        let progress = Self {
            place,
            began_unix_ns: number(64),
            ended_unix_ns: number(72),
            checked_bytes: number(80),
            found: number(88),
            repaired: number(96),
            bad: number(104),
            bad_before: number(112),
        };
        // Fields that the place does not need are zero, and so is what lies between them.
        if progress.encode(store) == *bytes { Ok(progress) } else { Err(ProgressError::Place) }
    }

    /// Things that are known to be bad, now or as of the last whole round.
    pub(crate) fn known_bad(&self) -> u64 {
        self.bad.max(self.bad_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: [u8; 16] = [0x11; 16];

    fn sample() -> Progress {
        Progress {
            place: Place::Images(Some(ImageId([0xaa; 16]))),
            began_unix_ns: 0x22,
            ended_unix_ns: 0x21,
            checked_bytes: 300,
            found: 3,
            repaired: 2,
            bad: 1,
            bad_before: 4,
        }
    }

    #[test]
    fn progress_has_its_golden_bytes() {
        let expected = "53484f414c534352 0001 01 0000000000 11111111111111111111111111111111 \
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 00000000000000000000000000000000 \
            0000000000000022 0000000000000021 000000000000012c 0000000000000003 0000000000000002 \
            0000000000000001 0000000000000004 a40a2591a4e2d3cb03029071a5d7ff14"
            .replace(' ', "");
        let bytes = sample().encode(STORE);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(Progress::decode(&bytes, STORE), Ok(sample()));
        assert_eq!(Progress::decode(&bytes, [0x12; 16]), Err(ProgressError::Foreign));
        let journal = Place::Journal(Some(ExtentId { ino: 0x0102, index: 0x0304 }));
        let bytes = Progress { place: journal, ..sample() }.encode(STORE);
        assert_eq!(bytes[10..16], [2, 0, 0, 0, 0, 0]);
        assert_eq!(
            bytes[32..64],
            [[0; 16].as_slice(), &[0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0]].concat()
        );
    }

    #[test]
    fn every_place_is_read_as_it_was_written() {
        let extent = ExtentId { ino: 7, index: u32::MAX };
        for place in [
            Place::Between,
            Place::Images(None),
            Place::Images(Some(ImageId([9; 16]))),
            Place::Journal(None),
            Place::Journal(Some(extent)),
        ] {
            let progress = Progress { place, ..sample() };
            assert_eq!(Progress::decode(&progress.encode(STORE), STORE), Ok(progress));
        }
        assert_eq!(Progress::decode(&Progress::default().encode(STORE), STORE), Ok(Progress::default()));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let bytes = sample().encode(STORE);
        for at in 0..PROGRESS_BYTES {
            for bit in 0..8 {
                let mut changed = bytes;
                changed[at] ^= 1 << bit;
                assert!(Progress::decode(&changed, STORE).is_err(), "{at}");
            }
            assert!(Progress::decode(&bytes[..at], STORE).is_err(), "{at}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(
            Progress::decode(&longer, STORE),
            Err(ProgressError::Length { bytes: PROGRESS_BYTES + 1 })
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_though_its_checksum_is_right() {
        for (at, value) in [(10, 3), (11, 1), (50, 1), (62, 1)] {
            let mut bytes = sample().encode(STORE);
            bytes[at] = value;
            let check = blake3::hash(&bytes[..CHECK_AT]);
            bytes[CHECK_AT..].copy_from_slice(&check.as_bytes()[..16]);
            assert_eq!(Progress::decode(&bytes, STORE), Err(ProgressError::Place), "{at}");
        }
    }
}
