//! Whether the store that this start found has all that it had acknowledged, as metadata servers
//! judge it.
//!
//! Spec: docs/protocol/control.md §2.

use std::path::PathBuf;

use parking_lot::RwLock;
use wire_nfs::control::heartbeat::JournalEnd;

/// What a metadata server said of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Nothing yet, or it is not on stable storage here.
    Unknown,
    /// The store lacks nothing that was acknowledged.
    Complete,
    /// The store lacks something: nothing of it counts.
    Behind,
}

/// The judgement of the store in one folder.
pub(crate) struct StoreJudgement {
    dir: PathBuf,
    judgement: RwLock<Judgement>,
}

impl StoreJudgement {
    /// Before any metadata server has judged.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, judgement: RwLock::new(Judgement::Unknown) }
    }

    /// What metadata servers have said so far.
    pub(crate) fn current(&self) -> Judgement {
        *self.judgement.read()
    }

    /// A metadata server has judged that nothing is missing, and that is on stable storage.
    pub(crate) fn set_complete(&self) {
        *self.judgement.write() = Judgement::Complete;
    }

    /// A metadata server knows of more than what this start found: nothing of the store counts.
    pub(crate) fn set_behind(&self, found: JournalEnd, acknowledged: JournalEnd) {
        let before = std::mem::replace(&mut *self.judgement.write(), Judgement::Behind);
        if before == Judgement::Behind {
            return;
        }
        tracing::error!(
            dir = %self.dir.display(),
            found = %format_args!("{}:{}", found.segment, found.offset),
            acknowledged = %format_args!("{}:{}", acknowledged.segment, acknowledged.offset),
            "the journal lacks what this data server had acknowledged: the directory was put back from an older copy, or lost files. \
             It serves nothing"
        );
    }
}
