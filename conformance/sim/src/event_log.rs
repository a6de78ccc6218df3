//! What happened, as one number that two runs can be compared by, and the last lines of it to read.

use std::collections::VecDeque;
use std::fmt::Write as _;

use crate::limits::LOG_LINES_KEPT;

/// The log of a run.
pub(crate) struct EventLog {
    digest: u64,
    events: u64,
    lines: VecDeque<String>,
    /// Keeps every line, for reading.
    all: bool,
}

impl EventLog {
    pub(crate) fn new(all: bool) -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, events: 0, lines: VecDeque::new(), all }
    }

    /// Takes an event down.
    pub(crate) fn add(&mut self, now_ns: u64, node: usize, what: &str, words: &[u64]) {
        self.events += 1;
        self.fold(now_ns);
        self.fold(node as u64);
        self.fold(digest_of(what.as_bytes()));
        for word in words {
            self.fold(*word);
        }
        if !self.all {
            return;
        }
        if self.lines.len() == LOG_LINES_KEPT {
            self.lines.pop_front();
        }
        let mut line = format!("{:>13.6} n{node} {what}", now_ns as f64 / 1e9);
        for word in words {
            write!(line, " {word:x}").expect("a string takes everything");
        }
        self.lines.push_back(line);
    }

    fn fold(&mut self, word: u64) {
        self.digest = (self.digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// The number that equal logs share.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// A number for bytes: the same for the same. Four sums side by side: much is digested, and one
/// would wait for itself.
pub(crate) fn digest_of(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(31);
    let start = 0x517c_c1b7_2722_0a95_u64 ^ bytes.len() as u64;
    let mut sums = [start, start.rotate_left(16), start.rotate_left(32), start.rotate_left(48)];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = fold(*sum, u64::from_le_bytes(*word));
        }
    }
    let mut digest = sums.into_iter().fold(start, fold);
    for chunk in rest.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        digest = fold(digest, u64::from_le_bytes(word));
    }
    digest
}
