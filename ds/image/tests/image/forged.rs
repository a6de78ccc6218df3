//! Images built from their page (docs/formats/image.md), not with the crate's own code, with right
//! checksums over any fields.

use crc_fast::{CrcAlgorithm, checksum};

use crate::bed::id;

/// The fields of an image to be forged. `Default` is a right, empty one.
#[derive(Clone, Debug)]
pub(crate) struct Forged {
    pub(crate) header_magic: [u8; 8],
    pub(crate) header_version: u16,
    pub(crate) kind: u8,
    pub(crate) frame_bytes_log2: u8,
    pub(crate) image: [u8; 16],
    pub(crate) header_zero: u32,
    /// What lies between header and index.
    pub(crate) frames: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) footer_version: u16,
    /// Those that differ from what `frames` and `entries` make them.
    pub(crate) count: Option<u16>,
    pub(crate) content_bytes: u32,
    pub(crate) image_bytes: Option<u64>,
    pub(crate) stored_bytes: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) frame: u16,
    pub(crate) form: u8,
    pub(crate) zero: u8,
    pub(crate) stored_bytes: u32,
    pub(crate) hash: [u8; 32],
}

impl Default for Forged {
    fn default() -> Self {
        Self {
            header_magic: *b"SHOALIMG",
            header_version: 1,
            kind: 1,
            frame_bytes_log2: 16,
            image: id(1).0,
            header_zero: 0,
            frames: Vec::new(),
            entries: Vec::new(),
            footer_version: 1,
            count: None,
            content_bytes: 0,
            image_bytes: None,
            stored_bytes: None,
        }
    }
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).unwrap().to_be_bytes()
}

impl Forged {
    /// Adds a stored frame with its right hash.
    pub(crate) fn with_frame(mut self, frame: u16, form: u8, stored: &[u8]) -> Self {
        self.frames.extend_from_slice(stored);
        let stored_bytes = u32::try_from(stored.len()).unwrap();
        let hash = *blake3::hash(stored).as_bytes();
        self.entries.push(Entry { frame, form, zero: 0, stored_bytes, hash });
        self
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut header = self.header_magic.to_vec();
        header.extend(self.header_version.to_be_bytes());
        header.extend([self.kind, self.frame_bytes_log2]);
        header.extend(7_u32.to_be_bytes());
        header.extend(self.image);
        header.extend(42_u64.to_be_bytes());
        header.extend(3_u64.to_be_bytes());
        header.extend(99_u64.to_be_bytes());
        header.extend(self.header_zero.to_be_bytes());
        header.extend(crc(&header));
        let mut index = Vec::new();
        for entry in &self.entries {
            index.extend(entry.frame.to_be_bytes());
            index.extend([entry.form, entry.zero]);
            index.extend(entry.stored_bytes.to_be_bytes());
            index.extend(entry.hash);
        }
        let sum = u32::try_from(self.frames.len()).unwrap();
        let count = u16::try_from(self.entries.len()).unwrap();
        let (stored, count) = (self.stored_bytes.unwrap_or(sum), self.count.unwrap_or(count));
        let sum = 128 + u64::from(stored) + 40 * u64::from(count);
        let image_bytes = self.image_bytes.unwrap_or(sum);
        let mut footer = b"SHOALEND".to_vec();
        footer.extend(self.footer_version.to_be_bytes());
        footer.extend(count.to_be_bytes());
        footer.extend(self.content_bytes.to_be_bytes());
        footer.extend(image_bytes.to_be_bytes());
        footer.extend(stored.to_be_bytes());
        footer.extend(blake3::hash(&[&header[..], &index, &footer].concat()).as_bytes());
        footer.extend(crc(&footer));
        [header, self.frames.clone(), index, footer].concat()
    }
}
