//! A parity image: the group it was made for, image by image, and which blocks of its payload are
//! bad.
//!
//! INVARIANT: no byte of the file is trusted; every read is bounded by a checked length.
//! Spec: docs/formats/group.md §3 to §5.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::bail;
use layout::ec::footer::{Footer, TRAILER_BYTES, Trailer};
use layout::limits::BLOCK_BYTES;

use super::sink::{Facts, Sink};
use super::words::hex;

const MAGIC: &[u8; 8] = b"SHOALPAR";

/// Whether the file ends as parity images do.
pub(super) fn is_one(file: &File, bytes: u64) -> io::Result<bool> {
    let Some(at) = bytes.checked_sub(TRAILER_BYTES as u64) else { return Ok(false) };
    let mut magic = [0; MAGIC.len()];
    file.read_exact_at(&mut magic, at)?;
    Ok(magic == *MAGIC)
}

/// Prints trailer, group and bad blocks.
///
/// # Errors
/// If the file cannot be read, `out` not be written, or if anything was damaged: after all else was
/// printed.
pub(super) fn print(path: &Path, file: &File, bytes: u64, out: &mut Sink<'_>) -> anyhow::Result<()> {
    let mut last = [0; TRAILER_BYTES];
    file.read_exact_at(&mut last, bytes.saturating_sub(TRAILER_BYTES as u64))?;
    let trailer = match Trailer::decode(&last, bytes) {
        Ok(trailer) => trailer,
        Err(error) => {
            out.line(&format!("trailer BAD: {error}"), part("trailer", false))?;
            bail!("{}: damaged, see above", path.display());
        }
    };
    let (payload, parity) = (trailer.payload_bytes, trailer.parity);
    let facts = part("trailer", true).with("parity", parity).with("bytes", payload).with("file_bytes", bytes);
    out.line(&format!("trailer parity {parity}, payload {payload}, file {bytes}"), facts)?;
    let mut end = vec![0; trailer.footer_bytes()];
    file.read_exact_at(&mut end, payload)?;
    let footer = match Footer::decode(trailer, &end) {
        Ok(footer) => footer,
        Err(error) => {
            out.line(&format!("footer BAD: {error}"), part("footer", false))?;
            bail!("{}: damaged, see above", path.display());
        }
    };
    group(&footer, out)?;
    match blocks(file, &footer, payload, out)? {
        0 => Ok(()),
        bad => bail!("{}: {bad} damaged blocks, see above", path.display()),
    }
}

fn part(name: &str, ok: bool) -> Facts {
    Facts::new(ok).with("part", name)
}

fn group(footer: &Footer, out: &mut Sink<'_>) -> io::Result<()> {
    let shape = &footer.shape;
    let facts = part("group", true).with("group", shape.group().0).with("code", shape.profile().to_string());
    out.line(&format!("group {} {} | checksum ok", shape.group(), shape.profile()), facts)?;
    for slot in 0..shape.slots() {
        let Some((image, sum)) = shape.image(slot) else {
            out.line(&format!("slot {slot} empty"), part("slot", true).with("slot", slot))?;
            continue;
        };
        let whose = match shape.members().get(slot).copied().flatten() {
            Some(member) => format!("ino {} extent {}", member.extent.ino, member.extent.index),
            None if slot == shape.profile().data() + footer.parity => "parity, this file".to_owned(),
            None => "parity".to_owned(),
        };
        let facts = part("slot", true)
            .with("slot", slot)
            .with("image", image.to_string())
            .with("bytes", shape.bytes(slot))
            .with("whose", whose.as_str());
        let (bytes, sum) = (shape.bytes(slot), hex(&sum.0));
        out.line(&format!("slot {slot} image {image} | {whose} | {bytes} bytes sum {sum}"), facts)?;
    }
    Ok(())
}

/// Prints bad blocks; answers how many.
fn blocks(file: &File, footer: &Footer, payload: u64, out: &mut Sink<'_>) -> io::Result<u64> {
    let sums = &footer.sums[footer.shape.profile().data() + footer.parity];
    let (step, count) = (BLOCK_BYTES as u64, payload.div_ceil(BLOCK_BYTES as u64));
    let mut bad = 0;
    for block in 0..count {
        let length = usize::try_from((payload - block * step).min(step)).expect("at most a block");
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, block * step)?;
        if !sums.check(block, &bytes) {
            let facts = part("block", false).with("block", block).with("at", block * step);
            out.line(&format!("block {block} at {} | sum BAD", block * step), facts)?;
            bad += 1;
        }
    }
    let text = format!("payload {count} blocks | {}", if bad == 0 { "ok" } else { "BAD" });
    out.line(&text, part("payload", bad == 0).with("blocks", count))?;
    Ok(bad)
}
