//! The pairs of a metadata store in words.
//!
//! A store that was not closed (its server was killed) cannot be read without repairing it: then a
//! copy is repaired and read, and the file stays as it is.
//!
//! Spec: docs/formats/namespace.md.

use std::path::Path;

use anyhow::{Context, anyhow};
use layout::ec::{Group, GroupId};
use mds_namespace::sealed::{self, ExtentImage};
use mds_namespace::{Content, Inode, StoreError, codec, keys};
use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, TableDefinition};
use tempfile::NamedTempFile;

use super::sink::{Facts, Sink};
use super::{state, words};

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("shoal");
const SUPERBLOCK_BYTES: usize = 84;
const COUNTERS_BYTES: usize = 28;

/// A store opened for reading.
enum Store {
    Itself(ReadOnlyDatabase),
    /// The file lives as long as it is read.
    Copy(Database, #[expect(dead_code, reason = "kept for its end, which removes the file")] NamedTempFile),
}

/// Prints every pair whose key in words begins with `prefix`. Values that do not decode are printed
/// as damaged.
///
/// # Errors
/// If the store cannot be opened or read, or a value was damaged: after all else was printed.
pub(super) fn print(file: &Path, prefix: &str, out: &mut Sink<'_>) -> anyhow::Result<()> {
    let store = open(file)?;
    let failed = |error: redb::Error| anyhow!("{}: {error}", file.display());
    let txn = match &store {
        Store::Itself(database) => database.begin_read(),
        Store::Copy(database, _) => database.begin_read(),
    }
    .map_err(|error| failed(error.into()))?;
    let table = txn.open_table(TABLE).map_err(|error| failed(error.into()))?;
    let mut damaged = 0_u64;
    for pair in table.range::<&[u8]>(..).map_err(|error| failed(error.into()))? {
        let (key, value) = pair.map_err(|error| failed(error.into()))?;
        let name = key_in_words(key.value());
        if !name.starts_with(prefix) {
            continue;
        }
        match value_in_words(key.value(), value.value()) {
            Ok(value) => {
                let facts = Facts::new(true).with("key", name.as_str()).with("value", value.as_str());
                out.line(&format!("{name} = {value}"), facts)?;
            }
            Err(error) => {
                damaged += 1;
                let hex = words::hex(value.value());
                let facts = Facts::new(false).with("key", name.as_str()).with("value", hex.as_str());
                out.line(&format!("{name} = BAD: {error}: {hex}"), facts.with("damage", error.as_str()))?;
            }
        }
    }
    if damaged != 0 {
        anyhow::bail!("{}: {damaged} damaged values, see above", file.display());
    }
    Ok(())
}

fn open(file: &Path) -> anyhow::Result<Store> {
    let name = file.display();
    match ReadOnlyDatabase::open(file) {
        Ok(database) => Ok(Store::Itself(database)),
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            Err(anyhow!("{name} is in use; stop the server first, or ask it: shoal admin status"))
        }
        Err(DatabaseError::RepairAborted) => {
            eprintln!(
                "shoal: {name} was not closed by its server: reading a copy, as of its last checkpoint"
            );
            let copy = NamedTempFile::new().context("no place for a copy of the store; see TMPDIR")?;
            std::fs::copy(file, copy.path())
                .with_context(|| format!("{name} cannot be copied; see TMPDIR"))?;
            let database = Database::open(copy.path()).map_err(|error| anyhow!("{name}: {error}"))?;
            Ok(Store::Copy(database, copy))
        }
        Err(error) => {
            Err(anyhow!("{name} is no metadata store: {error}; expected for example DIR/mds/1/state.redb"))
        }
    }
}

/// A key as people write it.
pub(super) fn key_in_words(key: &[u8]) -> String {
    let numbered = |word: &str| {
        let number = keys::number_of(key);
        number.map_or_else(|| format!("{word}/? {}", words::hex(key)), |number| format!("{word}/{number}"))
    };
    match key.first() {
        _ if key.starts_with(keys::STATE_PREFIX) => state::key_in_words(key),
        Some(&keys::TAG_SUPER) if key == keys::SUPERBLOCK => "super".to_owned(),
        Some(&keys::TAG_SUPER) if key == keys::COUNTERS => "counters".to_owned(),
        Some(&keys::TAG_INODE) => numbered("inode"),
        Some(&keys::TAG_SYMLINK) => numbered("symlink"),
        Some(&keys::TAG_INLINE) => numbered("inline"),
        Some(&keys::TAG_EXCLUSIVE) => numbered("exclusive"),
        Some(&keys::TAG_ORPHAN) => numbered("orphan"),
        Some(&keys::TAG_WORK) => numbered("work"),
        Some(&keys::TAG_SUPER) if key == keys::GROUP_COUNTER => "groups".to_owned(),
        Some(&keys::TAG_GROUP) => numbered("group"),
        Some(&keys::TAG_IMAGE) => match keys::image_of(key) {
            Some(image) => format!("image/{image}"),
            None => format!("image/? {}", words::hex(key)),
        },
        Some(&keys::TAG_DIRENT) => match keys::dirent_of(key) {
            Some((directory, cookie)) => format!("dirent/{directory}/{cookie:016x}"),
            None => format!("dirent/? {}", words::hex(key)),
        },
        Some(&tag @ (keys::TAG_EXTENT | keys::TAG_EXTENT_IMAGES)) => {
            let word = if tag == keys::TAG_EXTENT { "extent" } else { "images" };
            match keys::extent_of(key) {
                Some(extent) => format!("{word}/{}/{}", extent.ino, extent.index),
                None => format!("{word}/? {}", words::hex(key)),
            }
        }
        Some(_) | None => format!("? {}", words::hex(key)),
    }
}

/// A value as people read it.
fn value_in_words(key: &[u8], value: &[u8]) -> Result<String, String> {
    if key.starts_with(keys::STATE_PREFIX) {
        return state::value_in_words(key, value);
    }
    let corrupt = |error: StoreError| error.to_string();
    let number = || keys::number_of(key).ok_or("key length");
    Ok(match key.first() {
        Some(&keys::TAG_SUPER) if key == keys::SUPERBLOCK => superblock(value)?,
        Some(&keys::TAG_SUPER) if key == keys::COUNTERS => counters(value)?,
        Some(&keys::TAG_INODE) => inode(&codec::decode_inode(number()?, value).map_err(corrupt)?),
        Some(&keys::TAG_DIRENT) => {
            let entry = codec::decode_dirent(value).map_err(corrupt)?;
            format!("{} -> inode/{} ({:?})", words::bytes(entry.name), entry.ino, entry.file_type)
        }
        Some(&keys::TAG_EXTENT) => {
            let extent = keys::extent_of(key).ok_or("key length")?;
            let record = codec::decode_extent(extent, value).map_err(corrupt)?;
            let work =
                record.pending_work.map_or_else(String::new, |item| format!(", waits for work/{item}"));
            let kept = |backup: &layout::Backup| {
                format!(" backup {}{}", backup.server, if backup.filling { " (being filled)" } else { "" })
            };
            let backups: String = record.backups.iter().map(kept).collect();
            let code = record.code.map_or_else(String::new, |code| format!(" code {code}"));
            format!("data server {}{backups} epoch {}{code}{work}", record.home.0, record.epoch.0)
        }
        Some(&keys::TAG_GROUP) => group(&sealed::decode_group(GroupId(number()?), value).map_err(corrupt)?),
        Some(&keys::TAG_IMAGE) => {
            let place = sealed::decode_place(value).map_err(corrupt)?;
            let also = place.also.map_or_else(String::new, |also| format!(" and group/{}", also.0));
            format!("in group/{}{also}", place.group.0)
        }
        Some(&keys::TAG_EXTENT_IMAGES) => {
            let one = |image: &ExtentImage| {
                let ExtentImage { image, sequence, epoch, group, content_bytes, .. } = image;
                let (epoch, group) = (epoch.0, group.0);
                format!("image/{image} of {content_bytes} bytes up to {sequence} epoch {epoch} group/{group}")
            };
            let of = sealed::decode_images(value).map_err(corrupt)?;
            let images = of.images.iter().map(one).collect::<Vec<_>>().join(", then ");
            let standing = match (of.at_rest(), of.is_used) {
                (Some(_), _) => ", at rest",
                (None, true) => ", used",
                (None, false) => "",
            };
            format!("{images}{standing}, thawed {} cut at epoch {}", of.thawed, of.cut.0)
        }
        Some(&keys::TAG_WORK) => words::fields(&codec::decode_work(value).map_err(corrupt)?),
        Some(&keys::TAG_SYMLINK) => words::cut(words::bytes(value)),
        Some(&keys::TAG_INLINE) => format!("{} bytes: {}", value.len(), words::cut(words::bytes(value))),
        Some(_) | None => words::cut(words::hex(value)),
    })
}

/// A group: its profile, then each image and its data server.
fn group(group: &Group) -> String {
    let shape = group.shape();
    let mut text = format!("{} codec {:?}", shape.profile(), shape.codec());
    for (slot, home) in group.homes().iter().enumerate() {
        match (shape.image(slot), home) {
            (Some((image, _)), Some(home)) => {
                let what = shape.members().get(slot).copied().flatten().map_or_else(
                    || "parity".to_owned(),
                    |member| format!("extent/{}/{}", member.extent.ino, member.extent.index),
                );
                text += &format!(", {slot}: image/{image} {what} data server {}", home.0);
            }
            _ => text += &format!(", {slot}: empty"),
        }
    }
    text
}

/// The file system's identity; its keys are not printed.
fn superblock(value: &[u8]) -> Result<String, &'static str> {
    if value.len() != SUPERBLOCK_BYTES || value[..4] != *b"\x02SHO" {
        return Err("superblock length or version");
    }
    Ok(format!("file system {}, keys not shown", words::hex(&value[4..20])))
}

fn counters(value: &[u8]) -> Result<String, &'static str> {
    let value: &[u8; COUNTERS_BYTES] = value.try_into().map_err(|_| "counters length")?;
    if value[0] != 1 {
        return Err("counters version");
    }
    let at = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    Ok(format!("next inode {}, next work {}, inodes {}", at(4), at(12), at(20)))
}

fn inode(inode: &Inode) -> String {
    let content = match inode.content {
        Content::Inline => "inline",
        Content::Extents => "extents",
    };
    let Inode { kind, mode, nlink, uid, gid, size_bytes, used_bytes, change, generation, parent, .. } = inode;
    let times =
        [inode.atime, inode.mtime, inode.ctime].map(|time| format!("{}.{:09}", time.seconds, time.nanos));
    format!(
        "{kind:?} mode {mode:04o} nlink {nlink} owner {uid}:{gid} size {size_bytes} used {used_bytes} {content} \
         change {change} generation {generation} parent {parent} atime {} mtime {} ctime {}",
        times[0], times[1], times[2]
    )
}
