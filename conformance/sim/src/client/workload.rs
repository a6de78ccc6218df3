//! What a client's workers do, from the beginning to the last look at everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use wire_nfs::v4::Filehandle;

use super::locks::Lockable;
use super::session::Client;
use super::{content, locks, moves, names};
use crate::chance::Chance;
use crate::check::content::{BLOCKS, FileAct};
use crate::record::Place;

/// Time after which clients go on to fresh directories and files, so that no history grows too long
/// to judge.
pub(super) const SHIFT_NS: u64 = 12_000_000_000;
/// Directories, and files, that are in use at a time.
pub(super) const DIRECTORIES: u64 = 3;
const FILES: u64 = 4;
const LOCKED_FILES: u64 = 3;
/// Time after which clients go on to a fresh group of directories, and time between two bursts in
/// it.
const GROUP_NS: u64 = 30_000_000_000;
const BURST_NS: u64 = 1_500_000_000;
/// Time within which all clients begin a burst, in milliseconds.
const BURST_MS_MAX: u64 = 30;
/// What a client does in a burst at most.
const BURST_ACTS_MAX: u64 = 4;

/// Says when to stop, and how many have.
#[derive(Clone, Default)]
pub(crate) struct Whistle {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) running: Arc<AtomicUsize>,
}

impl Whistle {
    /// Whether it is time to stop.
    pub(super) fn blown(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A task has stopped.
    pub(super) fn end(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A directory that is being used, and objects that were found in it.
struct Shared {
    place: Place,
    directory: Filehandle,
    known: Vec<(u64, Filehandle)>,
}

pub(super) fn directory_name(place: Place) -> String {
    format!("directory-{}-{}", place.0, place.1)
}

fn file_name(place: Place) -> String {
    format!("file-{}-{}", place.0, place.1)
}

/// Names, until the whistle.
pub(crate) async fn work_on_names(client: Arc<Client>, mut chance: Chance, whistle: Whistle, think_ms: u64) {
    let mut held: Option<Shared> = None;
    while !whistle.blown() {
        let place = (client.now_ns() / SHIFT_NS, chance.below(DIRECTORIES));
        if held.as_ref().is_none_or(|held| held.place != place) {
            let handle = names::directory(&client, &directory_name(place)).await;
            held = handle.map(|directory| Shared { place, directory, known: Vec::new() });
        }
        let Some(Shared { place, directory, known }) = &mut held else { continue };
        for _ in 0..6 {
            names::act(&client, &mut chance, *place, directory, known).await;
            client.pause(think_ms).await;
        }
    }
    whistle.running.fetch_sub(1, Ordering::Relaxed);
}

/// Content, until the whistle.
pub(crate) async fn work_on_content(
    client: Arc<Client>,
    mut chance: Chance,
    whistle: Whistle,
    think_ms: u64,
) {
    while !whistle.blown() {
        let place = (client.now_ns() / SHIFT_NS, chance.below(FILES));
        let Some(file) = content::open_file(&client, &file_name(place)).await else { continue };
        for _ in 0..10 {
            let usable = content::act(&client, &mut chance, place, &file).await;
            client.pause(think_ms).await;
            if !usable || file.clientid != client.clientid() || whistle.blown() {
                break;
            }
        }
    }
    whistle.running.fetch_sub(1, Ordering::Relaxed);
}

/// Locks, until the whistle.
pub(crate) async fn work_on_locks(client: Arc<Client>, mut chance: Chance, whistle: Whistle, think_ms: u64) {
    while !whistle.blown() {
        let number = chance.index(LOCKED_FILES as usize);
        let Some(file) = content::open_file(&client, &format!("locked-{number}")).await else { continue };
        let mut on = Lockable::new(number, file);
        for _ in 0..20 {
            let usable = locks::act(&client, &mut chance, &mut on).await;
            client.pause(think_ms * 4).await;
            if !usable || on.file.clientid != client.clientid() || whistle.blown() {
                break;
            }
        }
    }
    whistle.running.fetch_sub(1, Ordering::Relaxed);
}

/// Moves, until the whistle.
pub(crate) async fn work_on_moves(client: Arc<Client>, mut chance: Chance, whistle: Whistle) {
    let mut held: Option<moves::Group> = None;
    while !whistle.blown() {
        // All at the same time: what is done alone shows little.
        let wait_ns = BURST_NS - client.now_ns() % BURST_NS;
        client.env.clock.sleep_ms(wait_ns / 1_000_000 + chance.below(BURST_MS_MAX)).await;
        let place = (client.now_ns() / GROUP_NS, 0);
        if held.as_ref().is_none_or(|held| held.place() != place) {
            held = moves::group(&client, place).await;
        }
        let Some(group) = &mut held else { continue };
        for _ in 0..chance.between(1, BURST_ACTS_MAX + 1) {
            moves::burst(&client, &mut chance, group).await;
        }
    }
    whistle.running.fetch_sub(1, Ordering::Relaxed);
}

/// What is looked at when all is quiet.
#[derive(Debug)]
enum Sight {
    Directory(Place),
    Group(Place),
    File(Place),
}

/// Looks at everything that was ever acknowledged.
pub(crate) async fn look_at_all(client: Arc<Client>, whistle: Whistle) {
    let sights: Vec<Sight> = {
        let record = client.record.lock();
        let directories = record.names.keys().map(|place| Sight::Directory(*place));
        let groups = record.moves.keys().map(|place| Sight::Group(*place));
        let files = record.files.keys().map(|place| Sight::File(*place));
        directories.chain(groups).chain(files).collect()
    };
    for sight in sights {
        let mut looked = false;
        for _ in 0..20 {
            looked = match sight {
                Sight::Directory(place) => look_at_directory(&client, place).await,
                Sight::Group(place) => moves::look_through(&client, place).await,
                Sight::File(place) => look_at_file(&client, place).await,
            };
            if looked {
                break;
            }
            client.pause(500).await;
        }
        if !looked {
            client.record.broken(format!("{sight:?} cannot be read when all is quiet"));
        }
    }
    whistle.running.fetch_sub(1, Ordering::Relaxed);
}

async fn look_at_directory(client: &Client, place: Place) -> bool {
    let Some(handle) = names::directory(client, &directory_name(place)).await else { return false };
    names::list(client, place, &handle).await
}

async fn look_at_file(client: &Client, place: Place) -> bool {
    let Some(file) = content::open_file(client, &file_name(place)).await else { return false };
    let read = || client.record.lock().counts.get("content: read").copied().unwrap_or(0);
    let before = read();
    for block in 0..BLOCKS {
        content::record(client, place, &file, FileAct::Read { block }).await;
    }
    if read() != before + BLOCKS as u64 {
        return false;
    }
    content::record(client, place, &file, FileAct::Length).await;
    true
}
