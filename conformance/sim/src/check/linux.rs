//! What processes on Linux hosts may count on: appended records stay, sizes do not go back, cuts
//! stay cut, and direct reads end where the file does.
//!
//! Logs only grow: processes of one host append to them, and others look. Shared files have one
//! actor at a time, on any host, so their content is known byte for byte.
//!
//! INVARIANT: nothing is judged of a file of which the clients themselves cannot know what became
//! of a request.

use std::collections::BTreeMap;

/// Bytes of a record in a log.
pub(crate) const RECORD_BYTES: u64 = 512;

/// A record that a process appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) host: usize,
    pub(crate) process: usize,
    pub(crate) mark: u64,
    pub(crate) offset: u64,
    /// When write(2) returned, and close(2): from then on others see it.
    pub(crate) written_ns: u64,
    pub(crate) closed_ns: Option<u64>,
}

/// The size that a process saw when it had opened a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) host: usize,
    /// When it began to open it.
    pub(crate) asked_ns: u64,
    pub(crate) size: u64,
}

/// A direct read of a log, up to where it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectRead {
    pub(crate) host: usize,
    pub(crate) asked_ns: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// It got nothing, and no end of file.
    pub(crate) nothing: bool,
}

/// A log and what was seen of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) appended: Vec<Appended>,
    pub(crate) looks: Vec<Look>,
    pub(crate) direct: Vec<DirectRead>,
    /// What hosts found in it when all had closed it: the mark of each record, `None` for bytes
    /// that are no record.
    pub(crate) found: Vec<(usize, Vec<Option<u64>>)>,
    pub(crate) doubtful: bool,
}

impl Log {
    /// What is wrong with it, by each of the checkers.
    pub(crate) fn judge(&self) -> Vec<String> {
        if self.doubtful {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        wrong.extend(self.sizes().err());
        wrong.extend(self.direct_reads().err());
        wrong.extend(self.records().err());
        wrong
    }

    /// Every record that was closed is there once.
    fn records(&self) -> Result<(), String> {
        for (host, found) in &self.found {
            let mut times: BTreeMap<u64, usize> = BTreeMap::new();
            found.iter().flatten().for_each(|mark| *times.entry(*mark).or_default() += 1);
            let closed = self.appended.iter().filter(|record| record.closed_ns.is_some());
            let gone: Vec<&Appended> = closed.filter(|record| !times.contains_key(&record.mark)).collect();
            if let Some(first) = gone.first() {
                let (count, all) = (gone.len(), self.appended.len());
                return Err(format!(
                    "appends are lost: client {host} finds {count} of {all} records gone, the first of them {first:?}"
                ));
            }
            if let Some((mark, times)) = times.iter().find(|(_, times)| 1 < **times) {
                return Err(format!(
                    "appends are doubled: client {host} finds record {mark:x} {times} times"
                ));
            }
            if let Some(at) = found.iter().position(Option::is_none) {
                let offset = at as u64 * RECORD_BYTES;
                return Err(format!("appends are torn: client {host} finds no record at {offset}"));
            }
        }
        Ok(())
    }

    /// The end that a process on this host may count on at this time.
    fn end(&self, host: usize, ns: u64) -> u64 {
        let counts = |record: &&Appended| {
            let is_own = record.host == host && record.written_ns <= ns;
            is_own || record.closed_ns.is_some_and(|closed_ns| closed_ns <= ns)
        };
        self.appended.iter().filter(counts).map(|record| record.offset + RECORD_BYTES).max().unwrap_or(0)
    }

    /// A process that opens a log sees all that was written on its host, and all that was closed
    /// anywhere.
    fn sizes(&self) -> Result<(), String> {
        for look in &self.looks {
            let end = self.end(look.host, look.asked_ns);
            if look.size < end {
                return Err(format!("a size goes back: {look:?} where {end} bytes were there before"));
            }
        }
        Ok(())
    }

    /// A direct reader gets to the end of all that was closed.
    fn direct_reads(&self) -> Result<(), String> {
        for read in &self.direct {
            let closed = |record: &&Appended| record.closed_ns.is_some_and(|ns| ns <= read.asked_ns);
            let ends = self.appended.iter().filter(closed).map(|record| record.offset + RECORD_BYTES);
            let end = ends.max().unwrap_or(0);
            if read.nothing {
                return Err(format!("a direct read got no bytes and no end of file: {read:?}"));
            }
            if read.to < end {
                return Err(format!(
                    "a direct read ended early: {read:?} where {end} bytes were there before"
                ));
            }
        }
        Ok(())
    }
}

/// Bytes of one mark: from, to, mark. What has none is zeros.
pub(crate) type Run = (u64, u64, u8);

/// What an actor did with a shared file, and saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SharedAct {
    Write {
        offset: u64,
        len: u64,
        mark: u8,
    },
    /// At the end, as far as the host knew that.
    Append {
        offset: u64,
        len: u64,
        mark: u8,
    },
    Cut {
        size: u64,
    },
    /// The size that stat(2), or an open(2), showed.
    Size {
        size: u64,
    },
    /// It got so many bytes of those asked for.
    Read {
        offset: u64,
        asked: u64,
        got: u64,
        runs: Vec<Run>,
        direct: bool,
    },
    /// A direct read got nothing, and no end of file.
    Nothing {
        offset: u64,
    },
}

/// One act, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) host: usize,
    pub(crate) process: usize,
    pub(crate) now_ns: u64,
    pub(crate) act: SharedAct,
}

/// A file that has one actor at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    pub(crate) turns: Vec<Turn>,
    pub(crate) doubtful: bool,
}

/// What a shared file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    size: u64,
    runs: Vec<Run>,
}

impl Shared {
    /// The first act that saw what cannot be.
    pub(crate) fn judge(&self) -> Option<String> {
        let mut content = Content::default();
        let judged = self.turns.iter().enumerate().filter(|_| !self.doubtful);
        for (at, Turn { host, process, now_ns, act }) in judged {
            if let Err(what) = content.step(act) {
                let at_s = *now_ns as f64 / 1e9;
                let before = self.turns[..at].iter().rev().map(|turn| format!("{:?}", turn.act));
                let before: Vec<String> = before.filter(|act| !act.starts_with("Read")).take(4).collect();
                return Some(format!(
                    "{what}: act {at} at {at_s:.3} s by process {process} on client {host}; before it, the last first: {}",
                    before.join(", ")
                ));
            }
        }
        None
    }
}

impl Content {
    fn step(&mut self, act: &SharedAct) -> Result<(), String> {
        match act {
            SharedAct::Write { offset, len, mark } => self.write(*offset, *len, *mark),
            SharedAct::Append { offset, len, mark } => {
                if *offset != self.size {
                    let size = self.size;
                    return Err(format!("an append went to {offset} of a file of {size} bytes"));
                }
                self.write(*offset, *len, *mark);
            }
            SharedAct::Cut { size } => {
                self.clear(*size, u64::MAX);
                self.size = *size;
            }
            SharedAct::Size { size } if *size < self.size => {
                return Err(format!("a size is too small: {size} bytes of {}", self.size));
            }
            SharedAct::Size { size } if self.size < *size => {
                return Err(format!("a cut is undone: {size} bytes where {} are right", self.size));
            }
            SharedAct::Size { .. } => {}
            SharedAct::Read { offset, asked, got, runs, direct } => {
                return self.compare(*offset, *asked, *got, runs, *direct);
            }
            SharedAct::Nothing { offset } => {
                return Err(format!("a direct read got no bytes and no end of file at {offset}"));
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, len: u64, mark: u8) {
        self.clear(offset, offset + len);
        self.runs.push((offset, offset + len, mark));
        self.runs.sort_unstable();
        self.size = self.size.max(offset + len);
    }

    fn clear(&mut self, from: u64, to: u64) {
        let cut = |(run_from, run_to, mark): Run| {
            [(run_from, run_to.min(from), mark), (run_from.max(to), run_to, mark)]
        };
        self.runs = self.runs.iter().copied().flat_map(cut).filter(|(from, to, _)| from < to).collect();
    }

    fn mark(&self, at: u64) -> u8 {
        mark(&self.runs, at)
    }

    fn compare(&self, offset: u64, asked: u64, got: u64, runs: &[Run], direct: bool) -> Result<(), String> {
        let expected = asked.min(self.size.saturating_sub(offset));
        let what = if direct { "a direct read" } else { "a read" };
        // Where anything changes, in what was written or in what was read.
        let within = |at: &u64| offset <= *at && *at < offset + got.min(expected);
        let edges = self.runs.iter().chain(runs).flat_map(|(from, to, _)| [*from, *to]);
        let mut edges: Vec<u64> = edges.chain([offset]).filter(within).collect();
        edges.sort_unstable();
        for at in edges {
            let (right, seen) = (self.mark(at), mark(runs, at));
            if right == seen {
                continue;
            }
            return Err(match (right, seen) {
                (0, seen) => {
                    format!("old bytes are back: {what} finds {seen} at {at}, where zeros are right")
                }
                (right, 0) => {
                    format!("bytes are lost: {what} finds zeros at {at}, where {right} was written")
                }
                (right, seen) => {
                    format!("other bytes: {what} finds {seen} at {at}, where {right} was written")
                }
            });
        }
        match got.cmp(&expected) {
            std::cmp::Ordering::Less => {
                Err(format!("{what} ended early: {got} bytes at {offset} of {expected} that are there"))
            }
            std::cmp::Ordering::Greater => Err(format!(
                "a cut is undone: {what} gets {got} bytes at {offset} of {expected} that are there"
            )),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }
}

fn mark(runs: &[Run], at: u64) -> u8 {
    runs.iter().find(|(from, to, _)| (*from..*to).contains(&at)).map_or(0, |(_, _, mark)| *mark)
}

/// The runs of bytes that were read at an offset.
pub(crate) fn runs(offset: u64, bytes: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = offset;
    for chunk in bytes.chunk_by(|one, other| one == other) {
        let end = at + chunk.len() as u64;
        if chunk[0] != 0 {
            runs.push((at, end, chunk[0]));
        }
        at = end;
    }
    runs
}

#[cfg(test)]
mod tests;
