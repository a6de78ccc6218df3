//! The page cache of a file, as far as the server sees it: bytes that processes wrote and that are
//! not stable yet.
//!
//! A piece is dirty, under way in a WRITE, or written unstable and waiting for COMMIT; then it is
//! forgotten. Clean pages are not kept: what is not here is read from the servers.
//!
//! INVARIANT: pieces do not overlap, and none is empty.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::layouts::Target;

/// Bytes that one WRITE carries at most.
pub(crate) const WRITE_BYTES_MAX: usize = 1 << 20;

/// The verifier of a WRITE or COMMIT.
pub(crate) type Verifier = [u8; 8];

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Dirty,
    /// In the WRITE of this number.
    UnderWay(u64),
    /// At a server that may forget it; the number says when it was answered.
    Unstable(Target, Verifier, u64),
}

#[derive(Clone, Debug)]
struct Piece {
    bytes: Bytes,
    state: State,
}

/// The pages of a file that are not clean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    pieces: BTreeMap<u64, Piece>,
    /// Counts what was sent and what was answered.
    events: u64,
}

/// Bytes that wait for COMMIT at one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uncommitted {
    pub(crate) target: Target,
    /// Up to where they reach in the file.
    pub(crate) end: u64,
    /// The last answer among theirs: what is answered behind it waits for the next COMMIT.
    last: u64,
}

/// Bytes to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writing {
    pub(crate) number: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

impl Writing {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl Cache {
    /// Whether anything is dirty, under way, or waits for COMMIT.
    pub(crate) fn has_writebacks(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Whether a WRITE of some of these bytes is under way: who writes them again waits for its
    /// answer.
    pub(crate) fn is_under_way(&self, offset: u64, len: u64) -> bool {
        let under_way = |(at, piece): (&u64, &Piece)| {
            offset < at + piece.bytes.len() as u64 && matches!(piece.state, State::UnderWay(_))
        };
        self.pieces.range(..offset.saturating_add(len)).any(under_way)
    }

    /// Whether a WRITE of anything is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.is_under_way(0, u64::MAX)
    }

    /// A process wrote these bytes.
    pub(crate) fn write(&mut self, offset: u64, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.remove(offset, bytes.len() as u64);
        self.pieces.insert(offset, Piece { bytes, state: State::Dirty });
    }

    /// The first dirty byte at or behind this offset.
    pub(crate) fn first_dirty(&self, from: u64) -> Option<u64> {
        let is_dirty = |(_, piece): &(&u64, &Piece)| piece.state == State::Dirty;
        self.pieces.range(from..).find(is_dirty).map(|(at, _)| *at)
    }

    /// The run of dirty bytes that begins here, up to `end`. It is under way from now on.
    pub(crate) fn take_dirty(&mut self, offset: u64, end: u64) -> Option<Writing> {
        self.split(end);
        let mut bytes = Vec::new();
        let mut taken = Vec::new();
        for (at, piece) in self.pieces.range(offset..end) {
            let follows = *at == offset + bytes.len() as u64;
            let fits = bytes.is_empty() || bytes.len() + piece.bytes.len() <= WRITE_BYTES_MAX;
            if !follows || !fits || piece.state != State::Dirty {
                break;
            }
            bytes.extend_from_slice(&piece.bytes);
            taken.push(*at);
        }
        if taken.is_empty() {
            return None;
        }
        self.events += 1;
        let number = self.events;
        taken.iter().for_each(|at| self.pieces.remove(at).map_or((), drop));
        let bytes = Bytes::from(bytes);
        self.pieces.insert(offset, Piece { bytes: bytes.clone(), state: State::UnderWay(number) });
        Some(Writing { number, offset, bytes })
    }

    /// A WRITE is no longer under way. Its first `count` bytes are unstable at a server, or stable
    /// if that is `None`; what follows is dirty again.
    pub(crate) fn written(&mut self, number: u64, count: usize, unstable: Option<(Target, Verifier)>) {
        let of_it = |piece: &Piece| piece.state == State::UnderWay(number);
        let Some(offset) = self.pieces.iter().find(|(_, piece)| of_it(piece)).map(|(at, _)| *at) else {
            return;
        };
        let Some(piece) = self.pieces.remove(&offset) else { return };
        self.events += 1;
        let count = count.min(piece.bytes.len());
        if let Some((target, verifier)) = unstable
            && 0 < count
        {
            let state = State::Unstable(target, verifier, self.events);
            self.pieces.insert(offset, Piece { bytes: piece.bytes.slice(..count), state });
        }
        if count < piece.bytes.len() {
            let rest = Piece { bytes: piece.bytes.slice(count..), state: State::Dirty };
            self.pieces.insert(offset + count as u64, rest);
        }
    }

    /// Where bytes wait for COMMIT.
    pub(crate) fn uncommitted(&self) -> Vec<Uncommitted> {
        let mut all: Vec<Uncommitted> = Vec::new();
        for (at, piece) in &self.pieces {
            let State::Unstable(target, _, answered) = &piece.state else { continue };
            let end = at + piece.bytes.len() as u64;
            match all.iter_mut().find(|known| known.target == *target) {
                Some(known) => (known.end, known.last) = (known.end.max(end), known.last.max(*answered)),
                None => all.push(Uncommitted { target: target.clone(), end, last: *answered }),
            }
        }
        all
    }

    /// A COMMIT was answered with this verifier: what was written under another one is dirty again.
    /// `None`: it failed, and all is. Says how many pieces are dirty again.
    pub(crate) fn committed(&mut self, what: &Uncommitted, verifier: Option<Verifier>) -> usize {
        let mut again = 0;
        self.pieces.retain(|_, piece| match &piece.state {
            State::Unstable(target, written, answered)
                if *target == what.target && *answered <= what.last =>
            {
                if verifier == Some(*written) {
                    return false;
                }
                again += 1;
                piece.state = State::Dirty;
                true
            }
            _ => true,
        });
        again
    }

    /// What was written is cut from here on: nothing of it is sent any more.
    pub(crate) fn truncate(&mut self, size: u64) {
        self.remove(size, u64::MAX - size);
    }

    /// Lays what is not clean over bytes that were read.
    pub(crate) fn lay_over(&self, offset: u64, bytes: &mut [u8]) {
        let end = offset + bytes.len() as u64;
        for (at, piece) in self.pieces.range(..end) {
            let piece_end = at + piece.bytes.len() as u64;
            let (from, to) = (offset.max(*at), end.min(piece_end));
            if from < to {
                let part = &piece.bytes[index(from - at)..index(to - at)];
                bytes[index(from - offset)..index(to - offset)].copy_from_slice(part);
            }
        }
    }

    fn remove(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        self.split(offset);
        self.split(end);
        let inside: Vec<u64> = self.pieces.range(offset..end).map(|(at, _)| *at).collect();
        inside.iter().for_each(|at| self.pieces.remove(at).map_or((), drop));
    }

    /// No piece lies on both sides of this offset any more.
    fn split(&mut self, offset: u64) {
        let Some((at, piece)) = self.pieces.range_mut(..offset).next_back() else { return };
        if at + piece.bytes.len() as u64 <= offset {
            return;
        }
        let behind = piece.bytes.split_off(index(offset - at));
        let state = piece.state.clone();
        self.pieces.insert(offset, Piece { bytes: behind, state });
    }
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("files of a run are small")
}

#[cfg(test)]
mod tests;
