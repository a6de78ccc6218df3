//! A snapshot: the whole store as a stream of bytes (docs/formats/state.md, snapshot stream).
//!
//! Made from a consistent view when a follower needs it; received into a file and checked, then it
//! replaces the follower's store.
//!
//! INVARIANT: a store is replaced only by a stream that was checked to its end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use env::{Disk, File, OpenMode};
use mds_namespace::store::transfer::{self, Pairs};
use mds_namespace::{MetaStore, StoreError, View};
use mds_state::key;

use super::applied::Applied;
use super::off_thread;
use super::type_config::{SnapshotMeta, Types};
use crate::limits::{SNAPSHOT_CHUNK_BYTES, SNAPSHOT_KEY_BYTES_MAX, SNAPSHOT_VALUE_BYTES_MAX};

const MAGIC: &[u8; 8] = b"SHOALSNP";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;
const PAIR_HEAD_BYTES: usize = 8;
const END_BYTES: usize = 16;

/// Why bytes are not a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("not a snapshot of a known version")]
    Head,
    #[error("a key of {0} bytes")]
    KeyLength(usize),
    #[error("a value of {0} bytes")]
    ValueLength(usize),
    #[error("keys out of order")]
    Order,
    #[error("checksum or count is wrong")]
    Checksum,
    #[error("bytes behind the end")]
    Trailing,
    #[error("ends too early")]
    Short,
}

fn crc32c() -> Digest {
    Digest::new(CrcAlgorithm::Crc32Iscsi)
}

fn crc_word(digest: &Digest) -> u32 {
    u32::try_from(digest.finalize()).expect("a CRC-32 has 32 bits")
}

/// Reads a store as a stream.
pub(crate) struct Encoder {
    view: Box<dyn View + Send>,
    after: Option<Vec<u8>>,
    digest: Digest,
    pairs: u64,
    begun: bool,
    ended: bool,
}

impl Encoder {
    pub(crate) fn new(view: Box<dyn View + Send>) -> Self {
        Self { view, after: None, digest: crc32c(), pairs: 0, begun: false, ended: false }
    }

    /// Whether the next bytes may have to wait for a device.
    pub(crate) fn waits(&self) -> bool {
        self.view.waits()
    }

    /// The next bytes; `None` behind the last.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let mut chunk = BytesMut::new();
        if !self.begun {
            self.begun = true;
            chunk.put_slice(MAGIC);
            chunk.put_u8(VERSION);
        }
        let pairs = transfer::export(&*self.view, self.after.as_deref(), SNAPSHOT_CHUNK_BYTES)?;
        for (key, value) in &pairs {
            assert!((1..=SNAPSHOT_KEY_BYTES_MAX).contains(&key.len()), "keys of a store are short");
            assert!(value.len() <= SNAPSHOT_VALUE_BYTES_MAX, "values of a store are bounded");
            chunk.put_u32(u32::try_from(key.len()).expect("bounded above"));
            chunk.put_u32(u32::try_from(value.len()).expect("bounded above"));
            chunk.put_slice(key);
            chunk.put_slice(value);
        }
        debug_assert!(pairs.is_sorted_by(|one, next| one.0 < next.0), "pairs come in order");
        assert!(
            pairs.first().is_none_or(|(key, _)| self.after.as_ref() < Some(key)),
            "a chunk goes on behind the one before"
        );
        self.pairs += pairs.len() as u64;
        match pairs.into_iter().next_back() {
            Some((key, _)) => self.after = Some(key),
            None => {
                self.ended = true;
                chunk.put_u32(0);
            }
        }
        assert!(!chunk.is_empty(), "a chunk has bytes");
        self.digest.update(&chunk);
        if self.ended {
            chunk.put_u32(crc_word(&self.digest));
            chunk.put_u64(self.pairs);
        }
        Ok(Some(chunk.freeze()))
    }
}

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// Parses a stream as it is received, and checks it.
pub(crate) struct Decoder {
    buffer: BytesMut,
    digest: Digest,
    last_key: Vec<u8>,
    pairs: u64,
    begun: bool,
    ended: bool,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            digest: crc32c(),
            last_key: Vec::new(),
            pairs: 0,
            begun: false,
            ended: false,
        }
    }

    /// Parses bytes, returns the complete pairs.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Pairs, SnapshotError> {
        if self.ended {
            return if bytes.is_empty() { Ok(Pairs::new()) } else { Err(SnapshotError::Trailing) };
        }
        self.buffer.extend_from_slice(bytes);
        let mut pairs = Pairs::new();
        if !self.begun {
            if self.buffer.len() < HEAD_BYTES {
                return Ok(pairs);
            }
            if self.buffer[..8] != MAGIC[..] || self.buffer[8] != VERSION {
                return Err(SnapshotError::Head);
            }
            self.take_bytes(HEAD_BYTES);
            self.begun = true;
        }
        while let Some(pair) = self.next_pair()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }

    /// Checks that the stream is complete.
    pub(crate) fn finish(&self) -> Result<(), SnapshotError> {
        if self.ended { Ok(()) } else { Err(SnapshotError::Short) }
    }

    fn take_bytes(&mut self, len: usize) -> BytesMut {
        assert!(len <= self.buffer.len(), "what is taken was received");
        let taken = self.buffer.split_to(len);
        self.digest.update(&taken);
        taken
    }

    fn next_pair(&mut self) -> Result<Option<Pair>, SnapshotError> {
        let Some(key_len) = self.word(0) else { return Ok(None) };
        if key_len == 0 {
            self.end()?;
            return Ok(None);
        }
        let Some(value_len) = self.word(4) else { return Ok(None) };
        if SNAPSHOT_KEY_BYTES_MAX < key_len {
            return Err(SnapshotError::KeyLength(key_len));
        }
        if SNAPSHOT_VALUE_BYTES_MAX < value_len {
            return Err(SnapshotError::ValueLength(value_len));
        }
        if self.buffer.len() < PAIR_HEAD_BYTES + key_len + value_len {
            return Ok(None);
        }
        self.take_bytes(PAIR_HEAD_BYTES);
        let key = self.take_bytes(key_len).to_vec();
        let value = self.take_bytes(value_len).to_vec();
        if key <= self.last_key {
            return Err(SnapshotError::Order);
        }
        self.last_key.clone_from(&key);
        self.pairs += 1;
        Ok(Some((key, value)))
    }

    fn word(&self, at: usize) -> Option<usize> {
        let word = self.buffer.get(at..at + 4)?.try_into().expect("four bytes");
        Some(usize::try_from(u32::from_be_bytes(word)).expect("a usize has at least 32 bits"))
    }

    fn end(&mut self) -> Result<(), SnapshotError> {
        if self.buffer.len() < END_BYTES {
            return Ok(());
        }
        self.take_bytes(4);
        let crc = crc_word(&self.digest);
        if self.buffer.get_u32() != crc || self.buffer.get_u64() != self.pairs {
            return Err(SnapshotError::Checksum);
        }
        if !self.buffer.is_empty() {
            return Err(SnapshotError::Trailing);
        }
        self.ended = true;
        Ok(())
    }
}

/// Access to a snapshot's bytes.
pub(crate) enum SnapshotData {
    /// Of this replica's own store.
    Held(Box<dyn View + Send>),
    /// Received from the leader and checked, in a file.
    Received(Received),
}

/// A snapshot: what it contains, and access to its bytes.
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotData>;

/// A snapshot that was received over the network.
pub(crate) struct Received {
    file: Arc<dyn File>,
    len_bytes: u64,
}

/// A snapshot that is being received.
pub(crate) struct Receiver {
    file: Arc<dyn File>,
    at: u64,
    decoder: Decoder,
}

impl Receiver {
    /// Begins in a new file at `path`: an earlier file may still be read into the store.
    pub(crate) async fn create(disk: Arc<dyn Disk>, path: PathBuf) -> io::Result<Self> {
        match disk.remove(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mode = OpenMode { truncate: true, ..OpenMode::CREATE };
        let file = disk.open(&path, mode).await?;
        Ok(Self { file, at: 0, decoder: Decoder::new() })
    }

    /// The offset of the next chunk.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) async fn chunk(&mut self, bytes: Bytes) -> io::Result<()> {
        self.decoder.feed(&bytes).map_err(invalid)?;
        let len = bytes.len() as u64;
        self.file.write_at(vec![bytes], self.at).await?;
        self.at += len;
        Ok(())
    }

    /// Ends the reception. The file needs no sync: only the store that it becomes counts.
    pub(crate) fn finish(self) -> io::Result<SnapshotData> {
        self.decoder.finish().map_err(invalid)?;
        Ok(SnapshotData::Received(Received { file: self.file, len_bytes: self.at }))
    }
}

fn invalid(error: SnapshotError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Received {
    /// All pairs, in memory: for a store in memory.
    async fn read_all(self) -> io::Result<Vec<Pairs>> {
        let (mut chunks, mut decoder, mut at) = (Vec::new(), Decoder::new(), 0);
        while at < self.len_bytes {
            let bytes = self.file.read_at(at, SNAPSHOT_CHUNK_BYTES).await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += bytes.len() as u64;
            chunks.push(decoder.feed(&bytes).map_err(invalid)?);
        }
        decoder.finish().map_err(invalid)?;
        Ok(chunks)
    }
}

/// Writes the log position last, wherever it is among the keys: an incomplete store must not look
/// complete.
fn replace(
    store: &dyn MetaStore,
    chunks: impl IntoIterator<Item = Result<Pairs, StoreError>>,
) -> Result<Applied, StoreError> {
    let (mut chunks, mut position) = (chunks.into_iter(), None);
    let position_last = std::iter::from_fn(|| match chunks.next() {
        Some(Ok(mut pairs)) => {
            if let Some(at) = pairs.iter().position(|(key, _)| key == key::APPLIED) {
                position = Some(pairs.remove(at));
            }
            Some(Ok(pairs))
        }
        Some(Err(error)) => Some(Err(error)),
        None => position.take().map(|pair| Ok(vec![pair])),
    });
    transfer::replace(store, position_last)?;
    Applied::load(&*store.view()?)
}

/// Reads a received snapshot on a thread that may wait.
struct Chunks {
    received: Received,
    runtime: tokio::runtime::Handle,
    at: u64,
    decoder: Decoder,
}

impl Chunks {
    fn read(&mut self) -> io::Result<Option<Pairs>> {
        assert!(self.at <= self.received.len_bytes, "no more is read than was received");
        let left = self.received.len_bytes - self.at;
        if left == 0 {
            self.decoder.finish().map_err(invalid)?;
            return Ok(None);
        }
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(SNAPSHOT_CHUNK_BYTES);
        let bytes = self.runtime.block_on(self.received.file.read_at(self.at, want))?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += bytes.len() as u64;
        self.decoder.feed(&bytes).map(Some).map_err(invalid)
    }
}

impl Iterator for Chunks {
    type Item = Result<Pairs, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(|error| StoreError::Engine(error.to_string())).transpose()
    }
}

impl SnapshotData {
    /// Replaces everything in `store` by the snapshot, durably.
    pub(crate) async fn install(self, store: Arc<dyn MetaStore>, meta: SnapshotMeta) -> io::Result<()> {
        let Self::Received(received) = self else {
            return Err(io::Error::other("a replica cannot install a snapshot of its own store"));
        };
        let applied = if store.waits() {
            let runtime = tokio::runtime::Handle::current();
            let install =
                move || replace(&*store, Chunks { received, runtime, at: 0, decoder: Decoder::new() });
            off_thread::run_work(true, install).await?.map_err(io::Error::other)?
        } else {
            let chunks = received.read_all().await?;
            replace(&*store, chunks.into_iter().map(Ok)).map_err(io::Error::other)?
        };
        if applied.meta() == meta {
            Ok(())
        } else {
            Err(io::Error::other("the snapshot has another log position than its meta"))
        }
    }
}

#[cfg(test)]
mod tests;
