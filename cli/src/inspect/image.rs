//! A sealed image part by part: whose it is, where its frames lie, and what is wrong with them.
//!
//! The data server refuses an image as a whole when something around its frames is wrong; an
//! inspector must show it and go on. So this reads the format itself, straight from its document,
//! which also keeps the document honest.
//!
//! INVARIANT: no byte of the file is trusted; every read is bounded by a checked length.
//! Spec: docs/formats/image.md.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use crc_fast::{CrcAlgorithm, checksum};
use ds_image::limits::{CONTENT_BYTES_MAX, ENTRY_BYTES, FOOTER_BYTES, FRAME_BYTES, FRAMES_MAX, HEADER_BYTES};

use super::parity;
use super::sink::{Facts, Sink};
use super::words::hex;

const VERSION: u16 = 1;
/// Bytes of a header and of a footer before their checksum.
const SUMMED_BYTES: usize = 60;
/// Bytes of a footer that the root covers.
const ROOTED_BYTES: usize = 28;

/// Prints header, frames and footer. Damage is printed where it is, and counted.
///
/// # Errors
/// If the file cannot be read, `out` not be written, or if anything was damaged: after all else was
/// printed.
pub(super) fn print(path: &Path, out: &mut Sink<'_>) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let bytes = file.metadata()?.len();
    if parity::is_one(&file, bytes)? {
        return parity::print(path, &file, bytes, out);
    }
    let (first, last) = (HEADER_BYTES as u64, FOOTER_BYTES as u64);
    if bytes < first + last {
        anyhow::bail!("{}: {bytes} bytes are no image", path.display());
    }
    let mut image = Inspected { file, bytes, out, damaged: 0 };
    let header = image.read(0, HEADER_BYTES)?;
    image.header(&header)?;
    let footer = image.read(bytes - last, FOOTER_BYTES)?;
    if let Some(lengths) = image.footer(&footer)? {
        let index_at = first + u64::from(lengths.stored_bytes);
        let index = image.read(index_at, lengths.entries * ENTRY_BYTES)?;
        image.frames(&index, &lengths, index_at)?;
        image.root(&[&header, &index[..], &footer[..ROOTED_BYTES]], &footer[ROOTED_BYTES..SUMMED_BYTES])?;
    }
    match image.damaged {
        0 => Ok(()),
        damaged => anyhow::bail!("{}: {damaged} damaged places, see above", path.display()),
    }
}

struct Inspected<'a, 'b> {
    file: File,
    bytes: u64,
    out: &'a mut Sink<'b>,
    damaged: u64,
}

/// What a footer says, as far as it can be true.
struct Lengths {
    entries: usize,
    content_bytes: u32,
    stored_bytes: u32,
}

impl Inspected<'_, '_> {
    /// Reads what is there of a range. `length` is bounded by the caller.
    fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let rest = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(rest)];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// "checksum ok", or what is wrong with a header or a footer.
    fn verdict(&mut self, bytes: &[u8], magic: &[u8; 8], what: &str) -> String {
        let version = u16_at(bytes, 8);
        let verdict = match () {
            () if bytes[..8] != *magic => format!("BAD: no image {what}"),
            () if crc32c(&bytes[..SUMMED_BYTES]) != u32_at(bytes, SUMMED_BYTES) => "checksum BAD".to_owned(),
            () if version != VERSION => format!("version {version} is not known"),
            () => return "checksum ok".to_owned(),
        };
        self.damaged += 1;
        verdict
    }

    fn header(&mut self, bytes: &[u8]) -> io::Result<()> {
        let before = self.damaged;
        let verdict = self.verdict(bytes, b"SHOALIMG", "header");
        let odd = match (bytes[10], bytes[11], u32_at(bytes, 56)) {
            (1, 16, 0) => String::new(),
            (kind, log2, zero) => {
                self.damaged += 1;
                format!(" kind {kind}? frame size 2^{log2}? zero {zero:#x}?")
            }
        };
        let (ino, epoch, sequence) = (u64_at(bytes, 32), u64_at(bytes, 40), u64_at(bytes, 48));
        let (image, index) = (hex(&bytes[16..32]), u32_at(bytes, 12));
        let facts = part("header", before == self.damaged)
            .with("image", image.as_str())
            .with("ino", ino)
            .with("extent", index)
            .with("epoch", epoch)
            .with("sequence", sequence);
        let text = format!(
            "header image {image} | ino {ino} extent {index} epoch {epoch} sequence {sequence}{odd} | {verdict}"
        );
        self.out.line(&text, facts)
    }

    /// The lengths, if an index can be found with them.
    fn footer(&mut self, bytes: &[u8]) -> io::Result<Option<Lengths>> {
        let before = self.damaged;
        let verdict = self.verdict(bytes, b"SHOALEND", "footer");
        let (entries, content_bytes) = (u16_at(bytes, 10), u32_at(bytes, 12));
        let (said, stored_bytes) = (u64_at(bytes, 16), u32_at(bytes, 24));
        let entries = usize::from(entries);
        let facts = part("footer", before == self.damaged)
            .with("content_bytes", content_bytes)
            .with("stored_bytes", stored_bytes)
            .with("frames", entries)
            .with("file_bytes", said);
        let text = format!(
            "footer content {content_bytes} stored {stored_bytes} in {entries} frames, file {said} | {verdict}"
        );
        self.out.line(&text, facts)?;
        let sum =
            HEADER_BYTES as u64 + u64::from(stored_bytes) + (entries * ENTRY_BYTES + FOOTER_BYTES) as u64;
        let is_bounded = entries <= FRAMES_MAX && content_bytes <= CONTENT_BYTES_MAX;
        if !is_bounded || sum != self.bytes || said != self.bytes {
            self.damaged += 1;
            let text = format!("footer BAD: these lengths are not those of a file of {} bytes", self.bytes);
            self.out.line(&text, part("footer", false))?;
            return Ok(None);
        }
        Ok(Some(Lengths { entries, content_bytes, stored_bytes }))
    }

    fn frames(&mut self, index: &[u8], lengths: &Lengths, index_at: u64) -> io::Result<()> {
        let mut at = HEADER_BYTES as u64;
        let mut frame_min = 0;
        for entry in index.chunks_exact(ENTRY_BYTES) {
            let (frame, stored) = (usize::from(u16_at(entry, 0)), u32_at(entry, 4) as usize);
            let content =
                (lengths.content_bytes as usize).saturating_sub(frame * FRAME_BYTES).min(FRAME_BYTES);
            let form = match entry[2] {
                1 => "raw".to_owned(),
                2 => "zstd".to_owned(),
                form => format!("form {form}?"),
            };
            let is_known = matches!(entry[2], 1 | 2) && entry[3] == 0;
            let is_placed = frame_min <= frame && 0 < content && stored <= content;
            let verdict = if is_known && is_placed && at + stored as u64 <= index_at {
                let stored = self.read(at, stored)?;
                frame_verdict(entry, &stored, content)
            } else {
                Err("entry BAD")
            };
            self.damaged += u64::from(verdict.is_err());
            let facts = part("frame", verdict.is_ok())
                .with("frame", frame)
                .with("form", form.as_str())
                .with("stored_bytes", stored)
                .with("content_bytes", content)
                .with("at", at);
            let (Ok(verdict) | Err(verdict)) = verdict;
            let text = format!("frame {frame} {form} {stored} of {content} bytes at {at} | {verdict}");
            self.out.line(&text, facts)?;
            (frame_min, at) = (frame + 1, at.saturating_add(stored as u64));
        }
        if at != index_at {
            self.damaged += 1;
            let text = format!("index BAD: its frames end at {at}, it begins at {index_at}");
            self.out.line(&text, part("index", false))?;
        }
        Ok(())
    }

    fn root(&mut self, parts: &[&[u8]], said: &[u8]) -> io::Result<()> {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        let ok = hasher.finalize().as_bytes()[..] == *said;
        self.damaged += u64::from(!ok);
        let verdict = if ok { "ok" } else { "BAD: header, index or footer is not what was written" };
        let root = hex(said);
        self.out.line(&format!("root {root} | {verdict}"), part("root", ok).with("root", root.as_str()))
    }
}

fn part(name: &str, ok: bool) -> Facts {
    Facts::new(ok).with("part", name)
}

fn frame_verdict(entry: &[u8], stored: &[u8], content_bytes: usize) -> Result<&'static str, &'static str> {
    if blake3::hash(stored).as_bytes()[..] != entry[8..] {
        return Err("hash BAD");
    }
    let is_content = match entry[2] {
        1 => stored.len() == content_bytes,
        _ => {
            zstd::bulk::decompress(stored, content_bytes).is_ok_and(|content| content.len() == content_bytes)
        }
    };
    if is_content { Ok("hash ok") } else { Err("hash ok, content BAD: it does not become so many bytes") }
}

fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("a CRC-32C has 32 bits")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
