//! Gathers the server's state into the plain values of reports.

use layout::DataServerId;
use mds_raft::Witness;
use mds_raft::limits::CLOCK_AGREE_NS;
use wire_nfs::control::admin::RotationStage;

use super::line::{
    ClockLine, DataServerLine, ExportLine, HandleKeyStatus, ReplicaLine, ScrubStatus, ShardsStatus, Status,
};
use super::mount::mount_command;
use crate::addresses::service::Service;
use crate::data_servers::{Known, readable};
use crate::limits::WORK_BATCH_MAX;
use crate::server::Server;
use crate::{balance, seal};

/// The state of the cluster.
pub(crate) fn status(server: &Server) -> Status {
    let shard = server.shards.status();
    let now_ms = server.now_ms();
    let all = server.data_servers.all();
    let (space_total_bytes, space_free_bytes) = server.data_servers.space(now_ms);
    let node = server.shards.node().map(mds_raft::Node::status).unwrap_or_default();
    let view = server.shards.view_anyway().ok();
    let view = view.as_ref();
    let tally = *server.copies.tally.lock();
    let groups = *server.sealing.tally.lock();
    let (images_waiting, images_remade) = server.sealing.under_way();
    let repair = *server.sealing.progress.lock();
    let counted = shard.leader == Some(shard.id) && server.copies.is_counted(server.shards.leading_term());
    let is_up = |id: &DataServerId| server.data_servers.is_up(*id, now_ms);
    Status {
        seal: server.config.seal,
        erasure_code: seal::profile(server, now_ms).map_or_else(String::new, |profile| profile.to_string()),
        codes_narrow: seal::narrow(server, now_ms),
        groups: groups.groups,
        groups_unreadable: groups.unreadable,
        sealed_bytes: groups.living_bytes,
        sealed_dead_bytes: groups.dead_bytes,
        images_waiting,
        images_away: groups.away,
        images_remade,
        repair_left_bytes: repair.left_bytes(),
        repair_eta_s: repair.eta_s(now_ms),
        images_missing: server.sealing.missing(),
        rebalance: balance::status(server),
        clocks_off: clocks_off(server),
        metadata_disk_low: server.room.low_since_ms().is_some(),
        scrub: ScrubStatus::sum_up(all.iter().filter(|(id, _)| is_up(id)).map(|(_, known)| &known.usage)),
        hot_copies: server.config.hot_copies,
        losses_survived: tally.losses_survived.min(groups.losses_survived),
        extents: tally.extents,
        extents_degraded: tally.degraded,
        extents_filling: tally.filling,
        extents_unserved: tally.unserved,
        file_system: hex(&server.file_system),
        node: shard.id,
        leader: shard.leader,
        asked: shard.id,
        replicas: replicas(server, shard.id, shard.leader),
        counted,
        data_servers_full: all.iter().filter(|(_, known)| known.full_ms.is_some()).count() as u64,
        data_servers_failed: server.data_servers.failed(),
        data_servers_behind: server.data_servers.behind(),
        service_addresses: service_addresses(server, shard.leader),
        applied_index: shard.applied_index,
        exports: server.exports().iter().count() as u64,
        exports_version: server.exports().version(),
        handle_key: handle_key(server),
        shards: ShardsStatus {
            all: node.shards,
            led: node.led,
            voted: node.voted,
            hibernating: node.hibernating,
            leaderless: node.leaderless,
            log_flushes: node.log_flushes,
            beats: node.beats,
            calls: node.calls,
        },
        clients: view.and_then(|v| v.clients().ok()).map_or(0, |clients| clients.len() as u64),
        sessions: server.front.sessions.lock().len() as u64,
        inodes: view.and_then(|v| server.shards.inodes(v).ok()).unwrap_or(0),
        data_servers: all.len() as u64,
        data_servers_up: all.iter().filter(|(id, _)| is_up(id)).count() as u64,
        space_total_bytes,
        space_free_bytes,
        work_items: view.and_then(|v| v.work(WORK_BATCH_MAX).ok()).map_or(0, |items| items.len() as u64),
    }
}

/// Clocks that are off by more than a second.
fn clocks_off(server: &Server) -> Vec<ClockLine> {
    let all = server.shards.node().map(mds_raft::Node::clocks_off_ns).unwrap_or_default();
    let line = |(witness, off_ns): (Witness, i64)| {
        let (kind, id) = match witness {
            Witness::Node(id) => ("metadata", id),
            Witness::DataServer(id) => ("data", u64::from(id)),
        };
        ClockLine { kind: kind.to_owned(), id, ahead_ms: off_ns / 1_000_000 }
    };
    all.into_iter().filter(|(_, off_ns)| CLOCK_AGREE_NS < off_ns.unsigned_abs()).map(line).collect()
}

/// All replicas.
fn replicas(server: &Server, own: u64, leader: Option<u64>) -> Vec<ReplicaLine> {
    let alone =
        || vec![ReplicaLine { id: own, address: String::new(), up: Some(true), leads: leader == Some(own) }];
    let Some(node) = server.shards.node() else { return alone() };
    let members = node.members();
    if members.is_empty() {
        return alone();
    }
    // The leader receives answers from all, another replica perhaps from none.
    let up = |id| match (id == own, leader == Some(own)) {
        (true, _) => Some(true),
        (false, true) => Some(node.is_up(id)),
        (false, false) => None,
    };
    let line = |(id, address)| ReplicaLine { id, address, up: up(id), leads: leader == Some(id) };
    members.into_iter().map(line).collect()
}

/// The exports, and how to mount them.
pub(crate) fn exports(server: &Server) -> Vec<ExportLine> {
    let mounts = server.mounts();
    let mut lines = server.exports().lines();
    for line in &mut lines {
        line.mount = mount_command(mounts[0], &line.path);
        line.addresses = mounts.iter().map(ToString::to_string).collect();
    }
    lines
}

/// The data servers.
pub(crate) fn data_servers(server: &Server) -> Vec<DataServerLine> {
    let now_ms = server.now_ms();
    let servers = &server.data_servers;
    let draining = server.shards.view_anyway().ok().and_then(|view| view.draining().ok()).unwrap_or_default();
    let replaced = servers.replaced(now_ms);
    let line = |(id, known): (DataServerId, Known)| DataServerLine {
        id: id.0,
        name: known.name.clone(),
        replaced_by: replaced.get(&id).map(|by| by.0),
        uuid: hex(&known.uuid),
        domain: [&known.domain.zone, &known.domain.rack, &known.domain.host]
            .map(|name| if name.is_empty() { "-" } else { name.as_str() })
            .join("/"),
        up: servers.is_up(id, now_ms),
        full: known.full_ms.is_some(),
        capacity_bytes: known.usage.capacity_bytes,
        used_bytes: known.usage.used_bytes,
        journal_bytes: known.usage.journal_bytes,
        draining: draining.contains(&id.0),
        extents_left: server.copies.left.lock().get(&id).copied(),
        images_left: server.sealing.left.lock().get(&id).copied(),
        silent_ms: known.renewed_ms.map(|renewed_ms| now_ms.saturating_sub(renewed_ms)),
        failure: known.failure.as_ref().map_or_else(String::new, |failure| failure.reason.clone()),
        behind: known.behind.map_or_else(String::new, |behind| behind.to_string()),
        addresses: known.addresses.iter().map(|address| readable(address)).collect(),
        control: known.control_address,
    };
    servers.all().into_iter().map(line).collect()
}

/// The replica that holds each service address, as far as this node knows.
fn service_addresses(server: &Server, leader: Option<u64>) -> Vec<(String, Option<u64>)> {
    let places = server.service.as_ref().map(Service::places).unwrap_or_default();
    let own = server.shards.status().id;
    let at = |here| if here { Some(own) } else { leader.filter(|leader| *leader != own) };
    places.into_iter().map(|(address, here)| (address.to_string(), at(here))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn handle_key(server: &Server) -> HandleKeyStatus {
    let rotation = server.handle_key_rotation();
    let stage = match rotation.stage {
        RotationStage::None => "",
        RotationStage::Spreading => "spreading",
        RotationStage::Leaving => "leaving",
    };
    let (number, servers_without) = (u64::from(rotation.key), u64::from(rotation.servers));
    HandleKeyStatus { number, stage: stage.to_owned(), servers_without }
}
