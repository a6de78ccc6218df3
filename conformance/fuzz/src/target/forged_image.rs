//! Images built from a script: right where the script says nothing, wrong where it does, with right
//! checksums in any case.
//!
//! Written from docs/formats/image.md, not with the crate's own code.
//!
//! Script: steps of four bytes (what, and three numbers), some followed by bytes.

use super::forged_log::{Script, crc};

/// Id of the image.
pub(super) const ID: [u8; 16] = [5; 16];
const FRAME: usize = 1 << 16;
/// Frames of one script.
const FRAMES_MAX: usize = 9;

struct Entry {
    frame: u16,
    form: u8,
    zero: u8,
    stored_bytes: u32,
    hash: [u8; 32],
}

struct Forge {
    header: [u8; 60],
    frames: Vec<u8>,
    entries: Vec<Entry>,
    footer_version: u16,
    content_bytes: u32,
    count: Option<u16>,
    stored_bytes: Option<u32>,
    image_bytes: Option<u64>,
    /// Places of the finished file and what they are changed by.
    flips: Vec<(usize, u8)>,
    cut_bytes: usize,
}

/// Builds what the script says.
pub(super) fn forge(bytes: &[u8]) -> Vec<u8> {
    let mut script = Script::new(bytes);
    let mut forge = Forge::new();
    while let Some([what, a, b, c]) = script.step() {
        let wide = u16::from_be_bytes([b, c]);
        match what % 8 {
            0 => forge.content_bytes = u32::from_be_bytes([what >> 3, a, b, c]),
            1 => forge.frame(a, 1, raw(forge.length(a), b, c)),
            2 => forge.frame(a, 2, packed(forge.length(a) + usize::from(c), b)),
            3 => {
                let bytes = script.take(usize::from(c)).to_vec();
                forge.frame(a, b % 4, bytes);
            }
            4 => forge.change_entry(a, b, c),
            5 => match a % 4 {
                0 => forge.count = Some(wide),
                1 => forge.stored_bytes = Some(u32::from(wide) << (a >> 3)),
                2 => forge.image_bytes = Some(script.u64()),
                _ => forge.footer_version = wide,
            },
            6 => forge.header[usize::from(a) % 60] = b,
            _ if a & 1 == 0 => forge.flips.push((usize::from(wide) << (a >> 4), a | 1)),
            _ => forge.cut_bytes = usize::from(wide),
        }
    }
    forge.finish()
}

/// The input that [`forge`] makes these steps of.
pub(super) fn steps(steps: &[([u8; 4], &[u8])]) -> Vec<u8> {
    steps.iter().flat_map(|(step, bytes)| [&step[..], bytes].concat()).collect()
}

/// Content: one byte over and over, or with others among them so that it does not compress.
fn raw(length: usize, fill: u8, noise: u8) -> Vec<u8> {
    let mut content = vec![fill; length];
    if noise & 1 == 1 {
        blake3::Hasher::new().update(&[fill, noise]).finalize_xof().fill(&mut content);
    }
    content
}

fn packed(length: usize, fill: u8) -> Vec<u8> {
    zstd::bulk::compress(&vec![fill; length], 1).expect("memory to memory")
}

impl Forge {
    fn new() -> Self {
        let mut header = [0; 60];
        header[..12].copy_from_slice(b"SHOALIMG\0\x01\x01\x10");
        header[16..32].copy_from_slice(&ID);
        Self {
            header,
            frames: Vec::new(),
            entries: Vec::new(),
            footer_version: 1,
            content_bytes: 0,
            count: None,
            stored_bytes: None,
            image_bytes: None,
            flips: Vec::new(),
            cut_bytes: 0,
        }
    }

    /// Content bytes of a frame, as far as it is inside the content said so far.
    fn length(&self, frame: u8) -> usize {
        (self.content_bytes as usize).saturating_sub(usize::from(frame) * FRAME).min(FRAME)
    }

    fn frame(&mut self, frame: u8, form: u8, stored: Vec<u8>) {
        if self.entries.len() == FRAMES_MAX {
            return;
        }
        let stored_bytes = u32::try_from(stored.len()).expect("about a frame");
        let hash = *blake3::hash(&stored).as_bytes();
        self.frames.extend(stored);
        self.entries.push(Entry { frame: u16::from(frame), form, zero: 0, stored_bytes, hash });
    }

    fn change_entry(&mut self, a: u8, b: u8, c: u8) {
        let Some(entry) = self.entries.last_mut() else { return };
        match a % 4 {
            0 => entry.stored_bytes = u32::from_be_bytes([0, a >> 2, b, c]),
            1 => entry.zero = b,
            2 => entry.hash[usize::from(b) % 32] ^= c,
            _ => entry.frame = u16::from_be_bytes([b, c]),
        }
    }

    fn finish(self) -> Vec<u8> {
        let header = [&self.header[..], &crc(&self.header)].concat();
        let mut index = Vec::new();
        for entry in &self.entries {
            index.extend(entry.frame.to_be_bytes());
            index.extend([entry.form, entry.zero]);
            index.extend(entry.stored_bytes.to_be_bytes());
            index.extend(entry.hash);
        }
        let (entries, frames) = (self.entries.len(), self.frames.len());
        let count = self.count.unwrap_or_else(|| u16::try_from(entries).expect("a few"));
        let stored = self.stored_bytes.unwrap_or_else(|| u32::try_from(frames).expect("a few frames"));
        let sum = 128 + u64::from(stored) + 40 * u64::from(count);
        let mut footer = b"SHOALEND".to_vec();
        footer.extend(self.footer_version.to_be_bytes());
        footer.extend(count.to_be_bytes());
        footer.extend(self.content_bytes.to_be_bytes());
        footer.extend(self.image_bytes.unwrap_or(sum).to_be_bytes());
        footer.extend(stored.to_be_bytes());
        footer.extend(blake3::hash(&[&header[..], &index, &footer].concat()).as_bytes());
        footer.extend(crc(&footer));
        let mut file = [header, self.frames, index, footer].concat();
        let length = file.len();
        for (at, by) in self.flips {
            file[at % length] ^= by;
        }
        file.truncate(length - self.cut_bytes.min(length));
        file
    }
}
