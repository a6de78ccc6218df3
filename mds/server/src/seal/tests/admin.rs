//! Requests of administrators, and which servers accept them.
//!
//! Spec: docs/protocol/admin.md §1, §2, §5, §7.

use wire_nfs::control::admin::{
    DrainServer, ExtentState, HolderState, Readmit, Readmitted, RemoveServer, RotateHandleKey, Verify,
};
use wire_nfs::control::images::ImageWord;
use wire_nfs::control::report::{AskReport, Subject};
use wire_nfs::control::{Procedure, Refusal};

use crate::report::{DataServerLine, Health, Status};

use super::fleet::{self, Fleet, shown};

#[tokio::test]
async fn data_servers_are_no_administrators() {
    let fleet = Fleet::start(2, |_| {}).await;
    let drain = DrainServer { server: 1, drain: true };
    let refused = Err(Refusal::WrongPeer);
    assert_eq!(fleet.ask_as_data_server(2, Procedure::DsDrain, &drain).await, refused);
    assert_eq!(fleet.ask_as_data_server(2, Procedure::DsRemove, &RemoveServer { server: 1 }).await, refused);
    let verify = Verify { path: b"/file".to_vec(), from: 0 };
    assert_eq!(fleet.ask_as_data_server(2, Procedure::Verify, &verify).await, refused);
    assert_eq!(fleet.ask_as_data_server(2, Procedure::MdsReadmit, &Readmit { number: 1 }).await, refused);
    let rotate = RotateHandleKey { replaces: Some(1) };
    assert_eq!(fleet.ask_as_data_server(2, Procedure::HandleKeyRotate, &rotate).await, refused);
    let report = AskReport { subject: Subject::Status, from: 0 };
    assert_eq!(fleet.ask_as_data_server(2, Procedure::Report, &report).await, refused);
    assert!(fleet.listed().iter().all(|line| !line.draining));
}

/// Another metadata server returns the same reports as this one.
#[tokio::test]
async fn an_administrator_is_told_what_the_leader_shows() {
    let fleet = Fleet::start(3, |_| {}).await;
    fleet.file([1, 2]).await;
    let admin = fleet.admin();
    until!(fleet.status().counted && fleet.status().extents == 2);
    let told = admin.report(Subject::Status, 0).await.unwrap();
    let told: Status = serde_json::from_str(&told.json).unwrap();
    assert_eq!((told.extents, told.data_servers_up, told.node, told.asked), (2, 3, 1, 1));
    let all = admin.report(Subject::DataServers, 0).await.unwrap();
    let all: Vec<DataServerLine> = serde_json::from_str(&all.json).unwrap();
    assert_eq!(all.iter().map(|line| line.id).collect::<Vec<_>>(), [1, 2, 3]);
    let rest = admin.report(Subject::DataServers, 2).await.unwrap();
    assert_eq!(rest.next, None);
    let rest: Vec<DataServerLine> = serde_json::from_str(&rest.json).unwrap();
    assert_eq!(rest.len(), 1);
    // One copy fewer than promised is not healthy.
    fleet.silence(2);
    until!(fleet.status().data_servers_up == 2);
    let health = Health::of(&fleet.status());
    assert!(!health.ok && health.problems.iter().any(|one| one.kind == "data_servers_down"), "{health:?}");
}

/// Refused while it runs, refused while it holds data, and unknown afterwards.
#[tokio::test]
async fn a_server_is_removed_when_it_is_gone_and_empty() {
    let fleet = Fleet::start(3, |settings| settings.data_server_lease_ms = 500).await;
    fleet.file([1, 2]).await;
    let admin = fleet.admin();
    for unknown in [0, 9] {
        let ruling = admin.remove(unknown).await.unwrap();
        assert!(!ruling.done && ruling.words.contains("no data server"), "{}", ruling.words);
    }
    let ruling = admin.remove(3).await.unwrap();
    assert!(!ruling.done && ruling.words.contains("has a lease"), "{}", ruling.words);
    for id in [1, 3] {
        fleet.silence(id);
    }
    let mut words = String::new();
    until!({
        let ruling = admin.remove(3).await.unwrap();
        words = ruling.words;
        ruling.done
    });
    assert!(words.contains("not used again"), "{words}");
    assert_eq!(fleet.listed().iter().map(|line| line.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(fleet.register_again(3).await, Err(Refusal::Invalid));
    assert_eq!(fleet.listed().len(), 2);
    until!({
        words = admin.remove(1).await.unwrap().words;
        words.contains("home of")
    });
    assert!(words.contains("home of 1 extents and backup of 0, and has 0 images"), "{words}");
    // It may come back: it was not removed.
    assert_ne!(fleet.register_again(1).await, Err(Refusal::Invalid), "this one may come back");
    let again = admin.remove(3).await.unwrap();
    assert!(!again.done && again.words.contains("no data server"), "{}", again.words);
}

#[tokio::test]
async fn the_last_one_that_stays_is_not_drained() {
    let fleet = Fleet::start(2, |_| {}).await;
    let admin = fleet.admin();
    assert!(admin.drain(1, true).await.unwrap().done);
    let ruling = admin.drain(2, true).await.unwrap();
    assert!(!ruling.done && ruling.words.contains("no other data server"), "{}", ruling.words);
    assert!(!admin.drain(7, true).await.unwrap().done);
    assert_eq!(fleet.listed().iter().map(|line| line.draining).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_leader_needs_no_readmission_and_strangers_are_refused() {
    let fleet = Fleet::start(1, |_| {}).await;
    let admin = fleet.admin();
    let own = admin.readmit(1).await.unwrap();
    assert_eq!(own, Readmitted { words: String::new(), shards: 1, done: 1 });
    let stranger = admin.readmit(2).await.unwrap();
    assert_eq!(stranger.words, "no metadata server has the number 2");
    assert_eq!(stranger, Readmitted { words: stranger.words.clone(), ..Readmitted::default() });
}

/// A file of two extents: one hot, one at rest in a group.
#[tokio::test]
async fn a_file_is_verified() {
    let fleet = Fleet::start(4, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
        settings.data_server_lease_ms = 500;
    })
    .await;
    let [one, _] = fleet.file([1, 2]).await;
    let admin = fleet.admin();
    let file = admin.verify(b"/file").await.unwrap();
    assert_eq!((file.words.as_str(), file.inline, file.copies, file.next), ("", false, 1, None));
    let hot = |at: usize| (file.extents[at].state, file.extents[at].home.server, file.extents[at].survives);
    assert_eq!([hot(0), hot(1)], [(ExtentState::Hot, 1, Some(0)), (ExtentState::Hot, 2, Some(0))]);
    assert!(file.extents.iter().all(|extent| extent.whole && extent.image.is_none()));
    let image = shown(7, one, 5);
    fleet.word(1, image).await;
    until!(fleet.word(1, image).await == ImageWord::Use);
    let waiting = &admin.verify(b"/file").await.unwrap().extents[0];
    assert_eq!((waiting.state, waiting.survives), (ExtentState::Hot, Some(0)), "it is not in use yet");
    assert_eq!(fleet.word(1, fleet::used(image)).await, ImageWord::Keep);
    let rests = &admin.verify(b"//file").await.unwrap().extents[0];
    assert_eq!((rests.state, rests.survives, rests.whole), (ExtentState::AtRest, Some(1), true));
    let at = rests.image.clone().unwrap();
    assert_eq!((at.image, at.sequence, at.data, at.parity, at.slot), ([7; 16], 5, 2, 1, 0));
    assert_eq!((at.holders[0].server, at.holders[1].server), (1, 0), "no other image came in time");
    fleet.thaw(1, one, 6).await.unwrap();
    let thawed = &admin.verify(b"/file").await.unwrap().extents[0];
    assert_eq!((thawed.state, thawed.survives), (ExtentState::Sealed, Some(0)));
    assert!(fleet.admin().drain(1, true).await.unwrap().done);
    let draining = &admin.verify(b"/file").await.unwrap().extents[0];
    assert_eq!((draining.home.state, draining.whole), (HolderState::Draining, false));
    fleet.silence(2);
    until!(admin.verify(b"/file").await.unwrap().extents[1].survives.is_none());
    for (path, words) in
        [("/none", "no such file"), ("/", "regular"), ("file", "begins with /"), ("/file/a", "directory")]
    {
        let file = admin.verify(path.as_bytes()).await.unwrap();
        assert!(file.words.contains(words) && file.extents.is_empty(), "{path}: {}", file.words);
    }
}
