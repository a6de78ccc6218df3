//! What a journal record says, and how that stands in the fields of the log's header.
//!
//! INVARIANT: `Act::of` reads back what `Act::record` writes, and takes nothing whose numbers
//! contradict each other.
//! Spec: docs/formats/journal.md §2.

use bytes::Bytes;
use layout::{Epoch, ExtentId};
use wal::{Record, RecordHeader};

use crate::limits::{EXTENT_BYTES, WRITE_BYTES_MAX};
use layout::ec::IMAGE_REF_BYTES;

const OFFSET_BITS: u32 = 27;
const ROLE_HOME: u8 = 0;

/// Sequences stay below this.
pub(crate) const SEQUENCE_END: u64 = 1 << (64 - OFFSET_BITS);

const _: () = assert!((EXTENT_BYTES as u64) < 1 << OFFSET_BITS, "an offset, the extent's end included, fits");

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of the extent.
    Write,
    /// The epoch is at least this, and requests below it are refused.
    Fence,
    /// The epoch is at least this.
    Epoch,
    /// Bytes behind a point were forgotten.
    Cut,
    /// All bytes were forgotten, and the extent is not needed any more.
    Drop,
    /// An image stands for all older bytes.
    Image,
}

/// A record without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) kind: Kind,
    pub(crate) extent: ExtentId,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: u64,
    /// From the extent's start; of an IMAGE, how many bytes the image says.
    pub(crate) offset: u32,
    /// Bytes that are said by this record: of a WRITE its data, of a CUT all to the extent's end,
    /// of an IMAGE the hole behind the image's bytes.
    pub(crate) length: u32,
}

/// Why a log record is not one of ours, though its checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of kind {kind} with position {position:#x} and {payload_len} bytes makes no sense")]
pub struct RecordError {
    /// The kind byte.
    pub kind: u8,
    /// The position field.
    pub position: u64,
    /// Length of the payload.
    pub payload_len: u32,
}

impl Act {
    /// No byte is what it is because of this record.
    pub(crate) fn says_nothing(&self) -> bool {
        self.length == 0 && self.kind != Kind::Image
    }

    /// Requests below its epoch are refused, also after a restart. A CUT of nothing without a
    /// sequence is what an extent begins with at a server that had it before.
    pub(crate) fn fences(&self) -> bool {
        match self.kind {
            Kind::Fence | Kind::Drop => true,
            Kind::Cut => self.length == 0 && self.sequence == 0,
            Kind::Write | Kind::Epoch | Kind::Image => false,
        }
    }

    /// The log record, with `payload` if it is a WRITE or an IMAGE.
    pub(crate) fn record(&self, payload: Vec<Bytes>) -> Record {
        assert!(self.sequence < SEQUENCE_END, "a sequence fits beside the offset");
        assert!(self.offset <= EXTENT_BYTES, "an act begins within the extent, or at its end");
        let has_data = matches!(self.kind, Kind::Write | Kind::Image);
        assert!(has_data != payload.is_empty(), "a WRITE and an IMAGE have data, others have none");
        let kind = match self.kind {
            Kind::Write => 1,
            Kind::Fence => 2,
            Kind::Cut => 3,
            Kind::Drop => 4,
            Kind::Image => 5,
            Kind::Epoch => 6,
        };
        let position = self.sequence << OFFSET_BITS | u64::from(self.offset);
        let ExtentId { ino: stream, index: sub } = self.extent;
        let (role, epoch) = (ROLE_HOME, self.epoch.0);
        let record = Record { kind, role, stream, sub, epoch, position, payload };
        debug_assert_eq!(Self::of(&header_of(&record)), Ok(*self), "it reads back as its act");
        record
    }

    /// What a log record says.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(crate) fn of(header: &RecordHeader) -> Result<Self, RecordError> {
        let &RecordHeader { kind, role, stream, sub, epoch, position, payload_len } = header;
        let error = RecordError { kind, position, payload_len };
        let offset = u32::try_from(position & ((1 << OFFSET_BITS) - 1)).expect("27 bits");
        let rest = EXTENT_BYTES.checked_sub(offset).ok_or(error)?;
        let (kind, length) = match kind {
            1 => (Kind::Write, payload_len),
            2 => (Kind::Fence, 0),
            3 => (Kind::Cut, rest),
            4 => (Kind::Drop, rest),
            5 => (Kind::Image, rest),
            6 => (Kind::Epoch, 0),
            _ => return Err(error),
        };
        let sound = match kind {
            Kind::Write => 0 < length && length <= rest && length as usize <= WRITE_BYTES_MAX,
            Kind::Cut => payload_len == 0,
            Kind::Fence | Kind::Epoch | Kind::Drop => payload_len == 0 && offset == 0,
            // An image says the extent after an act, so there was one.
            Kind::Image => {
                payload_len as usize == IMAGE_REF_BYTES && 0 < offset && 1 << OFFSET_BITS <= position
            }
        };
        if !sound || role != ROLE_HOME {
            return Err(error);
        }
        let (extent, epoch) = (ExtentId { ino: stream, index: sub }, Epoch(epoch));
        Ok(Self { kind, extent, epoch, sequence: position >> OFFSET_BITS, offset, length })
    }
}

/// The header that the log gives a record.
fn header_of(record: &Record) -> RecordHeader {
    let bytes = record.payload.iter().map(Bytes::len).sum::<usize>();
    let payload_len = u32::try_from(bytes).unwrap_or(u32::MAX);
    let &Record { kind, role, stream, sub, epoch, position, .. } = record;
    RecordHeader { kind, role, stream, sub, epoch, position, payload_len }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_have_their_golden_fields() {
        let extent = ExtentId { ino: 7, index: 9 };
        let act = Act { kind: Kind::Write, extent, epoch: Epoch(3), sequence: 5, offset: 0x123, length: 4 };
        let record = act.record(vec![Bytes::from_static(b"data")]);
        assert_eq!((record.kind, record.role, record.stream, record.sub), (1, 0, 7, 9));
        assert_eq!((record.epoch, record.position), (3, 0x2800_0123));
        assert_eq!(Act::of(&header_of(&record)), Ok(act));
        for (kind, byte, offset) in
            [(Kind::Fence, 2, 0), (Kind::Cut, 3, 5), (Kind::Cut, 3, EXTENT_BYTES), (Kind::Drop, 4, 0)]
        {
            let length = if kind == Kind::Fence { 0 } else { EXTENT_BYTES - offset };
            let act = Act { kind, extent, epoch: Epoch(3), sequence: 5, offset, length };
            let record = act.record(vec![]);
            assert_eq!(record.kind, byte);
            assert_eq!(Act::of(&header_of(&record)), Ok(act));
        }
        let (offset, length) = (7, EXTENT_BYTES - 7);
        let act = Act { kind: Kind::Image, extent, epoch: Epoch(3), sequence: 5, offset, length };
        let record = act.record(vec![Bytes::from(vec![1; 64])]);
        assert_eq!((record.kind, record.position, record.epoch), (5, 0x2800_0007, 3));
        assert_eq!(Act::of(&header_of(&record)), Ok(act));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let good = RecordHeader {
            kind: 1,
            role: 0,
            stream: 1,
            sub: 1,
            epoch: 1,
            position: 1 << OFFSET_BITS,
            payload_len: 4,
        };
        assert!(Act::of(&good).is_ok());
        let end = u64::from(EXTENT_BYTES);
        let image = RecordHeader { kind: 5, position: 1 << OFFSET_BITS | end, payload_len: 64, ..good };
        assert!(Act::of(&image).is_ok());
        for bad in [
            RecordHeader { kind: 0, ..good },
            RecordHeader { kind: 6, ..good },
            RecordHeader { role: 1, ..good },
            RecordHeader { payload_len: 0, ..good },
            RecordHeader { payload_len: WRITE_BYTES_MAX as u32 + 1, ..good },
            RecordHeader { position: end - 3, ..good },
            RecordHeader { position: end + 1, ..good },
            RecordHeader { kind: 2, ..good },
            RecordHeader { kind: 3, ..good },
            RecordHeader { kind: 4, position: 1, payload_len: 0, ..good },
            RecordHeader { payload_len: 63, ..image },
            RecordHeader { payload_len: 65, ..image },
            RecordHeader { position: 1 << OFFSET_BITS, ..image },
            RecordHeader { position: 7, ..image },
            RecordHeader { position: 1 << OFFSET_BITS | (end + 1), ..image },
        ] {
            assert!(Act::of(&bad).is_err(), "{bad:?}");
        }
    }
}
