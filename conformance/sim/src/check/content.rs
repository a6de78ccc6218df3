//! A file as it should be: a few blocks, each of which holds the mark of one write, and a length.

use std::collections::BTreeSet;

use super::linearizable::{Acted, Model};

/// Blocks of a file that clients write.
pub(crate) const BLOCKS: usize = 4;

/// What clients do with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileAct {
    Write {
        block: usize,
        mark: u64,
        /// It was refused when one copy of the bytes may have had it and the other not: it may show
        /// now and not then, until another is answered (docs/protocol/replicate.md §5).
        in_doubt: bool,
    },
    Read {
        block: usize,
    },
    /// SETATTR of a length of so many blocks.
    Cut {
        blocks: usize,
    },
    /// GETATTR of the length.
    Length,
}

/// What they are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileAnswer {
    Done,
    /// The mark in the block; 0 where nothing was written.
    Mark(u64),
    /// The file ends before the block.
    End,
    /// In bytes.
    Length(u64),
}

/// A file that begins empty. Its blocks stand `stride_bytes` apart and are `block_bytes` long.
pub(crate) struct Blocks {
    pub(crate) stride_bytes: u64,
    pub(crate) block_bytes: u64,
}

/// Length in bytes, marks.
type State = (u64, [u64; BLOCKS]);

impl Model for Blocks {
    type State = State;
    type Act = FileAct;
    type Answer = FileAnswer;

    fn begin(&self) -> State {
        (0, [0; BLOCKS])
    }

    fn step(
        &self,
        state: &State,
        _number: usize,
        act: &FileAct,
        answer: Option<&FileAnswer>,
    ) -> Option<State> {
        let (length, marks) = *state;
        match act {
            FileAct::Write { block, mark, .. } => {
                let end = *block as u64 * self.stride_bytes + self.block_bytes;
                let mut next = (length.max(end), marks);
                next.1[*block] = *mark;
                Some(next)
            }
            FileAct::Cut { blocks } => {
                let mut next = (*blocks as u64 * self.stride_bytes, marks);
                next.1[*blocks..].fill(0);
                Some(next)
            }
            FileAct::Read { block } => {
                let fits = match answer? {
                    FileAnswer::End => length <= *block as u64 * self.stride_bytes,
                    FileAnswer::Mark(mark) => {
                        (*block as u64 * self.stride_bytes) < length && marks[*block] == *mark
                    }
                    FileAnswer::Done | FileAnswer::Length(_) => false,
                };
                fits.then_some(*state)
            }
            FileAct::Length => (answer? == &FileAnswer::Length(length)).then_some(*state),
        }
    }

    fn changes_nothing(&self, act: &FileAct, _answer: &FileAnswer) -> bool {
        matches!(act, FileAct::Read { .. } | FileAct::Length)
    }
}

/// One block of a file that no client cuts. Such blocks are independent, and so much easier to
/// judge than all at once; what a length says is left out.
pub(crate) struct Block;

impl Block {
    /// What was done with a block.
    pub(crate) fn history(
        block: usize,
        acts: &[Acted<FileAct, FileAnswer>],
    ) -> Vec<Acted<FileAct, FileAnswer>> {
        let of_block = |act: &&Acted<FileAct, FileAnswer>| match act.act {
            FileAct::Write { block: other, .. } => other == block,
            FileAct::Read { block: other } => other == block && act.answer.is_some(),
            FileAct::Cut { .. } | FileAct::Length => false,
        };
        acts.iter().filter(of_block).cloned().collect()
    }
}

impl Model for Block {
    /// The mark that was written, and those in doubt that may show beside it.
    type State = (u64, BTreeSet<u64>);
    type Act = FileAct;
    type Answer = FileAnswer;

    fn begin(&self) -> Self::State {
        (0, BTreeSet::new())
    }

    fn step(
        &self,
        state: &Self::State,
        _number: usize,
        act: &FileAct,
        answer: Option<&FileAnswer>,
    ) -> Option<Self::State> {
        let (mark, others) = state;
        match act {
            FileAct::Write { mark: new, in_doubt: true, .. } => {
                let mut others = others.clone();
                others.insert(*new);
                Some((*mark, others))
            }
            FileAct::Write { mark: new, .. } => Some((*new, BTreeSet::new())),
            FileAct::Read { .. } => match answer? {
                FileAnswer::End => (*mark == 0).then(|| state.clone()),
                FileAnswer::Mark(seen) => (mark == seen || others.contains(seen)).then(|| state.clone()),
                FileAnswer::Done | FileAnswer::Length(_) => None,
            },
            FileAct::Cut { .. } | FileAct::Length => None,
        }
    }

    fn changes_nothing(&self, act: &FileAct, _answer: &FileAnswer) -> bool {
        matches!(act, FileAct::Read { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::linearizable::{Verdict, check};

    fn acted(asked_ns: u64, act: FileAct, answer: FileAnswer) -> Acted<FileAct, FileAnswer> {
        Acted { client: 0, asked_ns, answer: Some((asked_ns + 1, answer)), act }
    }

    #[test]
    fn a_lost_write_is_found() {
        let write =
            |at, mark| acted(at, FileAct::Write { block: 1, mark, in_doubt: false }, FileAnswer::Done);
        let read = |at, mark| acted(at, FileAct::Read { block: 1 }, FileAnswer::Mark(mark));
        let mut history = vec![write(1, 5), read(3, 5), write(5, 6), read(7, 6)];
        let whole = Blocks { stride_bytes: 512, block_bytes: 512 };
        assert!(matches!(check(&whole, &history), Verdict::Holds));
        assert!(matches!(check(&Block, &Block::history(1, &history)), Verdict::Holds));
        history.push(read(9, 5));
        assert!(matches!(check(&whole, &history), Verdict::Broken(_)));
        assert!(matches!(check(&Block, &Block::history(1, &history)), Verdict::Broken(_)));
    }

    #[test]
    fn a_write_in_doubt_may_show_now_and_not_then() {
        let write =
            |at, mark| acted(at, FileAct::Write { block: 1, mark, in_doubt: false }, FileAnswer::Done);
        let read = |at, mark| acted(at, FileAct::Read { block: 1 }, FileAnswer::Mark(mark));
        let judged = |history: &[_]| check(&Block, &Block::history(1, history));
        let unknown = Acted { answer: None, ..write(3, 6) };
        let doubt = Acted { act: FileAct::Write { block: 1, mark: 6, in_doubt: true }, ..unknown.clone() };
        let mut history = vec![write(1, 5), doubt, read(5, 6), read(7, 5), read(9, 6)];
        assert!(matches!(judged(&history), Verdict::Holds));
        history.extend([write(11, 7), read(13, 7)]);
        assert!(matches!(judged(&history), Verdict::Holds));
        history.push(read(15, 5));
        assert!(matches!(judged(&history), Verdict::Broken(_)), "what was answered is gone");
        let history = [write(1, 5), unknown, read(5, 6), read(7, 5)];
        assert!(matches!(judged(&history), Verdict::Broken(_)), "what was not answered happens once");
    }
}
