//! READDIR: lists a directory.
//!
//! The list on the wire is a chain: each entry is announced by a word, and so is the end. A server
//! writes the verifier, then entries one by one with [`encode_entry`] while they fit, then
//! [`encode_end`]; [`ResOk`] is for the client.
//!
//! Spec: RFC 8881 §18.23.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, padding};

use crate::{
    body::xdr_body,
    limits::{COMPONENT_BYTES_MAX, READDIR_ENTRIES_MAX},
    v4::{AttrValues, Bitmap, Fattr4, Verifier, attr::encode_fattr4},
};

/// Which part of the directory, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// 0, or that of the last entry read. 1 and 2 are reserved.
    pub cookie: u64,
    /// 0, or that of the last reply.
    pub verifier: Verifier,
    /// Bytes of names and cookies alone: a hint.
    pub dircount: u32,
    /// Bytes of the whole [`ResOk`]: a bound.
    pub maxcount: u32,
    /// The attributes wanted of each entry.
    pub requested: Bitmap,
}

xdr_body! { Args { cookie, verifier, dircount, maxcount, requested } }

/// Bytes of a result without entries: verifier, "no entry follows", end of directory.
pub const RES_EMPTY_BYTES: usize = 8 + 4 + 4;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where to go on behind it.
    pub cookie: u64,
    /// Its name.
    pub name: Bytes,
    /// Its attributes.
    pub attributes: Fattr4,
}

xdr_body! { Entry { cookie, name: opaque(COMPONENT_BYTES_MAX), attributes } }

/// A part of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// To be given back with the cookies.
    pub verifier: Verifier,
    /// The entries.
    pub entries: Vec<Entry>,
    /// There are no more.
    pub eof: bool,
}

/// Writes one entry with the attributes that are both requested and present. Returns the bytes it
/// takes of maxcount, the word that announces it included; go back to a mark from before if that is
/// too many.
pub fn encode_entry(
    w: &mut Writer,
    cookie: u64,
    name: &[u8],
    requested: &Bitmap,
    values: &AttrValues,
) -> usize {
    let start = w.len();
    w.bool(true);
    w.u64(cookie);
    w.opaque(name);
    encode_fattr4(requested, values, w);
    w.len() - start
}

/// Writes the end of the list.
pub fn encode_end(w: &mut Writer, eof: bool) {
    w.bool(false);
    w.bool(eof);
}

/// Bytes that an entry takes of dircount: its cookie and its name.
#[must_use]
pub fn entry_dircount_bytes(name_bytes: usize) -> usize {
    8 + 4 + name_bytes + padding(name_bytes)
}

impl Decode for ResOk {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let verifier = Verifier::decode(r)?;
        let mut entries = Vec::new();
        while r.bool()? {
            if entries.len() == READDIR_ENTRIES_MAX {
                return Err(XdrError::TooLong { len: entries.len() + 1, max: READDIR_ENTRIES_MAX });
            }
            entries.push(Entry::decode(r)?);
        }
        Ok(Self { verifier, entries, eof: r.bool()? })
    }
}

impl Encode for ResOk {
    fn encode(&self, w: &mut Writer) {
        self.verifier.encode(w);
        for entry in &self.entries {
            w.bool(true);
            entry.encode(w);
        }
        encode_end(w, self.eof);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The streamed form is the form that a client reads, and the sizes told are the sizes written.
    /// Spec: RFC 8881 §18.23.2.
    #[test]
    fn streamed_entries_have_their_golden_bytes() {
        let values = AttrValues { fileid: Some(7), size: Some(9), ..AttrValues::default() };
        let requested = Bitmap::of(&[20]);
        let mut w = Writer::new();
        Verifier(*b"verifier").encode(&mut w);
        let bytes = encode_entry(&mut w, 3, b"a", &requested, &values);
        encode_end(&mut w, true);
        let golden: &[u8] = &[
            b'v', b'e', b'r', b'i', b'f', b'i', b'e', b'r', // verifier
            0, 0, 0, 1, // an entry follows
            0, 0, 0, 0, 0, 0, 0, 3, // cookie
            0, 0, 0, 1, b'a', 0, 0, 0, // name
            0, 0, 0, 1, 0, 0x10, 0, 0, // attribute 20
            0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, // its value
            0, 0, 0, 0, // no entry follows
            0, 0, 0, 1, // end of the directory
        ];
        assert_eq!(w.to_bytes(), golden);
        assert_eq!(RES_EMPTY_BYTES + bytes, golden.len());
        assert_eq!(entry_dircount_bytes(1), 16);

        let mut r = Reader::new(w.into_bytes());
        let list = ResOk::decode(&mut r).unwrap();
        assert_eq!(r.finish(), Ok(()));
        assert!(list.eof);
        assert_eq!(list.entries[0].name, "a");
        assert_eq!(list.entries[0].attributes.to_values().unwrap().fileid, Some(7));
    }
}
