//! Clients that do what comes into their minds, each with a file of its own, while the killer lets
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::file::{FILE_BYTES_MAX, File};
use crate::fleet::{Doing, Fleet};

/// Whether clients may begin something, and how much they did.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) is_open: AtomicBool,
    pub(crate) acts: AtomicU64,
}

/// A new file on servers that are up.
pub(crate) async fn new_file(fleet: &Fleet) -> File {
    fleet.until("two servers are up", || 2 <= fleet.up().len()).await;
    let mut up = fleet.up();
    let turn = usize::try_from(fleet.below(up.len() as u64)).unwrap();
    up.rotate_left(turn);
    File::new(fleet, up[0], &up[1..2])
}

pub(crate) async fn run(fleet: Arc<Fleet>, file: Arc<Mutex<File>>, gate: Arc<Gate>) {
    loop {
        // Mostly busy, and at times away for long enough that the file is sealed.
        let pause_ms = match fleet.below(24) {
            0..2 => 5_000 + fleet.below(10_000),
            2..8 => 500 + fleet.below(4_000),
            _ => fleet.below(150),
        };
        fleet.sleep_ms(pause_ms).await;
        if !gate.is_open.load(Ordering::SeqCst) {
            continue;
        }
        let mut file = file.lock().await;
        act(&fleet, &mut file).await;
        gate.acts.fetch_add(1, Ordering::Relaxed);
    }
}

async fn act(fleet: &Fleet, file: &mut File) {
    let (what, seed) = (fleet.below(24), fleet.below(u64::MAX));
    let below = |end: usize| usize::try_from(fleet.below(end as u64)).unwrap();
    let at = if below(3) == 0 { file.len().min(FILE_BYTES_MAX - 1) } else { below(FILE_BYTES_MAX) };
    let length = (1 + if below(4) == 0 { below(150_000) } else { below(9_000) }).min(FILE_BYTES_MAX - at);
    match what {
        0..9 => file.write(fleet, at, length, seed).await,
        9..14 => file.write_loosely(fleet, at, length, seed).await,
        14..18 => file.commit(fleet).await,
        18..20 => {
            let keep = below(file.len() + 1);
            file.cut(fleet, keep).await;
        }
        20 => {
            let _busy = fleet.busy(Doing::Remove);
            let new = new_file(fleet).await;
            let old = std::mem::replace(file, new);
            old.remove(fleet);
            file.io_errors = old.io_errors;
        }
        _ => file.check(fleet, "between acts").await,
    }
}
