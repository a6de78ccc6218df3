//! Checks the free space of the metadata disk, and applies the decisions of `room.rs`.
//!
//! Spec: docs/admin/metadata-servers.md, A full metadata disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits::{ROOM_HAND_OVER_MS, ROOM_LOOK_MS};
use crate::room::{Reserve, decide, give_back, holds_reserve, make_reserve, may_hand_over};
use crate::server::Server;

/// Checks the free space, for as long as the server lives.
pub(crate) async fn drive_space(server: Arc<Server>, dir: PathBuf) {
    let path = dir.join("reserve");
    let mut held = holds_reserve(&*server.env.disk, &path).await.unwrap_or(false);
    let mut hand_over_ms = 0;
    loop {
        if let Err(error) = check_space(&server, &dir, &path, &mut held).await {
            tracing::debug!(%error, "free space of the metadata disk is unknown");
        }
        let now_ms = server.now_ms();
        let may_give = server.room.low_since_ms().is_some_and(|since_ms| may_hand_over(since_ms, now_ms));
        let leads = server.shards.is_replicated() && server.shards.is_leader();
        if may_give && leads && hand_over_ms <= now_ms {
            hand_over_ms = now_ms + ROOM_HAND_OVER_MS;
            tracing::warn!("the metadata disk is nearly full: handing shard 0 over");
            server.shards.hand_over_but(&[]).await;
        }
        server.env.clock.sleep_ms(ROOM_LOOK_MS).await;
    }
}

async fn check_space(server: &Server, dir: &Path, path: &Path, held: &mut bool) -> io::Result<()> {
    let disk = &*server.env.disk;
    let capacity = disk.capacity(dir).await?;
    let was_low = server.room.low_since_ms().is_some();
    let (is_low, reserve) = decide(capacity, *held, was_low);
    let free_bytes = capacity.free_bytes;
    server.room.set_low(is_low, server.now_ms());
    match (was_low, is_low) {
        (false, true) => {
            tracing::error!(
                free_bytes,
                "the metadata disk is nearly full: commands that need space are refused"
            );
        }
        (true, false) => tracing::info!(free_bytes, "the metadata disk has space again"),
        _ => {}
    }
    match reserve {
        Reserve::Leave => {}
        Reserve::Make => {
            make_reserve(disk, path).await?;
            *held = true;
        }
        Reserve::GiveBack => {
            tracing::warn!(free_bytes, "releasing the reserve of the metadata disk");
            give_back(disk, path).await?;
            *held = false;
        }
    }
    Ok(())
}
