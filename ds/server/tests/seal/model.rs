//! What an extent holds, written and compared byte by byte.

use layout::ExtentId;
use wire_nfs::v3::Nfsstat3;

use crate::cluster::{Cluster, extent};

pub(crate) const FRAME: usize = 64 << 10;

/// Bytes that do not compress, the same for each seed.
pub(crate) fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// What an extent holds, beside what a client wrote.
pub(crate) struct Model {
    pub(crate) extent: ExtentId,
    pub(crate) bytes: Vec<u8>,
}

impl Model {
    /// A hole, noise, words, and an end that is no frame's.
    pub(crate) async fn new(cluster: &Cluster, index: u32, home: u32, backups: &[u32]) -> Self {
        let mut model = Self { extent: extent(index), bytes: Vec::new() };
        cluster.place(model.extent, home, backups);
        let seed = u8::try_from(index).unwrap();
        model.write(cluster, FRAME, &noise(seed, 3 * FRAME + 100)).await;
        model.write(cluster, 5 * FRAME + 7, &b"words ".repeat(9_000)).await;
        model
    }

    pub(crate) async fn write(&mut self, cluster: &Cluster, at: usize, data: &[u8]) {
        cluster.write(self.extent, at, data).await;
        self.bytes.resize(self.bytes.len().max(at + data.len()), 0);
        self.bytes[at..at + data.len()].copy_from_slice(data);
    }

    pub(crate) async fn cut(&mut self, cluster: &Cluster, keep: usize) {
        cluster.cut(self.extent, u32::try_from(keep).unwrap()).await;
        self.bytes.truncate(keep);
    }

    pub(crate) async fn read(&self, cluster: &Cluster) -> Result<Vec<u8>, Nfsstat3> {
        cluster.read(self.extent, 0, self.bytes.len() + 1_000).await
    }

    pub(crate) async fn check(&self, cluster: &Cluster, what: &str) {
        let read = self.read(cluster).await;
        let read = read.unwrap_or_else(|status| panic!("{what}: {status:?}"));
        assert!(read[..self.bytes.len()] == self.bytes, "{what}: other bytes than were written");
        assert!(read[self.bytes.len()..].iter().all(|byte| *byte == 0), "{what}: bytes behind the end");
        // Small reads, across frames.
        for at in [0, FRAME - 3, 4 * FRAME + 50, 5 * FRAME] {
            let end = self.bytes.len().min(at + 300);
            let read = cluster.read(self.extent, at, 300).await.unwrap();
            assert!(read[..end.saturating_sub(at)] == self.bytes[at.min(end)..end], "{what}: at {at}");
        }
    }
}
