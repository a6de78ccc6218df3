//! The documents of `--json`, byte for byte: programs rely on them (docs/json.md).

use mds_server::report::{
    BalanceStatus, ClockLine, DataServerLine, ExportLine, HandleKeyStatus, Health, NarrowCode, ReplicaLine,
    ScrubStatus, ShardsStatus, Status,
};
use serde::Serialize;
use wire_nfs::control::ClusterKey;
use wire_nfs::control::admin::{
    ExtentState, Holder, HolderState, NamedCode, Verified, VerifiedExtent, VerifiedImage,
};
use wire_nfs::control::keyring::{Accepted, Ring};

use super::key::KeyFile;
use super::{DataServers, Done, Exports, Moved, verify};
use crate::json::document;

/// What is printed, and the newline that ends it.
fn check(kind: &str, body: &impl Serialize, golden: &str) {
    assert_eq!(document(kind, body).unwrap() + "\n", golden, "{kind}");
}

fn narrow() -> NarrowCode {
    NarrowCode { code: "8+4".to_owned(), servers_full: 12, servers_least: 5, servers: 3, images_waiting: 16 }
}

fn status() -> Status {
    let replica = |id: u64, up| ReplicaLine { id, address: format!("10.0.0.{id}:2051"), up, leads: id == 1 };
    Status {
        file_system: "0f".to_owned(),
        node: 1,
        asked: 2,
        leader: Some(1),
        replicas: vec![replica(1, Some(true)), replica(2, Some(false)), replica(3, None)],
        service_addresses: vec![("10.0.0.100/24".to_owned(), Some(1))],
        applied_index: 7,
        exports: 2,
        exports_version: 3,
        handle_key: HandleKeyStatus { number: 1, stage: "spreading".to_owned(), servers_without: 2 },
        shards: ShardsStatus {
            all: 1,
            led: 1,
            voted: 1,
            hibernating: 0,
            leaderless: 0,
            log_flushes: 11,
            beats: 12,
            calls: 13,
        },
        clients: 4,
        sessions: 5,
        inodes: 6,
        data_servers: 3,
        data_servers_up: 2,
        space_total_bytes: 30,
        space_free_bytes: 20,
        work_items: 8,
        hot_copies: 2,
        losses_survived: 1,
        extents: 40,
        extents_degraded: 9,
        extents_filling: 10,
        extents_unserved: 14,
        counted: true,
        data_servers_full: 15,
        data_servers_failed: 0,
        data_servers_behind: 0,
        seal: true,
        erasure_code: "4+2".to_owned(),
        codes_narrow: vec![narrow()],
        groups: 17,
        groups_unreadable: 18,
        sealed_bytes: 19,
        sealed_dead_bytes: 21,
        images_waiting: 22,
        images_away: 23,
        images_remade: 24,
        repair_left_bytes: 25,
        repair_eta_s: None,
        images_missing: 26,
        scrub: ScrubStatus { servers: 2, percent: 27, ended_unix_ms: 28, bad: 29 },
        rebalance: BalanceStatus {
            on: true,
            waits: String::new(),
            moves: true,
            images: 31,
            extents: 32,
            left_bytes: 33,
            done_bytes: 34,
            left_s: 35,
        },
        clocks_off: vec![ClockLine { kind: "metadata".to_owned(), id: 2, ahead_ms: -61_000 }],
        metadata_disk_low: true,
    }
}

#[test]
fn reports_have_the_documented_fields() {
    check("admin.status", &status(), include_str!("../../tests/golden/admin.status.json"));
    let export = ExportLine {
        id: Some(0),
        path: "/".to_owned(),
        access: "rw".to_owned(),
        squash: "none".to_owned(),
        anonymous: Some((65534, 65534)),
        clients: vec!["10.0.0.0/8".to_owned()],
        secure: Some(true),
        pnfs: true,
        stripes: 1,
        erasure_code: Some("4+2".to_owned()),
        mount: "mount -t nfs4 -o vers=4.2 10.0.0.1:/ /mnt".to_owned(),
        addresses: vec!["10.0.0.1:2049".to_owned()],
    };
    let golden = include_str!("../../tests/golden/admin.exports.json");
    check("admin.exports", &Exports { exports: &[export] }, golden);
    let server = DataServerLine {
        id: 3,
        name: "rack1-a".to_owned(),
        uuid: "0a".to_owned(),
        addresses: vec!["10.0.0.3:3049".to_owned()],
        control: "10.0.0.3:3149".to_owned(),
        domain: "-/-/h".to_owned(),
        up: true,
        full: false,
        capacity_bytes: 100,
        used_bytes: 10,
        journal_bytes: 5,
        draining: true,
        replaced_by: None,
        extents_left: Some(1),
        images_left: Some(2),
        silent_ms: Some(40),
        failure: String::new(),
        behind: String::new(),
    };
    let golden = include_str!("../../tests/golden/admin.ds.list.json");
    check("admin.ds.list", &DataServers { data_servers: &[server] }, golden);
    let sound =
        Status { leader: Some(1), counted: true, data_servers: 3, data_servers_up: 2, ..Status::default() };
    check("admin.health", &Health::of(&sound), include_str!("../../tests/golden/admin.health.json"));
}

#[test]
fn answers_have_the_documented_fields() {
    let drained =
        Done { done: true, words: "what data server 3 has moves away", version: None, routes: None };
    check("admin.ds.drain", &drained, include_str!("../../tests/golden/admin.ds.drain.json"));
    let set = Done { done: false, words: "version 2 is in force", version: Some(2), routes: None };
    check("admin.exports.set", &set, include_str!("../../tests/golden/admin.exports.set.json"));
    let routes = Some(vec![Moved { from: 1, to: 2, images: 3, extents: 4, bytes: 5 }]);
    let moved = Done { done: true, words: "this is what would move", version: None, routes };
    check("admin.rebalance", &moved, include_str!("../../tests/golden/admin.rebalance.json"));
}

#[test]
fn a_key_file_has_the_documented_fields() {
    let [active, next] = [[7; 32], [8; 32]].map(ClusterKey::new);
    let ring = Ring::two(active, Accepted::Next(next)).unwrap();
    check("admin.key.show", &KeyFile::of(&ring), include_str!("../../tests/golden/admin.key.show.json"));
}

#[test]
fn a_file_that_was_verified_has_the_documented_fields() {
    let holder = |server, state| Holder { server, state };
    let image = VerifiedImage {
        image: [0xee; 16],
        sequence: 5,
        group: 6,
        data: 2,
        parity: 1,
        slot: 0,
        holders: vec![holder(1, HolderState::Up)],
    };
    let extent = VerifiedExtent {
        index: 0,
        state: ExtentState::AtRest,
        epoch: 1,
        home: holder(1, HolderState::Up),
        backups: vec![holder(2, HolderState::Down)],
        image: Some(image),
        survives: Some(1),
        whole: true,
        code: Some(NamedCode { data: 4, parity: 2 }),
    };
    let file = Verified { size_bytes: 9, copies: 2, extents: vec![extent], ..Verified::default() };
    let golden = include_str!("../../tests/golden/admin.verify.json");
    assert_eq!(verify::json("/a", &file).unwrap() + "\n", golden);
}
