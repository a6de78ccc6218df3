//! A file as it should be: a few blocks, each of which holds the mark of one write, and a length.

use super::linearizable::Model;

/// Blocks of a file that clients write.
pub(crate) const BLOCKS: usize = 4;

/// What clients do with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileAct {
    Write {
        block: usize,
        mark: u64,
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
            FileAct::Write { block, mark } => {
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
