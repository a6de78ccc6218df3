//! What real stores and logs look like to an inspector, whole and damaged.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ds_image::{Identity, ImageId, ImageStore};
use ds_store::{ImageRef, NoImages, Stability, Store, StoreConfig};
use layout::ec::{Draft, Encoder, GroupId, ImageSum, Member, Profile};
use layout::{Epoch, ExtentId};
use mds_namespace::store::disk::DiskStore;
use mds_namespace::{Durability, MetaStore, Timestamp, op, superblock::Superblock};
use mds_raft::{NodeConfig, Shard};
use tempfile::TempDir;

use super::print;
use crate::args::{DiskPreference, Inspect, InspectCommand, InspectImage, InspectLog, InspectNamespace};
use crate::machine;

/// What an inspection printed, and whether it found damage.
fn inspected(what: InspectCommand) -> (String, Result<(), String>) {
    printed(&Inspect { what, json: false })
}

fn printed(inspect: &Inspect) -> (String, Result<(), String>) {
    let mut out = Vec::new();
    let done = print(inspect, &mut out).map_err(|error| error.to_string());
    (String::from_utf8(out).unwrap(), done)
}

/// The documents that are printed instead of lines, without what differs from run to run.
fn documents(what: InspectCommand) -> (Vec<serde_json::Value>, Result<(), String>) {
    let (text, done) = printed(&Inspect { what, json: true });
    let document = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    (text.lines().map(document).collect(), done)
}

fn journal(dir: &Path, last: Option<usize>) -> (String, Result<(), String>) {
    inspected(InspectCommand::Journal(InspectLog { dir: dir.to_path_buf(), last }))
}

const EXTENT: ExtentId = ExtentId { ino: 12, index: 3 };

/// A journal with two small records, a large one and a cut; closed, or left as a crash leaves it.
async fn written(close: bool) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let env = machine::environment("test", DiskPreference::Blocking).unwrap();
    let store = Store::open(&env, &StoreConfig::new(dir.path(), 64 << 20), Arc::new(NoImages)).await.unwrap();
    for (offset, data) in [(0, vec![1; 100]), (100, vec![2; 5000]), (1 << 20, vec![3; 200_000])] {
        store.write(EXTENT, Epoch(1), offset, vec![Bytes::from(data)], Stability::Synced).await.unwrap();
    }
    store.cut(EXTENT, Epoch(2), 7).await.unwrap();
    if close {
        store.close().await.unwrap();
    }
    let journal = dir.path().join("journal");
    (dir, journal)
}

fn the_segment(journal: &Path) -> PathBuf {
    let mut segments: Vec<_> = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("seg-"));
    segments.sort();
    segments.remove(0)
}

fn flip(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Where the record whose line holds these words begins.
fn offset_of(text: &str, words: &str) -> u64 {
    let line = text.lines().find(|line| line.contains(words)).unwrap();
    let hex = line.split(' ').next().unwrap().split_once(":0x").unwrap().1;
    u64::from_str_radix(hex, 16).unwrap()
}

#[tokio::test]
async fn a_journal_is_told_record_by_record() {
    for close in [true, false] {
        let (_dir, journal_dir) = written(close).await;
        let before = fs::read(the_segment(&journal_dir)).unwrap();
        let (text, done) = journal(&journal_dir, None);
        assert_eq!(done, Ok(()), "{text}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        for (line, words) in lines.iter().zip([
            "WRITE offset 0 length 100 | ino 12 extent 3 epoch 1 sequence 1 role home | checksums ok",
            "WRITE offset 100 length 5000 |",
            "WRITE offset 1048576 length 200000 |",
            "CUT offset 7 | ino 12 extent 3 epoch 2 sequence ",
        ]) {
            assert!(line.contains(words), "{line}");
        }
        assert_eq!(journal(&journal_dir, Some(1)).0.lines().collect::<Vec<_>>(), lines[3..]);
        assert_eq!(fs::read(the_segment(&journal_dir)).unwrap(), before, "nothing was changed");
    }
}

#[tokio::test]
async fn damaged_data_is_told_with_its_place_and_the_rest_goes_on() {
    let (_dir, journal_dir) = written(true).await;
    let (text, _) = journal(&journal_dir, None);
    // The large record's payload begins at the block behind its header and table.
    let header = offset_of(&text, "length 200000");
    let second_block = (header + 64 + 4 * 49).next_multiple_of(4096) + 4096;
    flip(&the_segment(&journal_dir), second_block + 17);
    flip(&the_segment(&journal_dir), offset_of(&text, "length 5000") + 64);
    let (text, done) = journal(&journal_dir, None);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert_eq!(text.matches("checksums ok").count(), 2, "{text}");
    assert!(text.contains("checksums BAD (table, "), "{text}");
    assert!(text.contains(&format!("at {second_block})")), "{text}");
    assert!(done.unwrap_err().contains("2 damaged places"));
}

#[tokio::test]
async fn a_lost_record_is_told_and_those_behind_it_are_found() {
    let (_dir, journal_dir) = written(false).await;
    let (text, _) = journal(&journal_dir, None);
    let lost = offset_of(&text, "offset 100 ");
    flip(&the_segment(&journal_dir), lost + 20);
    let (text, done) = journal(&journal_dir, None);
    assert!(done.is_err());
    assert!(text.contains(&format!("at {lost}: no record in")), "{text}");
    assert!(text.contains("length 200000") && text.contains("CUT"), "{text}");
    // The last one: nothing behind it, but its beginning is there to be seen.
    let last = offset_of(&text, "CUT");
    flip(&the_segment(&journal_dir), last + 63);
    assert!(journal(&journal_dir, None).0.contains(&format!("at {last}: record header BAD")));
}

#[tokio::test]
async fn files_that_are_no_segments_are_told() {
    let (_dir, journal_dir) = written(true).await;
    let segment = the_segment(&journal_dir);
    for (at, words) in [(0, "no segment header"), (40, "segment header checksum BAD")] {
        flip(&segment, at);
        let (text, done) = journal(&journal_dir, None);
        assert!(done.is_err() && text.contains(&format!("at 0: {words}")), "{text}");
        flip(&segment, at);
    }
    let whole = fs::read(&segment).unwrap();
    flip(&segment, whole.len() as u64 - 20);
    assert!(journal(&journal_dir, None).0.contains("footer trailer checksum BAD"));
    for length in [0, 30, 64, 4096, 4100, 9000] {
        fs::write(&segment, &whole[..length]).unwrap();
        let _ = journal(&journal_dir, None);
    }
    fs::write(&segment, vec![0xff; 10_000]).unwrap();
    assert!(journal(&journal_dir, None).1.is_err());
}

#[tokio::test]
async fn a_raft_log_is_told_entry_by_entry() {
    let dir = tempfile::tempdir().unwrap();
    let env = machine::environment("test", DiskPreference::Blocking).unwrap();
    let shard = Shard::start(env, dir.path(), NodeConfig::single([0; 16])).await.unwrap();
    let command =
        mds_state::Command::ReclaimComplete(mds_state::command::client::ReclaimComplete { client: 77 });
    let _ = shard.propose(None, command).await.unwrap();
    let log = InspectLog { dir: dir.path().join("log"), last: None };
    let (text, done) = inspected(InspectCommand::RaftLog(log));
    assert_eq!(done, Ok(()), "{text}");
    assert!(
        text.contains("granted by a majority") && text.contains("ReclaimComplete { client: 77 }"),
        "{text}"
    );
    assert!(text.contains(": blank | checksums ok") && text.contains(": members,"), "{text}");
    shard.stop().await;
}

#[tokio::test]
async fn a_journal_tells_which_image_stands_for_an_extent() {
    let dir = tempfile::tempdir().unwrap();
    let env = machine::environment("test", DiskPreference::Blocking).unwrap();
    let config = StoreConfig::new(dir.path(), 64 << 20);
    let store = Store::open(&env, &config, Arc::new(NoImages)).await.unwrap();
    let data = vec![Bytes::from(vec![1; 70_000])];
    store.write(EXTENT, Epoch(1), 0, data, Stability::Unstable).await.unwrap();
    let mark = store.mark(EXTENT).await.unwrap();
    let (image, root) = (ImageId([0xab; 16]), [0xcd; 32]);
    let image = ImageRef { image, content_bytes: 70_000, file_bytes: 1234, root };
    store.use_image(EXTENT, Epoch(1), mark, &image).await.unwrap();
    store.close().await.unwrap();
    let journal_dir = dir.path().join("journal");
    let (text, done) = journal(&journal_dir, None);
    assert_eq!(done, Ok(()), "{text}");
    let names = format!("image {} file 1234 root {}", "ab".repeat(16), "cd".repeat(32));
    for words in [
        format!("CUT of nothing | ino 12 extent 3 epoch 0 sequence {mark} "),
        format!("IMAGE content 70000 {names} | ino 12 extent 3 epoch 1 sequence {mark} role home"),
    ] {
        assert!(text.contains(&words), "{text}");
    }
    // Its payload lies behind its header and one checksum.
    flip(&the_segment(&journal_dir), offset_of(&text, "IMAGE") + 64 + 4 + 20);
    let (text, done) = journal(&journal_dir, None);
    assert!(
        done.is_err() && text.contains("IMAGE content 70000") && text.contains("checksums BAD"),
        "{text}"
    );
}

fn namespace(file: &Path, prefix: &str) -> (String, Result<(), String>) {
    let what = InspectNamespace { file: file.to_path_buf(), prefix: prefix.to_owned() };
    inspected(InspectCommand::Namespace(what))
}

fn format_into(store: &DiskStore) {
    let mut txn = store.begin().unwrap();
    let superblock = Superblock { file_system: [0xab; 16], handle_key: [0xcd; 32], cookie_key: [0xef; 32] };
    let root = op::format::Root { uid: 5, gid: 6, mode: 0o755 };
    op::format::format(&mut *txn, &superblock, root, Timestamp { seconds: 1, nanos: 2 }).unwrap();
    txn.put(b"i\0\0\0\0\0\0\0\x09", b"short").unwrap();
    txn.commit(Durability::Synced).unwrap();
}

#[test]
fn a_namespace_is_told_pair_by_pair_without_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.redb");
    let store = DiskStore::open(&file, 1 << 20).unwrap();
    format_into(&store);
    assert!(namespace(&file, "").1.unwrap_err().contains("is in use"));
    // What a killed server leaves.
    let killed = dir.path().join("killed.redb");
    fs::copy(&file, &killed).unwrap();
    drop(store);
    for file in [&file, &killed] {
        let (before, (text, done)) = (fs::read(file).unwrap(), namespace(file, ""));
        assert!(done.unwrap_err().contains("1 damaged values"));
        assert!(text.contains(&format!("super = file system {}, keys not shown", "ab".repeat(16))), "{text}");
        assert!(!text.contains("cdcd") && !text.contains("efef"), "{text}");
        assert!(text.contains("inode/1 = Directory mode 0755 nlink 2 owner 5:6"), "{text}");
        assert!(text.contains("inode/9 = BAD: corrupt: inode version"), "{text}");
        assert_eq!(namespace(file, "counters").0, "counters = next inode 2, next work 1, inodes 1\n");
        assert_eq!(fs::read(file).unwrap(), before, "nothing was changed");
    }
    fs::write(&killed, b"something else").unwrap();
    assert!(namespace(&killed, "").1.unwrap_err().contains("is no metadata store"));
    assert!(namespace(&dir.path().join("absent"), "").1.is_err());
}

fn image(file: &Path) -> (String, Result<(), String>) {
    inspected(InspectCommand::Image(InspectImage { file: file.to_path_buf() }))
}

/// An image of a hole, a frame that compresses, and a short one that does not.
async fn sealed() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let env = machine::environment("test", DiskPreference::Blocking).unwrap();
    let store = ImageStore::open(env.disk.clone(), dir.path()).await.unwrap();
    let id = ImageId([0xab; 16]);
    let identity = Identity { image: id, extent: EXTENT, epoch: Epoch(5), sequence: 6 };
    let mut writer = store.create(identity).await.unwrap();
    writer.write(65536, vec![Bytes::from(vec![7; 65536]), Bytes::from_static(b"short")]).await.unwrap();
    writer.finish(2 * 65536 + 5).await.unwrap();
    let file = dir.path().join(format!("{id}.img"));
    (dir, file)
}

#[tokio::test]
async fn an_image_is_told_frame_by_frame() {
    let (_dir, file) = sealed().await;
    let before = fs::read(&file).unwrap();
    let (text, done) = image(&file);
    assert_eq!(done, Ok(()), "{text}");
    let id = "ab".repeat(16);
    let packed = before.len() - 128 - 80 - 5;
    for (line, words) in text.lines().zip([
        format!("header image {id} | ino 12 extent 3 epoch 5 sequence 6 | checksum ok"),
        format!(
            "footer content 131077 stored {} in 2 frames, file {} | checksum ok",
            packed + 5,
            before.len()
        ),
        format!("frame 1 zstd {packed} of 65536 bytes at 64 | hash ok"),
        format!("frame 2 raw 5 of 5 bytes at {} | hash ok", 64 + packed),
        "root ".to_owned(),
    ]) {
        assert!(line.starts_with(&words), "{line}");
    }
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.ends_with(" | ok\n"), "{text}");
    assert_eq!(fs::read(&file).unwrap(), before, "nothing was changed");
}

/// Each byte of an image in turn: whatever it is, it is told, and nothing else stops the telling.
#[tokio::test]
async fn damage_anywhere_in_an_image_is_told_and_the_rest_goes_on() {
    let (_dir, file) = sealed().await;
    let bytes = fs::metadata(&file).unwrap().len();
    for at in 0..bytes {
        flip(&file, at);
        let (text, done) = image(&file);
        assert!(done.unwrap_err().contains("damaged places"), "{at}: {text}");
        assert!(text.starts_with("header image ") && text.contains("\nfooter content "), "{at}: {text}");
        assert!(text.contains("BAD") || text.contains("not known"), "{at}: {text}");
        flip(&file, at);
    }
    flip(&file, 70);
    let (text, _) = image(&file);
    assert!(text.contains("at 64 | hash BAD") && text.contains("frame 2 raw 5 of 5 bytes"), "{text}");
    assert!(text.contains("| hash ok") && text.ends_with("| ok\n"), "{text}");
}

#[tokio::test]
async fn files_that_are_no_images_are_told() {
    let (_dir, file) = sealed().await;
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let (text, done) = image(&file);
    assert!(done.is_err() && text.contains("BAD: no image footer"), "{text}");
    fs::write(&file, [&whole[..100], &whole[99..]].concat()).unwrap();
    assert!(image(&file).0.contains("footer BAD: these lengths are not those of a file of"));
    fs::write(&file, [0xff; 4096]).unwrap();
    assert!(image(&file).0.contains("BAD: no image header"));
    fs::write(&file, b"short").unwrap();
    assert!(image(&file).1.unwrap_err().contains("5 bytes are no image"));
    assert!(image(Path::new("absent.img")).1.is_err());
}

/// A parity image of one short member, as encoding makes it.
fn parity() -> (TempDir, PathBuf, Vec<u8>) {
    let member = vec![9; 70_000];
    let profile = Profile::TwoPlusOne;
    let of_it =
        Member { image: ImageId([0xab; 16]), extent: EXTENT, bytes: 70_000, sum: ImageSum::of(&member) };
    let members = vec![None, Some(of_it)];
    let parity = vec![ImageId([0xcd; 16])];
    let draft = Draft { group: GroupId(7), profile, codec: profile.codec(), members, parity };
    let mut encoder = Encoder::new(draft, 1 << 20).unwrap();
    let mut file = vec![0; encoder.window().unwrap().bytes];
    encoder.push(&[&[], &member], &mut [&mut file]).unwrap();
    file.extend(&encoder.finish().unwrap().footers[0]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("parity.img");
    fs::write(&path, &file).unwrap();
    (dir, path, file)
}

#[test]
fn a_parity_image_tells_its_group() {
    let (_dir, path, file) = parity();
    let (text, done) = image(&path);
    assert_eq!(done, Ok(()), "{text}");
    assert!(text.starts_with(&format!("trailer parity 0, payload 70016, file {}\n", file.len())), "{text}");
    assert!(
        text.contains("group 0000000000000007 2+1 | checksum ok\nslot 0 empty\nslot 1 image abab"),
        "{text}"
    );
    assert!(text.contains("| ino 12 extent 3 | 70000 bytes sum "), "{text}");
    assert!(
        text.contains("slot 2 image cdcd") && text.contains("| parity, this file | 70016 bytes"),
        "{text}"
    );
    assert!(text.ends_with("payload 2 blocks | ok\n"), "{text}");
    for at in (0..file.len() as u64).step_by(997).chain([file.len() as u64 - 1, file.len() as u64 - 40]) {
        flip(&path, at);
        let (text, done) = image(&path);
        assert!(done.is_err() && text.contains("BAD"), "{at}: {text}");
        flip(&path, at);
    }
}

#[tokio::test]
async fn a_journal_is_told_in_documents_of_the_documented_schema() {
    let (_dir, journal_dir) = written(true).await;
    let log = || InspectCommand::Journal(InspectLog { dir: journal_dir.clone(), last: None });
    let (all, done) = documents(log());
    assert_eq!((all.len(), done), (4, Ok(())));
    let mut first = all[0].clone();
    for name in ["file", "text", "at", "sequence"] {
        assert!(first.as_object_mut().unwrap().remove(name).is_some(), "{name}: {}", all[0]);
    }
    let golden = r#"{"epoch":1,"extent":3,"ino":12,"kind":"inspect.journal","length":100,"offset":0,"ok":true,"record":"WRITE","role":0,"schema":1}"#;
    assert_eq!(first.to_string(), golden);
    flip(&the_segment(&journal_dir), all[1]["at"].as_u64().unwrap() + 64);
    let (all, done) = documents(log());
    assert!(done.is_err());
    assert_eq!(all.iter().filter(|one| one["ok"] == false).count(), 1, "{all:?}");
}
