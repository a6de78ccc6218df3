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

/// A number for bytes: the same for the same.
pub(crate) fn digest_of(bytes: &[u8]) -> u64 {
    let mut digest = 0x517c_c1b7_2722_0a95_u64 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        digest = (digest ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    }
    digest
}
