//! Opening a data server's store over whatever lies in its directory.
//!
//! A superblock and a journal are forged; the same journal is also opened as a plain log, and from
//! the records that it shows a model says byte by byte what every extent must read as. Then a
//! WRITE, an image that stands for all of it, another WRITE above that, and all of it again after
//! the store was reopened. Bytes of images follow from their names.
//!
//! Input: a byte of settings and one of length, so many bytes of a superblock (none: a right one),
//! a script for forged segments.
//! Spec: docs/formats/journal.md §3.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ds_store::{ImageReadError, ImageRef, ImageSource, Stability, Store, StoreConfig};
use env::memory::net::MemoryNet;
use env::memory::{ManualClock, MemoryDisk, SeededEntropy};
use env::{BoxFuture, Disk, Env};
use layout::ec::ImageId;
use layout::{Epoch, ExtentId};
use wal::{Location, RecordHeader, Wal, WalConfig};

use super::forged_log::{Fields, Forged, SEGMENT_BYTES, STORE_ID, Script, crc, forge, script};
use super::row::{MemoryBound, Shape, Target};
use super::wal_open::{LOG_BOUND, put_files, runtime};

pub(super) const TARGET: Target = Target {
    name: "journal_open",
    about: "a data server's superblock and journal records, what extents read as, a write, opening again",
    run,
    seeds,
    shape: Shape::Bytes,
    // Two disks and two logs: the store's, and the model's.
    bound: MemoryBound { live_bytes: 2 * LOG_BOUND.live_bytes, ..LOG_BOUND },
    input_bytes_max: 4096,
};

const DIR: &str = "/store";
const JOURNAL: &str = "/store/journal";
const OFFSET_BITS: u32 = 27;
/// Bytes compared at either end of each record.
const COMPARED_BYTES: u32 = 64;

fn run(input: &[u8]) -> usize {
    let Some(([settings, length], rest)) = input.split_first_chunk::<2>() else { return 0 };
    let (superblock, rest) = rest.split_at(usize::from(*length).min(rest.len()));
    let superblock = superblock_bytes(superblock, settings & 1 != 0);
    let files = forge(&mut Script::new(rest), fields);
    let config = StoreConfig {
        dir: DIR.into(),
        capacity_bytes: 64 * SEGMENT_BYTES as u64,
        segment_bytes: SEGMENT_BYTES as u64,
        accept_damage: settings & 2 != 0,
    };
    let whole = files.iter().all(|file| file.whole);
    runtime().block_on(async {
        let model = Model::of(&files).await;
        let disk = MemoryDisk::new();
        put_files(&disk, Path::new(JOURNAL), &files).await;
        put_files(&disk, Path::new(DIR), &[Forged::named("superblock", superblock)]).await;
        check_store(&disk, &config, model, whole).await
    })
}

/// A superblock: a right one, or these bytes, with their checksum if it is to be right.
fn superblock_bytes(bytes: &[u8], summed: bool) -> Vec<u8> {
    let mut block = bytes.to_vec();
    if bytes.is_empty() {
        block.extend_from_slice(b"SHOALDS1\0\0\0\x01\0\0\0\0");
        block.extend_from_slice(&STORE_ID);
        block.resize(64, 0);
    }
    if (summed || bytes.is_empty()) && block.len() == 64 {
        let sum = crc(&block[..60]);
        block[60..].copy_from_slice(&sum);
    }
    block
}

/// Fields of a journal record: small ones from the step, or any from the bytes behind it.
fn fields([_, a, b, c]: [u8; 4], one: u64, other: u64) -> Fields {
    let (epoch, sequence, offset) = (u64::from(a >> 6), u64::from(a >> 2), u64::from(b) * 16);
    let kind = if c & 1 == 0 { 1 + a % 4 } else { a };
    let (stream, position) =
        if c & 1 == 0 { (1, sequence << OFFSET_BITS | offset) } else { (one % 3, other) };
    Fields { kind, role: 0, stream, sub: 0, epoch, position }
}

/// What a record says of some bytes.
#[derive(Clone, Debug)]
enum Source {
    Hole,
    /// A record's; `None` if it cannot be read.
    Data(Option<Bytes>),
    /// An image's, by its name; `None` if the record names none.
    Image(Option<ImageId>),
}

/// A record as the journal's page reads it.
#[derive(Clone, Debug)]
struct Said {
    sequence: u64,
    start: u64,
    end: u64,
    source: Source,
}

/// Images of which each byte follows from their name and its place.
struct Named;

fn image_byte(image: ImageId, at: u64) -> u8 {
    image.0[usize::try_from(at % 16).expect("below sixteen")] ^ at.to_be_bytes()[6]
}

impl ImageSource for Named {
    fn read(
        &self,
        _: ExtentId,
        image: &ImageRef,
        offset: u32,
        length: u32,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ImageReadError>> {
        let image = image.image;
        Box::pin(async move {
            let bytes = (offset..offset + length).map(|at| image_byte(image, u64::from(at)));
            Ok(vec![bytes.collect::<Vec<u8>>().into()])
        })
    }
}

/// The image that an IMAGE record's payload names, as its page has it.
fn named(payload: &[u8], content: u64) -> Option<ImageId> {
    let payload: &[u8; 64] = payload.try_into().ok()?;
    let word = |at: usize| u64::from(u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes")));
    let image: [u8; 16] = payload[..16].try_into().expect("sixteen bytes");
    let most = 128 + content + 40 * content.div_ceil(65_536);
    let sound = word(16) == content && (128..=most).contains(&word(20));
    let whole = image != [0; 16] && payload[24..56] != [0; 32] && payload[56..] == [0; 8];
    (sound && whole).then_some(ImageId(image))
}

/// What the extents of a journal must read as; `None` if its log cannot be opened.
struct Model {
    extents: BTreeMap<ExtentId, Extent>,
}

#[derive(Debug, Default)]
struct Extent {
    epoch: u64,
    change: u64,
    /// Its newest record is a DROP: the store may forget it with the segment that has all of its
    /// records.
    tombstone: bool,
    said: Vec<Said>,
}

impl Model {
    async fn of(files: &[Forged]) -> Option<Self> {
        let disk = MemoryDisk::new();
        put_files(&disk, Path::new(JOURNAL), files).await;
        let mut seen: Vec<(RecordHeader, Location)> = Vec::new();
        let mut visitor = |header: &RecordHeader, location: Location| seen.push((*header, location));
        let segment_bytes = SEGMENT_BYTES as u64;
        let config = WalConfig { segment_bytes, shows_damaged: true, ..WalConfig::new(STORE_ID) };
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let (wal, _) = Wal::open(disk, Path::new(JOURNAL), config, &mut visitor).await.ok()?;
        let mut model = Self { extents: BTreeMap::new() };
        for (header, location) in seen {
            let data = wal.read_record(location).await.ok().map(|(_, data)| data);
            model.note(&header, data);
        }
        wal.close().await.expect("a disk in memory does not fail");
        Some(model)
    }

    fn note(&mut self, header: &RecordHeader, data: Option<Bytes>) {
        let extent = self.extents.entry(ExtentId { ino: header.stream, index: header.sub }).or_default();
        let (sequence, start) = (header.position >> OFFSET_BITS, header.position & ((1 << OFFSET_BITS) - 1));
        extent.epoch = extent.epoch.max(header.epoch);
        if extent.change <= sequence {
            extent.tombstone = header.kind == 4;
        }
        extent.change = extent.change.max(sequence);
        let mut say = |start, end, source| extent.said.push(Said { sequence, start, end, source });
        match header.kind {
            1 => say(start, start + u64::from(header.payload_len), Source::Data(data)),
            2 => {}
            5 => {
                let image = data.and_then(|data| named(&data, start));
                say(0, start, Source::Image(image));
                say(start, layout::EXTENT_BYTES, Source::Hole);
            }
            _ => say(start, layout::EXTENT_BYTES, Source::Hole),
        }
    }
}

impl Extent {
    /// Whether two records of one sequence cover the same byte: they should be copies, and forged
    /// ones may not be.
    fn is_ambiguous(&self) -> bool {
        self.said.iter().enumerate().any(|(index, one)| {
            self.said[..index]
                .iter()
                .any(|other| one.sequence == other.sequence && one.start < other.end && other.start < one.end)
        })
    }

    /// The byte at an offset; `None` if what says it cannot be read.
    fn byte(&self, at: u64) -> Option<u8> {
        let covering = self.said.iter().filter(|said| said.start <= at && at < said.end);
        let Some(said) = covering.max_by_key(|said| said.sequence) else { return Some(0) };
        match &said.source {
            Source::Hole => Some(0),
            Source::Data(data) => {
                data.as_ref().map(|data| data[usize::try_from(at - said.start).expect("in memory")])
            }
            Source::Image(image) => image.map(|image| image_byte(image, at)),
        }
    }

    /// One past the last byte that is in no hole.
    fn end(&self) -> u64 {
        let covers = |one: &Said, at: u64| one.start <= at && at < one.end;
        // The last such byte is the last of a WRITE or an image, or lies just before another record
        // begins.
        let ends = self.said.iter().flat_map(|said| [said.start, said.end]);
        let is_written = |at: u64| {
            let last = self.said.iter().filter(|said| covers(said, at)).max_by_key(|said| said.sequence);
            last.is_some_and(|said| !matches!(said.source, Source::Hole))
        };
        ends.filter(|end| 0 < *end && is_written(end - 1)).max().unwrap_or(0)
    }
}

async fn open(disk: &MemoryDisk, config: &StoreConfig) -> Option<Store> {
    let env = Env {
        clock: Arc::new(ManualClock::new(1)),
        entropy: Arc::new(SeededEntropy::new(1)),
        disk: Arc::new(disk.clone()),
        net: Arc::new(MemoryNet::new()),
    };
    Store::open(&env, config, Arc::new(Named)).await.ok()
}

async fn check_store(disk: &MemoryDisk, config: &StoreConfig, model: Option<Model>, whole: bool) -> usize {
    let Some(store) = open(disk, config).await else { return 0 };
    let mut model = model.expect("a store opens only over a log that opens");
    let records: usize = model.extents.values().map(|extent| extent.said.len()).sum();
    check_extents(&store, &model).await;
    write(&store, &mut model, 100).await;
    check_extents(&store, &model).await;
    seal(&store, &mut model).await;
    write(&store, &mut model, 150).await;
    check_extents(&store, &model).await;
    store.close().await.expect("a disk in memory does not fail");
    drop(store);
    // Of a log that may be damaged, or whose files lost their end, nothing is promised but that
    // opening tells so.
    if config.accept_damage || !whole {
        return 1 + records;
    }
    let again = open(disk, config).await.expect("what was opened opens again");
    check_extents(&again, &model).await;
    again.close().await.expect("a disk in memory does not fail");
    1 + records
}

const WRITTEN: ExtentId = ExtentId { ino: 1, index: 0 };

async fn write(store: &Store, model: &mut Model, at: u32) {
    let before = store.size(WRITTEN);
    if is_forgotten(store, WRITTEN)
        && let Some(extent) = model.extents.remove(&WRITTEN)
    {
        assert!(extent.tombstone || (extent.epoch, extent.change) == (0, 0), "{extent:?}");
    }
    let data = Bytes::from_static(b"written now");
    let written = store.write(WRITTEN, before.epoch, at, vec![data.clone()], Stability::Synced).await;
    if written.is_ok() {
        let (sequence, start) = (before.change + 1, u64::from(at));
        let said = Said { sequence, start, end: start + 11, source: Source::Data(Some(data)) };
        let extent = model.extents.entry(WRITTEN).or_default();
        (extent.change, extent.tombstone) = (sequence, false);
        extent.said.push(said);
    }
}

/// An image stands for all that is there.
async fn seal(store: &Store, model: &mut Model) {
    let Ok(sequence) = store.mark(WRITTEN).await else { return };
    let extent = model.extents.entry(WRITTEN).or_default();
    (extent.change, extent.tombstone) = (sequence, false);
    let (image, content_bytes) = (ImageId([9; 16]), 160);
    let named = ImageRef { image, content_bytes, file_bytes: 200, root: [1; 32] };
    let before = store.size(WRITTEN);
    assert!(store.is_at(WRITTEN, sequence) && store.capture(WRITTEN, sequence).is_some());
    // There may be no sequence left.
    let Ok(()) = store.use_image(WRITTEN, before.epoch, sequence, &named).await else { return };
    assert!(store.is_image_used(WRITTEN, image).await.expect("it was written a moment ago"));
    extent.said.push(Said { sequence, start: 0, end: 160, source: Source::Image(Some(image)) });
    extent.said.push(Said { sequence, start: 160, end: layout::EXTENT_BYTES, source: Source::Hole });
}

/// Whether the store knows nothing of an extent.
fn is_forgotten(store: &Store, id: ExtentId) -> bool {
    let size = store.size(id);
    (size.epoch, size.change, size.end_bytes) == (Epoch(0), 0, 0)
}

async fn check_extents(store: &Store, model: &Model) {
    for (id, extent) in &model.extents {
        let size = store.size(*id);
        if extent.tombstone && is_forgotten(store, *id) {
            continue;
        }
        assert_eq!((size.epoch, size.change), (Epoch(extent.epoch), extent.change), "{id:?}");
        if extent.is_ambiguous() {
            continue;
        }
        assert_eq!(u64::from(size.end_bytes), extent.end(), "{id:?}");
        for said in &extent.said {
            for at in [said.start, said.end.saturating_sub(u64::from(COMPARED_BYTES))] {
                check_read(store, *id, extent, at).await;
            }
        }
    }
}

async fn check_read(store: &Store, id: ExtentId, extent: &Extent, at: u64) {
    let Some(room) = layout::EXTENT_BYTES.checked_sub(at) else { return };
    let length = u32::try_from(room).expect("an extent's size").min(COMPARED_BYTES);
    let start = u32::try_from(at).expect("inside an extent");
    let model: Vec<Option<u8>> = (at..at + u64::from(length)).map(|at| extent.byte(at)).collect();
    match store.read(id, Epoch(extent.epoch), start, length).await {
        Ok(found) => {
            let bytes = found.data.concat();
            for (byte, expected) in bytes.iter().zip(model) {
                assert!(expected.is_none_or(|expected| *byte == expected), "{id:?} at {at}: {extent:?}");
            }
        }
        Err(_) => assert!(model.contains(&None), "{id:?} at {at} can be read: {extent:?}"),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let write = ([1, 0b0000_0100, 5, 0], &b"bytes"[..]);
    let over = ([1, 0b0000_1000, 2, 0], &b"xy"[..]);
    let long = ([1, 0b0001_0000, 20, 2], &b""[..]);
    let fence = ([1, 0b0100_0101, 0, 0], &b""[..]);
    let cut = ([1, 0b0110_1010, 0, 0], &b""[..]);
    let dropped = ([1, 0b1111_1111, 0, 0], &b""[..]);
    let position = (5_u64 << OFFSET_BITS | 70_000).to_be_bytes();
    let far = [&[0; 7][..], &[2], &position, b"bytes"].concat();
    let far = ([1, 1, 5, 1], &far[..]);
    let position = (7_u64 << OFFSET_BITS | 300).to_be_bytes();
    let name = ImageRef { image: ImageId([3; 16]), content_bytes: 300, file_bytes: 300, root: [4; 32] };
    let image = [&[0; 7][..], &[1], &position, &name.encode()].concat();
    let image = ([1, 5, 64, 1], &image[..]);
    let nameless = [&[0; 7][..], &[1], &position, &[1; 64]].concat();
    let nameless = ([1, 5, 64, 1], &nameless[..]);
    let mut seeds: Vec<Vec<u8>> = [
        script(&[write]),
        script(&[write, over, long]),
        script(&[write, fence, over]),
        script(&[long, cut, write]),
        script(&[write, dropped]),
        script(&[far, write, over, fence, cut]),
        script(&[write, image, long, over]),
        script(&[image, cut, image, dropped]),
        script(&[nameless, write, fence]),
    ]
    .into_iter()
    .flat_map(|script| [0, 2].map(|settings: u8| [&[settings, 0][..], &script].concat()))
    .collect();
    let superblock = superblock_bytes(&[], true);
    seeds.push([&[1, 64][..], &superblock, &script(&[write])].concat());
    seeds
}
