//! A file that has one actor at a time, who is on any host: written, appended to, cut by ftruncate
//! and O_TRUNC, with holes, and read through the cache and around it.
//!
//! An actor on another host opens the file again, as close-to-open wants; changes were closed,
//! synced or data-synced before. Processes of one host share its cache, and go on without either.

use std::sync::Arc;

use bytes::Bytes;
use wire_nfs::v4::ops::open::share;

use super::board::{ACTORS, Board, Turn};
use super::files::{File, Truncate};
use super::host::Host;
use crate::chance::Chance;
use crate::check::linux::{SharedAct, Turn as Seen, runs};
use crate::client::workload::Whistle;

/// Where a hole ends: the second extent.
const FAR: u64 = 64 << 20;
/// Bytes on both sides of a hole.
const SIDE_BYTES: u64 = 48 << 10;
/// Where writes begin at most, and how long they are.
const OFFSET_MAX: u64 = 90_000;
const WRITE_BYTES_MAX: u64 = 40_000;
/// Bytes that a read asks for.
const READ_BYTES: u64 = 256 << 10;
/// Between two looks at whose turn it is, and before a turn that is taken.
const POLL_MS: u64 = 15;
const THINK_MS_MAX: u64 = 200;
/// Acts of a turn at most.
const ACTS_MAX: u64 = 4;

/// An actor.
struct Actor {
    host: Arc<Host>,
    number: usize,
    chance: Chance,
    marks: u8,
    held: Option<(u64, File)>,
    /// Opened to read only, directly, and kept as long as the file is in use.
    direct: Option<(u64, File)>,
    changed: bool,
}

/// An actor, until the whistle.
pub(crate) async fn act(host: Arc<Host>, number: usize, board: Board, chance: Chance, whistle: Whistle) {
    let mut actor = Actor { host, number, chance, marks: 0, held: None, direct: None, changed: false };
    while !whistle.blown() {
        actor.host.sleep_ms(POLL_MS).await;
        actor.leave_all_but(board.file()).await;
        let Some(turn) = board.take_turn(number) else { continue };
        actor.host.client.pause(THINK_MS_MAX).await;
        let next = board.draw_next();
        actor.take(turn, next).await;
        board.pass_turn(turn, next, actor.changed);
    }
    actor.leave_all_but(u64::MAX).await;
    whistle.end();
}

fn name(file: u64) -> String {
    format!("shared-{file}")
}

impl Actor {
    fn host_of(actor: usize) -> usize {
        ACTORS[actor].0
    }

    /// Closes what is open of other files.
    async fn leave_all_but(&mut self, file: u64) {
        for held in [&mut self.held, &mut self.direct] {
            if held.as_ref().is_some_and(|(held, _)| *held != file)
                && let Some((_, file)) = held.take()
            {
                self.host.close(file).await;
            }
        }
    }

    async fn take(&mut self, turn: Turn, next: usize) {
        self.changed = false;
        let own = Self::host_of(self.number);
        let is_elsewhere = turn.changed_by.is_some_and(|by| Self::host_of(by) != own);
        // In a third of its turns an actor only reads, and opens no file again.
        if self.chance.percent(30) && 0 < turn.number {
            self.read_directly(turn, next).await;
            return;
        }
        if is_elsewhere && let Some((_, file)) = self.held.take() {
            self.host.close(file).await;
        }
        let Some(file) = self.open(turn).await else { return self.doubt(turn) };
        for _ in 0..self.chance.between(1, ACTS_MAX + 1) {
            self.one_act(turn, &file).await;
        }
        if turn.is_last || self.chance.percent(50) {
            self.read(turn, &file).await;
        }
        self.end(turn, next, file).await;
    }

    fn doubt(&self, turn: Turn) {
        self.host.client.record.lock().linux_shared(turn.file).doubtful = true;
    }

    fn note(&self, turn: Turn, file: &File, act: SharedAct) {
        let (host, process) = ACTORS[self.number];
        let seen = Seen { host, process, now_ns: self.host.now_ns(), act };
        let mut record = self.host.client.record.lock();
        let shared = record.linux_shared(turn.file);
        shared.doubtful |= file.inode.is_doubtful();
        shared.turns.push(seen);
        drop(record);
        self.host.count("shared act");
    }

    /// The file, as it was held, or opened; now and then with O_TRUNC.
    async fn open(&mut self, turn: Turn) -> Option<File> {
        let truncate = match self.chance.below(100) {
            0..6 => Truncate::ByOpen,
            6..12 => Truncate::BySetattr,
            _ => Truncate::No,
        };
        let held = self.held.take();
        if let Some((_, file)) = held {
            if truncate == Truncate::No {
                return Some(file);
            }
            // A logger that holds its file open, and `: > log` beside it.
            let other = self.host.open(&name(turn.file), share::ACCESS_WRITE, truncate).await?;
            self.note(turn, &file, SharedAct::Cut { size: 0 });
            self.changed = true;
            self.host.close(other).await;
            return Some(file);
        }
        let file = self.host.open(&name(turn.file), share::ACCESS_BOTH, truncate).await?;
        if truncate == Truncate::No {
            self.note(turn, &file, SharedAct::Size { size: file.inode.size() });
        } else {
            self.changed = true;
            self.note(turn, &file, SharedAct::Cut { size: 0 });
        }
        Some(file)
    }

    fn bytes(&mut self, len: u64) -> (u8, Bytes) {
        // Marks of actors differ, and none is 0.
        self.marks = self.marks % 60 + 1;
        let mark = self.marks + 60 * u8::try_from(self.number).expect("few actors");
        (mark, Bytes::from(vec![mark; usize::try_from(len).expect("short")]))
    }

    async fn write(&mut self, turn: Turn, file: &File, offset: u64, len: u64) {
        let (mark, bytes) = self.bytes(len);
        self.host.write(file, offset, bytes).await;
        self.changed = true;
        self.note(turn, file, SharedAct::Write { offset, len, mark });
    }

    async fn cut(&mut self, turn: Turn, file: &File, size: u64) {
        if self.host.truncate(&file.inode, size, false).await {
            self.changed = true;
            self.note(turn, file, SharedAct::Cut { size });
        } else {
            self.doubt(turn);
        }
    }

    async fn one_act(&mut self, turn: Turn, file: &File) {
        let len = self.chance.between(1, WRITE_BYTES_MAX);
        match self.chance.below(100) {
            0..30 => {
                let offset = self.chance.below(OFFSET_MAX);
                self.write(turn, file, offset, len).await;
            }
            30..42 => {
                let (mark, bytes) = self.bytes(len);
                let offset = self.host.append(file, bytes).await;
                self.changed = true;
                self.note(turn, file, SharedAct::Append { offset, len, mark });
            }
            42..60 => {
                let size = file.inode.size().min(OFFSET_MAX);
                let size = *self.chance.pick(&[0, size / 9, size / 2, size.saturating_sub(7), size]);
                self.cut(turn, file, size).await;
            }
            60..66 => {
                let size = file.inode.size() + self.chance.below(30_000);
                self.cut(turn, file, size).await;
            }
            66..70 => {
                self.write(turn, file, 0, SIDE_BYTES).await;
                self.write(turn, file, FAR, SIDE_BYTES).await;
            }
            70..80 => drop(self.host.fsync(&file.inode).await),
            80..84 => drop(self.host.write_back(&file.inode).await),
            84..88 => drop(self.host.flush(&file.inode).await),
            88..94 => {
                if let Some(size) = self.host.stat(&file.inode).await {
                    self.note(turn, file, SharedAct::Size { size });
                }
            }
            _ => self.read(turn, file).await,
        }
    }

    /// Through the cache, from the beginning, and around the far side of a hole.
    async fn read(&mut self, turn: Turn, file: &File) {
        for offset in [0, FAR - SIDE_BYTES] {
            // QUIRK(linux): a read that begins at `i_size` or behind it sends nothing.
            let asked = READ_BYTES.min(2 * SIDE_BYTES + READ_BYTES * u64::from(offset == 0));
            match self.host.read(file, offset, asked).await {
                Some(bytes) => self.note_read(turn, file, (offset, asked), &bytes, false),
                None => self.doubt(turn),
            }
        }
    }

    fn note_read(&self, turn: Turn, file: &File, (offset, asked): (u64, u64), bytes: &[u8], direct: bool) {
        let (got, runs) = (bytes.len() as u64, runs(offset, bytes));
        self.note(turn, file, SharedAct::Read { offset, asked, got, runs, direct });
    }

    /// With O_DIRECT, through an open that is kept while others change the file.
    async fn read_directly(&mut self, turn: Turn, next: usize) {
        let file = match self.direct.take() {
            Some((_, file)) => file,
            None => match self.host.open(&name(turn.file), share::ACCESS_READ, Truncate::No).await {
                Some(file) => file,
                None => return,
            },
        };
        for (offset, asked) in [(0, READ_BYTES), (FAR - SIDE_BYTES, 2 * SIDE_BYTES)] {
            match self.host.read_direct(&file, offset, asked).await {
                Some(read) if read.nothing => {
                    let offset = offset + read.bytes.len() as u64;
                    self.note(turn, &file, SharedAct::Nothing { offset });
                }
                Some(read) => self.note_read(turn, &file, (offset, asked), &read.bytes, true),
                None => self.doubt(turn),
            }
        }
        if Self::host_of(next) != Self::host_of(self.number) && !self.host.fsync(&file.inode).await {
            // What another process of this host has written.
            self.doubt(turn);
        }
        self.direct = Some((turn.file, file));
    }

    /// What others are to see is closed or synced.
    async fn end(&mut self, turn: Turn, next: usize, file: File) {
        let stays = Self::host_of(next) == Self::host_of(self.number);
        let inode = Arc::clone(&file.inode);
        let how = self.chance.below(100);
        let written = match how {
            // Processes of this host see what is in its cache.
            _ if stays && how < 40 => true,
            0..60 => self.host.fsync(&inode).await,
            60..75 => self.host.write_back(&inode).await,
            _ => {
                let closed = self.host.close(file).await;
                if !closed || inode.is_doubtful() {
                    self.doubt(turn);
                }
                return;
            }
        };
        if !written || inode.is_doubtful() {
            self.doubt(turn);
        }
        self.held = Some((turn.file, file));
    }
}
