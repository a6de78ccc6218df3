//! What lies above an image is told before it is written, and an extent of which only its image is
//! left gets another primary.
//!
//! Spec: docs/protocol/seal.md §2, §8, §9.

#![allow(clippy::unwrap_used, reason = "only tests are here")]
#![allow(dead_code, reason = "the cluster has more than is used here")]

mod bed;
#[path = "seal/cluster.rs"]
mod cluster;
#[path = "seal/model.rs"]
mod model;

use cluster::{Cluster, Refusing, Thaws, extent};
use ds_server::limits::SETTLE_MS_MAX;
use env::Clock;
use env::memory::Crash;
use futures_util::future::join_all;
use layout::ec::{ImageId, Profile};
use model::{FRAME, Model, noise};
use wire_nfs::control::copies::KeptBy;
use wire_nfs::control::images::ImageWord;
use wire_nfs::control::{Nothing, Procedure};
use wire_nfs::v3::Nfsstat3;

/// An extent whose primary is 1 and replica 2, and another one, in a group whose parity is on 5 and
/// 6: it survives that both are lost.
async fn at_rest(servers: u32) -> (Cluster, Model, ImageId) {
    let mut cluster = Cluster::new(servers).await;
    let first = Model::new(&cluster, 1, 1, &[2]).await;
    let (model, image, _) = grouped(&mut cluster, first).await;
    (cluster, model, image)
}

/// Seals it, groups it with another one, and waits until the image is used.
async fn grouped(cluster: &mut Cluster, model: Model) -> (Model, ImageId, u64) {
    let other = Model::new(cluster, 2, 3, &[]).await;
    let images = [cluster.sealed(model.extent).await, cluster.sealed(other.extent).await];
    let group = cluster.group(Profile::FourPlusTwo, &images, &[5, 6]).await;
    for image in images {
        cluster.used(image).await;
    }
    (model, images[0], group)
}

fn thaws(cluster: &Cluster) -> usize {
    cluster.log.lock().unwrap().thaws.len()
}

fn thaws_are(cluster: &Cluster, are: Thaws) {
    cluster.log.lock().unwrap().thaws_are = are;
}

#[tokio::test]
async fn a_write_above_an_image_is_not_answered_nor_kept_before_thaw_is() {
    let (mut cluster, mut model, image) = at_rest(6).await;
    assert!(cluster.log.lock().unwrap().at_rest(model.extent).is_some());
    assert_eq!(thaws(&cluster), 0, "below an image nothing is told");
    thaws_are(&cluster, Thaws::Held);
    let held = [cluster.journal_bytes(1), cluster.journal_bytes(2)];
    let data = noise(7, 5_000);
    {
        let writing = cluster.try_write(model.extent, FRAME, &data);
        tokio::pin!(writing);
        tokio::select! {
            biased;
            written = &mut writing => panic!("{written:?}"),
            () = async { cluster.until("told", |log| (log.thaws.len() == 1).then_some(())).await; cluster.turns().await; } => {}
        }
        assert_eq!([cluster.journal_bytes(1), cluster.journal_bytes(2)], held, "and nothing is kept");
        // FENCE and CUT do not wait for it.
        cluster.fence(1, model.extent, 1).await;
        thaws_are(&cluster, Thaws::Answered);
        writing.await.unwrap();
    }
    assert!(cluster.log.lock().unwrap().at_rest(model.extent).is_none());
    model.bytes[FRAME..FRAME + 5_000].copy_from_slice(&data);
    model.check(&cluster, "written").await;
    let (_, sequence) = cluster.log.lock().unwrap().thaws[0];
    let below = cluster.log.lock().unwrap().shown[&image].sequence;
    assert!(below < sequence);
    model.write(&cluster, 0, b"once more").await;
    assert_eq!((thaws(&cluster), cluster.count(1, "shoal_images_thawed")), (1, 1), "once is enough");
    // A server that is started again does not know that it was told.
    cluster.restart(1).await;
    model.write(&cluster, 9, b"and more").await;
    model.write(&cluster, 9, b"and more").await;
    assert_eq!(thaws(&cluster), 2);
    // What has no image owes nothing; another image is another matter.
    let other = Model::new(&cluster, 3, 4, &[2]).await;
    assert_eq!(thaws(&cluster), 2);
    drop(other);
    let again = cluster.sealed(model.extent).await;
    cluster.group(Profile::TwoCopies, &[again], &[3]).await;
    cluster.used(again).await;
    assert!(cluster.log.lock().unwrap().at_rest(model.extent).is_some(), "at rest again");
    model.write(&cluster, 9, b"and on").await;
    assert_eq!(thaws(&cluster), 3);
    model.check(&cluster, "in the end").await;
}

#[tokio::test]
async fn a_hundred_writes_cause_one_thaw() {
    let (cluster, model, _) = at_rest(6).await;
    thaws_are(&cluster, Thaws::Held);
    let one = |at: usize| cluster.try_write(model.extent, at * 100, b"a hundred");
    let writing = join_all((0..100).map(one));
    tokio::pin!(writing);
    tokio::select! {
        biased;
        _ = &mut writing => panic!("none may be answered"),
        () = async { cluster.until("told", |log| (log.thaws.len() == 1).then_some(())).await; cluster.turns().await; } => {}
    }
    thaws_are(&cluster, Thaws::Answered);
    assert!(writing.await.iter().all(Result::is_ok));
    assert_eq!(thaws(&cluster), 1);
}

#[tokio::test]
async fn a_primary_that_is_none_any_more_is_told_so() {
    let (cluster, model, _) = at_rest(6).await;
    let before = model.read(&cluster).await.unwrap();
    thaws_are(&cluster, Thaws::Refused(Refusing::NotHome));
    assert_eq!(cluster.try_write(model.extent, 0, b"too late").await, Err(Nfsstat3::Stale));
    assert_eq!(cluster.try_write(model.extent, 0, b"too late").await, Err(Nfsstat3::Stale));
    assert_eq!(cluster.read(model.extent, 0, 10).await, Err(Nfsstat3::Stale), "its handles are refused");
    assert_eq!(thaws(&cluster), 1, "and need not be asked about");
    // It is primary once more, at a higher epoch.
    thaws_are(&cluster, Thaws::Answered);
    cluster.log.lock().unwrap().extents.get_mut(&model.extent).unwrap().epoch += 1;
    assert!(model.read(&cluster).await.unwrap() == before, "nothing of it was written");
    cluster.try_write(model.extent, 0, b"in time").await.unwrap();
    assert_eq!(thaws(&cluster), 2);
}

#[tokio::test]
async fn without_a_metadata_server_that_could_be_told_a_write_waits() {
    let (cluster, mut model, _) = at_rest(6).await;
    let before = model.read(&cluster).await.unwrap();
    for are in [Thaws::Lost, Thaws::Refused(Refusing::Busy)] {
        thaws_are(&cluster, are);
        let (began_ms, told) = (cluster.clock.monotonic_ms(), thaws(&cluster));
        assert_eq!(cluster.try_write(model.extent, 0, b"too early").await, Err(Nfsstat3::Jukebox));
        let waited_ms = cluster.clock.monotonic_ms() - began_ms;
        assert!((SETTLE_MS_MAX..SETTLE_MS_MAX + 2_000).contains(&waited_ms), "{waited_ms}");
        assert!(told + 1 < thaws(&cluster), "it was tried again");
        assert!(model.read(&cluster).await.unwrap() == before, "{are:?}");
    }
    thaws_are(&cluster, Thaws::Answered);
    model.write(&cluster, 0, b"in time").await;
    model.check(&cluster, "told at last").await;
}

/// WRITEs that hide every byte of an image leave no server that knows of the THAW that is due,
/// unless they wait.
#[tokio::test]
async fn an_image_that_is_about_to_be_written_over_altogether() {
    let (mut cluster, model, _) = at_rest(6).await;
    thaws_are(&cluster, Thaws::Lost);
    let all = noise(9, model.bytes.len());
    assert_eq!(cluster.try_write(model.extent, 0, &all).await, Err(Nfsstat3::Jukebox));
    cluster.crash(1, Crash::Keep).await;
    cluster.log.lock().unwrap().thaws.clear();
    thaws_are(&cluster, Thaws::Answered);
    cluster.write(model.extent, 0, b"a few").await;
    assert_eq!(thaws(&cluster), 1);
    cluster.write(model.extent, 0, &all).await;
    cluster.write(model.extent, 0, b"a few").await;
    assert_eq!(thaws(&cluster), 1);
    assert!(cluster.log.lock().unwrap().at_rest(model.extent).is_none());
    // The replica that becomes primary has that from its primary, or the image.
    cluster.commit(model.extent).await;
    cluster.lose(1);
    cluster.write(model.extent, 0, b"less").await;
    assert!(cluster.log.lock().unwrap().at_rest(model.extent).is_none());
}

#[tokio::test]
async fn a_used_image_is_shown_with_what_lies_above_it() {
    let (mut cluster, mut model, image) = at_rest(6).await;
    assert_eq!(cluster.log.lock().unwrap().used_at[&image], 0);
    model.write(&cluster, 5, b"above").await;
    let told = cluster.log.lock().unwrap().thaws[0].1;
    cluster.log.lock().unwrap().used.clear();
    cluster.restart(1).await;
    cluster.used(image).await;
    assert!(told <= cluster.log.lock().unwrap().used_at[&image]);
    // Written between sealing and USE: no image was in use, so no metadata server was told but by
    // USED.
    cluster.log.lock().unwrap().thaws.clear();
    let again = cluster.sealed(model.extent).await;
    let (draft, homes) = cluster.draft(Profile::TwoCopies, &[again], &[3]);
    let shape = cluster.encode(&draft, &homes, &[3]).await.unwrap();
    let sequence = cluster.log.lock().unwrap().shown[&again].sequence;
    model.write(&cluster, 5, b"between").await;
    cluster.enter(shape, &homes, &[3]);
    cluster.used(again).await;
    assert!(sequence < cluster.log.lock().unwrap().used_at[&again]);
    assert!(cluster.log.lock().unwrap().at_rest(model.extent).is_none());
    model.check(&cluster, "above").await;
}

/// The primary dies before it could say that the image is in use. Its replica has no file of it,
/// and says so.
#[tokio::test]
async fn a_primary_that_was_a_replica_shows_what_it_uses() {
    let mut cluster = Cluster::new(6).await;
    let mut model = Model::new(&cluster, 1, 1, &[2]).await;
    let image = cluster.sealed(model.extent).await;
    cluster.group(Profile::TwoPlusOne, &[image], &[5]).await;
    cluster.until_so("in use", || cluster.count(1, "shoal_images_used") == 1).await;
    assert!(!cluster.log.lock().unwrap().used.contains(&image), "no metadata server knows yet");
    cluster.lose(1);
    let set = {
        let mut log = cluster.log.lock().unwrap();
        let record = log.extents.get_mut(&model.extent).unwrap();
        record.epoch += 1;
        record.backups = vec![KeptBy { server: 3, since: record.epoch, filling: true }];
        log.set(model.extent)
    };
    cluster.control::<Nothing>(2, Procedure::Keep, &set).await.unwrap();
    cluster.used(image).await;
    assert_eq!(cluster.log.lock().unwrap().used_at[&image], 0, "an overlay is nothing above it");
    assert!(cluster.log.lock().unwrap().at_rest(model.extent).is_some());
    assert!(cluster.files(2).await.is_empty() && cluster.log.lock().unwrap().waiting.is_empty());
    // It is made again there, and is shown as what it is.
    let group = *cluster.log.lock().unwrap().groups.keys().next().unwrap();
    cluster.rebuild(group, 0, 2).await.unwrap();
    model.write(&cluster, 0, &noise(8, model.bytes.len())).await;
    let words = |log: &cluster::Log| log.said.iter().filter(|(one, _)| *one == image).count();
    let before = words(&cluster.log.lock().unwrap());
    cluster.until("shown as unused", |log| (before < words(log)).then_some(())).await;
    let (asked, made) = {
        let log = cluster.log.lock().unwrap();
        (log.asked[&image], log.shown[&image])
    };
    assert_eq!(asked, made, "as the file says");
    model.check(&cluster, "in the end").await;
    assert!(
        cluster
            .log
            .lock()
            .unwrap()
            .said
            .iter()
            .all(|(one, word)| (one, word) != (&image, &ImageWord::Delete))
    );
}

async fn check_adopted(cluster: &mut Cluster, model: &mut Model, home: u32, image: ImageId) {
    model.check(cluster, "adopted").await;
    assert!(0 < cluster.count(home, "shoal_image_rebuilt_reads") && cluster.files(home).await.is_empty());
    // A replica joins, and is told the image.
    let set = {
        let mut log = cluster.log.lock().unwrap();
        let record = log.extents.get_mut(&model.extent).unwrap();
        record.epoch += 1;
        record.backups = vec![KeptBy { server: 4, since: record.epoch, filling: true }];
        log.set(model.extent)
    };
    cluster.control::<Nothing>(home, Procedure::Keep, &set).await.unwrap();
    cluster.settle_sets_of(model.extent).await;
    assert!(cluster.journal_bytes(4) < FRAME as u64, "the image was named, not sent");
    let before = thaws(cluster);
    model.write(cluster, 2 * FRAME + 5, &noise(33, FRAME)).await;
    assert_eq!(thaws(cluster), before + 1);
    model.check(cluster, "written above").await;
    let again = cluster.sealed(model.extent).await;
    assert_ne!(again, image);
    cluster.group(Profile::TwoCopies, &[again], &[5]).await;
    cluster.used(again).await;
    cluster.until_so("the journal is freed", || cluster.journal_bytes(home) < 4_096).await;
    cluster.crash(home, Crash::Drop).await;
    model.check(cluster, "sealed again").await;
    cluster.lose(home);
    model.check(cluster, "at the backup").await;
}

/// Primary and replica are gone: a server that never heard of the extent goes on.
#[tokio::test]
async fn an_extent_at_rest_outlives_its_set() {
    let (mut cluster, mut model, image) = at_rest(7).await;
    cluster.lose(2);
    cluster.lose(1);
    assert!(cluster.log.lock().unwrap().at_rest(model.extent).is_some());
    let adopt = cluster.adoption(model.extent, 7, 64 << 20);
    assert_eq!(cluster.adopt(7, &adopt).await, Ok(adopt.epoch));
    cluster.crash(7, Crash::Drop).await;
    assert_eq!(cluster.adopt(7, &adopt).await, Ok(adopt.epoch), "asked again");
    check_adopted(&mut cluster, &mut model, 7, image).await;
}

/// A server that was primary of it long ago, and gave it more sequences than it has now; its DROP
/// was never done.
#[tokio::test]
async fn a_server_that_has_something_else_of_it() {
    for keep in [64 << 20, 2 * FRAME] {
        let mut cluster = Cluster::new(7).await;
        let one = extent(1);
        cluster.place(one, 7, &[]);
        for round in 0..40 {
            cluster.write(one, round * 20_000, &noise(66, 30_000)).await;
        }
        {
            let mut log = cluster.log.lock().unwrap();
            let record = log.extents.get_mut(&one).unwrap();
            (record.home, record.epoch) = (1, 3);
            record.backups = vec![KeptBy { server: 2, since: 3, filling: false }];
        }
        let mut model = Model { extent: one, bytes: Vec::new() };
        model.write(&cluster, FRAME, &noise(1, 3 * FRAME + 100)).await;
        model.write(&cluster, 5 * FRAME + 7, &b"words ".repeat(9_000)).await;
        let (mut model, image, _) = grouped(&mut cluster, model).await;
        assert!(cluster.log.lock().unwrap().shown[&image].sequence < 40);
        cluster.lose(2);
        cluster.lose(1);
        let adopt = cluster.adoption(one, 7, u32::try_from(keep).unwrap());
        model.bytes.truncate(keep);
        // The power goes after each so many acts of its disk; then it is asked again.
        for after in 0..3 {
            cluster.nodes[6].disk.cut_power_after(after);
            let adopted = cluster.adopt(7, &adopt).await;
            cluster.crash(7, Crash::Drop).await;
            if adopted.is_ok() {
                model.check(&cluster, "it was answered").await;
            }
        }
        assert_eq!(cluster.adopt(7, &adopt).await, Ok(adopt.epoch));
        check_adopted(&mut cluster, &mut model, 7, image).await;
    }
}

/// Asked again by a metadata server that was not answered, when clients write by now.
#[tokio::test]
async fn an_adoption_that_is_asked_for_again_undoes_nothing() {
    let (mut cluster, mut model, _) = at_rest(7).await;
    cluster.lose(2);
    cluster.lose(1);
    let adopt = cluster.adoption(model.extent, 7, 64 << 20);
    cluster.adopt(7, &adopt).await.unwrap();
    model.write(&cluster, 100, &noise(3, 1_000)).await;
    assert_eq!(cluster.adopt(7, &adopt).await, Ok(adopt.epoch));
    model.check(&cluster, "asked again").await;
    cluster.crash(7, Crash::Drop).await;
    assert_eq!(cluster.adopt(7, &adopt).await, Ok(adopt.epoch));
    model.check(&cluster, "asked again after a crash").await;
    model.cut(&cluster, 3 * FRAME).await;
    let known = cluster.log.lock().unwrap().extents[&model.extent].epoch;
    assert_eq!(cluster.adopt(7, &adopt).await, Ok(known));
    model.check(&cluster, "asked again after a cut").await;
}
