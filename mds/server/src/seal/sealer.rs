//! Makes groups of waiting images: chooses members, has the parity computed, and commits the group
//! to the log.
//!
//! Runs on the leader while sealing is on.
//!
//! INVARIANT: a group is in the log only after all its parity is on stable storage.
//! Spec: docs/protocol/seal.md §3.

use std::sync::Arc;

use client::control::ControlError;
use layout::DataServerId;
use layout::ec::{CodecId, Draft, Group, GroupError, GroupId, ImageId, Shape};
use mds_namespace::op::seal::may_join;
use mds_namespace::sealed;
use mds_state::command::seal::MakeGroup;
use mds_state::{Command, Outcome};
use wire_nfs::control::Refusal;

use super::pool::{Candidate, Ended, Making};
use super::{decided, narrow, new_image, profile, sites};
use crate::limits::GROUPS_AT_ONCE_MAX;
use crate::report::NarrowCode;
use crate::server::Server;

/// Interval of the checks of the pool.
const ROUND_MS: u64 = 500;

/// Why a group failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// A member has become useless.
    #[error("a member may not join any more")]
    Moved,
    /// Its parity was not made.
    #[error("data server {0} made no parity: {1}")]
    Parity(DataServerId, ControlError),
    /// The data server that makes its parity is gone.
    #[error("data server {0} has gone while it made parity")]
    Gone(DataServerId),
    /// The choice is no valid group.
    #[error("{0}")]
    Group(#[from] GroupError),
    /// The log did not accept it.
    #[error("the log did not take it")]
    Log,
}

impl Failed {
    /// The consequence for the members.
    fn ended(&self) -> Ended {
        match self {
            // A data server that makes no parity is not chosen again while it is unreachable.
            Self::Parity(_, ControlError::Refused(Refusal::Busy | Refusal::NoSpace))
            | Self::Parity(_, ControlError::Unreachable(_))
            | Self::Gone(_)
            | Self::Log => Ended::Busy,
            Self::Moved => Ended::Moved,
            Self::Parity(..) | Self::Group(_) => Ended::Failed,
        }
    }
}

/// Runs for as long as the server lives.
pub(crate) async fn drive_sealing(server: Arc<Server>) {
    let mut told = Vec::new();
    loop {
        tokio::select! {
            () = server.sealing.call.notified() => {}
            () = server.env.clock.sleep_ms(ROUND_MS) => {}
        }
        if !server.sealing.leads(server.shards.is_leader(), server.now_ms()) || !server.config.seal {
            told.clear();
            continue;
        }
        log_narrow(&narrow(&server, server.now_ms()), &mut told);
        while let Some(making) = next(&server) {
            tokio::spawn(make(Arc::clone(&server), making));
        }
        server.metrics.set_waiting(server.sealing.under_way().0);
    }
}

fn next(server: &Server) -> Option<Making> {
    let now_ms = server.now_ms();
    {
        let pool = server.sealing.pool.lock();
        if GROUPS_AT_ONCE_MAX <= pool.groups() || pool.waiting() == 0 {
            return None;
        }
    }
    let (cluster, sites) = (profile(server, now_ms), sites(server, now_ms));
    let mut pool = server.sealing.pool.lock();
    pool.take_group(cluster, &sites, now_ms, server.config.group_wait_ms)
}

/// Logs the codes with too few data servers, once for each number of servers.
fn log_narrow(narrow: &[NarrowCode], told: &mut Vec<NarrowCode>) {
    let alike =
        |one: &NarrowCode, other: &NarrowCode| (&one.code, one.servers) == (&other.code, other.servers);
    for one in narrow.iter().filter(|one| !told.iter().any(|other| alike(one, other))) {
        let NarrowCode { code, servers_full, servers_least, servers, .. } = one;
        if servers < servers_least {
            tracing::warn!(
                %code, servers, servers_least,
                "too few data servers for this erasure code: its extents stay as copies"
            );
        } else {
            tracing::warn!(
                %code, servers, servers_full,
                "too few data servers for full groups of this erasure code: groups stay short and take more space"
            );
        }
    }
    *told = narrow.to_vec();
}

/// Makes one group, or returns its members to the pool.
pub(super) async fn make(server: Arc<Server>, making: Making) {
    let codec = making.profile.codec();
    let parity: Vec<ImageId> = match making.members.first().copied().flatten() {
        // A copy is the member itself.
        Some(member) if codec == CodecId::Copies => vec![member.member.image; making.profile.parity()],
        _ => (0..making.profile.parity()).map(|_| new_image(&server)).collect(),
    };
    let made = attempt(&server, &making, codec, &parity).await;
    match &made {
        Ok(group) => {
            tracing::info!(%group, profile = %making.profile, "group of images made");
            server.metrics.group_made();
        }
        Err(Failed::Moved) => tracing::debug!("group failed: an image has become useless"),
        Err(error) => {
            tracing::warn!(%error, "group of images failed");
            server.metrics.group_failed();
        }
    }
    let stays = |one: &Candidate| made.is_err() && may_wait(&server, one);
    let ended = made.as_ref().map_or_else(Failed::ended, |_| Ended::Done);
    let mut random = [0; 8];
    server.env.entropy.fill(&mut random);
    let ended = (ended, u64::from_be_bytes(random));
    server.sealing.pool.lock().end(&making, &parity, stays, ended, server.now_ms());
    server.sealing.call.notify_one();
}

/// Whether an image may still become a member. If that is unknown, its server reports it again.
fn may_wait(server: &Server, one: &Candidate) -> bool {
    let Ok(view) = server.view() else { return false };
    may_join(view.namespace(), &one.member, one.home, &one.sealed_as).unwrap_or(false)
}

async fn attempt(
    server: &Server,
    making: &Making,
    codec: CodecId,
    parity: &[ImageId],
) -> Result<GroupId, Failed> {
    // Reading all members is much work for an impossible group.
    if !making.members.iter().flatten().all(|one| may_wait(server, one)) {
        return Err(Failed::Moved);
    }
    // All members are of one shard, which also keeps the group.
    let shard = making.members.iter().flatten().next().map_or(0, Candidate::shard);
    let group = match server.shards.to(shard, None, Command::TakeGroup).await {
        Ok(Outcome::Group(number)) => GroupId(number),
        Ok(_) | Err(_) => return Err(Failed::Log),
    };
    let members = making.members.iter().map(|one| one.map(|one| one.member)).collect();
    let draft = Draft { group, profile: making.profile, codec, members, parity: parity.to_vec() };
    draft.check()?;
    let mut homes: Vec<Option<DataServerId>> =
        making.members.iter().map(|one| one.map(|one| one.home)).collect();
    let shape = encode(server, draft, &homes, &making.parity).await?;
    homes.extend(making.parity.iter().copied().map(Some));
    let record = Group::new(shape, homes)?.encode();
    let sealed_as = making.members.iter().flatten().map(|one| one.sealed_as).collect();
    decided(server, group, Command::MakeGroup(MakeGroup { record, sealed_as })).await;
    let made = server.view().ok().and_then(|view| sealed::group(view.namespace(), group).ok().flatten());
    if made.is_some() { Ok(group) } else { Err(Failed::Log) }
}

/// Has the parity computed, if there is any.
async fn encode(
    server: &Server,
    draft: Draft,
    homes: &[Option<DataServerId>],
    parity: &[DataServerId],
) -> Result<Shape, Failed> {
    let Some(first) = parity.first() else { return Ok(draft.shape(&[])?) };
    for image in &draft.parity {
        server.sealing.pool.lock().begin_parity(*image);
    }
    let known = server.data_servers.one(*first).ok_or(Failed::Parity(*first, ControlError::Unknown))?;
    tokio::select! {
        made = known.control.encode(&draft, homes, parity) => {
            made.map_err(|error| Failed::Parity(*first, error))
        }
        () = gone(server, *first) => Err(Failed::Gone(*first)),
    }
}

/// Returns once a data server holds no lease. A call to a machine that lost its power gets no
/// answer for minutes, and others wait for their turn meanwhile.
async fn gone(server: &Server, id: DataServerId) {
    while server.data_servers.is_up(id, server.now_ms()) {
        server.env.clock.sleep_ms(ROUND_MS).await;
    }
}
