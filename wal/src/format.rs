//! The bytes of a segment: header block, records, footer. Pure: numbers to bytes and back.
//!
//! Decoders take whatever a disk gives and answer `None` or an error; encoders are only given what
//! we computed.
//!
//! Format: docs/formats/record.md.

pub(crate) mod checksum;
pub(crate) mod footer;
pub(crate) mod header;
pub(crate) mod record;

#[cfg(test)]
mod tests;

/// Version of all three structures.
pub(crate) const FORMAT_VERSION: u8 = 1;

/// Reads a big-endian number at a place the caller has checked to be there.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// As [`u16_at`].
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// As [`u16_at`].
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
