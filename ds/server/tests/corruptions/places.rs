//! The parts of the files that a data server keeps, by name; and dice to choose among them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use env::{Disk, OpenMode};

use crate::cluster::Cluster;
use crate::journal::{self, Record};

/// A structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Superblock,
    ScrubNote,
    SegmentHeader,
    RecordHeader,
    RecordTable,
    RecordPayload,
    SegmentFooter,
    /// Padding, gaps, the rest of a header block.
    Slack,
    /// A file made ready for a segment.
    Spare,
    ImageHeader,
    ImageFrames,
    ImageIndex,
    ImageFooter,
    ParityPayload,
    ParityLists,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Superblock => "superblock",
            Self::ScrubNote => "scrub note",
            Self::SegmentHeader => "segment header",
            Self::RecordHeader => "record header",
            Self::RecordTable => "record table",
            Self::RecordPayload => "record payload",
            Self::SegmentFooter => "segment footer",
            Self::Slack => "journal slack",
            Self::Spare => "spare segment",
            Self::ImageHeader => "image header",
            Self::ImageFrames => "image frames",
            Self::ImageIndex => "image index",
            Self::ImageFooter => "image footer",
            Self::ParityPayload => "parity payload",
            Self::ParityLists => "parity lists",
        }
    }

    /// How often it is chosen beside the other parts of its file.
    pub(crate) fn weight(self) -> u64 {
        match self {
            Self::Slack | Self::Spare => 1,
            Self::RecordPayload | Self::ImageFrames | Self::ParityPayload => 8,
            _ => 5,
        }
    }
}

/// A run of bytes of a file that is one part.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) part: Part,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) record: Option<Record>,
}

/// Numbers from a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }

    pub(crate) fn is_one_in(&mut self, parts: usize) -> bool {
        self.below(parts) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(crate) fn shuffled<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        let mut all = of.to_vec();
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
        all
    }

    /// Bytes that do not compress.
    pub(crate) fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.roll().to_be_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

pub(crate) async fn bytes_of(cluster: &Cluster, server: u32, path: &Path) -> Option<Bytes> {
    let disk = &cluster.nodes[server as usize - 1].disk;
    if !Disk::exists(disk, path).await.unwrap() {
        return None;
    }
    let file = Disk::open(disk, path, OpenMode::READ).await.unwrap();
    Some(file.read_at(0, 1 << 26).await.unwrap())
}

pub(crate) async fn paths_in(cluster: &Cluster, server: u32, dir: &str) -> Vec<PathBuf> {
    let disk = &cluster.nodes[server as usize - 1].disk;
    let names = Disk::list(disk, Path::new(dir)).await.unwrap();
    names.iter().map(|name| Path::new(dir).join(name)).collect()
}

/// Segments of a server's journal.
pub(crate) async fn segments(cluster: &Cluster, server: u32) -> Vec<PathBuf> {
    let all = paths_in(cluster, server, "/ds/journal").await;
    all.into_iter().filter(|path| journal::number_of(path).is_some()).collect()
}

/// All records of a server.
pub(crate) async fn records(cluster: &Cluster, server: u32) -> Vec<Record> {
    let mut all = Vec::new();
    for path in segments(cluster, server).await {
        let Some(bytes) = bytes_of(cluster, server, &path).await else { continue };
        all.extend(Record::all(&bytes, journal::number_of(&path).unwrap()));
    }
    all
}

/// What lies where in a file.
pub(crate) fn places(path: &Path, bytes: &[u8]) -> Vec<Place> {
    let whole = |part| vec![Place { part, start: 0, end: bytes.len(), record: None }];
    let name = path.file_name().unwrap().to_str().unwrap();
    if let Some(segment) = journal::number_of(path) {
        let all = journal::parts(bytes, segment).into_iter();
        return all.map(|(part, start, end, record)| Place { part, start, end, record }).collect();
    }
    if name.starts_with("superblock") {
        return whole(Part::Superblock);
    }
    if name == "scrub" {
        return whole(Part::ScrubNote);
    }
    let (len, trailer) = (bytes.len(), bytes.len() - 64);
    let place = |part, start, end| Place { part, start, end, record: None };
    if &bytes[trailer..trailer + 8] == b"SHOALPAR" {
        let payload = u32::from_be_bytes(bytes[trailer + 12..trailer + 16].try_into().unwrap()) as usize;
        return vec![place(Part::ParityPayload, 0, payload), place(Part::ParityLists, payload, len)];
    }
    let entries = u16::from_be_bytes(bytes[trailer + 10..trailer + 12].try_into().unwrap());
    let index = trailer - 40 * usize::from(entries);
    let all = [
        place(Part::ImageHeader, 0, 64),
        place(Part::ImageFrames, 64, index),
        place(Part::ImageIndex, index, trailer),
        place(Part::ImageFooter, trailer, len),
    ];
    all.into_iter().filter(|one| one.start < one.end).collect()
}
