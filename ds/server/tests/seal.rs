//! Extents that rest become images, groups protect them, journals drop them, and every byte
//! stays what it was: over data servers in memory that die, and a modelled metadata server.
//!
//! Spec: docs/protocol/seal.md.

#![allow(clippy::unwrap_used, reason = "only tests are here")]
#![allow(dead_code, reason = "the cluster has more than is used here")]

mod bed;
#[path = "seal/cluster.rs"]
mod cluster;
#[path = "seal/model.rs"]
mod model;

use cluster::Cluster;
use env::memory::Crash;
use env::{Clock, Disk, OpenMode};
use futures_util::future::join_all;
use layout::ec::{ImageId, Profile};
use model::{FRAME, Model, noise};
use wire_nfs::control::copies::KeptBy;
use wire_nfs::control::images::ImageWord;
use wire_nfs::control::{Procedure, Refusal};
use wire_nfs::v3::Nfsstat3;

/// Two extents, primaries 1 and 2, replicas 2 and 3, in a 2+1 group whose parity is on 4; all in
/// use.
async fn sealed() -> (Cluster, [Model; 2], [ImageId; 2], u64) {
    let mut cluster = Cluster::new(4).await;
    let first = Model::new(&cluster, 1, 1, &[2]).await;
    let second = Model::new(&cluster, 2, 2, &[3]).await;
    let images = [cluster.sealed(first.extent).await, cluster.sealed(second.extent).await];
    let group = cluster.group(Profile::TwoPlusOne, &images, &[4]).await;
    cluster.used(images[0]).await;
    cluster.used(images[1]).await;
    (cluster, [first, second], images, group)
}

#[tokio::test]
async fn what_rests_leaves_the_journals() {
    let (mut cluster, models, images, _) = sealed().await;
    for server in [1, 2, 3] {
        cluster.until_so("the journal is freed", || cluster.journal_bytes(server) < 4_096).await;
    }
    for model in &models {
        model.check(&cluster, "sealed").await;
    }
    assert_eq!(cluster.files(1).await, [format!("{}.img", images[0])]);
    assert_eq!((cluster.files(3).await.len(), cluster.files(4).await.len()), (0, 1));
    for server in 1..=4 {
        cluster.restart(server).await;
    }
    for model in &models {
        model.check(&cluster, "after a restart").await;
    }
    for server in 1..=4 {
        cluster.crash(server, Crash::Drop).await;
    }
    for model in &models {
        model.check(&cluster, "after a crash").await;
    }
    let read_here = (1..=4).map(|server| cluster.count(server, "shoal_image_rebuilt_reads")).sum::<u64>();
    assert_eq!(read_here, 0, "homes read their own images");
    // All are shown again after a start, and a primary says once more that its set uses them.
    cluster.log.lock().unwrap().used.clear();
    cluster.restart(1).await;
    cluster.used(images[0]).await;
}

#[tokio::test]
async fn before_its_group_is_there_nothing_is_dropped() {
    let mut cluster = Cluster::new(3).await;
    let mut model = Model::new(&cluster, 1, 1, &[2]).await;
    let image = cluster.sealed(model.extent).await;
    let held = cluster.journal_bytes(1);
    assert!(model.bytes.len() as u64 / 2 < held);
    cluster.clock.advance_ms(100_000);
    cluster.until("it waits", |log| (3 < log.said.len()).then_some(())).await;
    assert_eq!(cluster.journal_bytes(1), held);
    assert!(cluster.log.lock().unwrap().said.iter().all(|said| *said == (image, ImageWord::Wait)));
    // A cut makes it useless.
    model.cut(&cluster, 2 * FRAME).await;
    cluster.until("deleted", |log| log.said.contains(&(image, ImageWord::Delete)).then_some(())).await;
    model.check(&cluster, "cut").await;
    cluster.log.lock().unwrap().waiting.clear();
    let again = cluster.sealed(model.extent).await;
    assert_ne!(again, image);
    cluster.until_so("its file is gone", || cluster.count(1, "shoal_images_deleted") == 1).await;
    cluster.crash(1, Crash::Drop).await;
    model.check(&cluster, "after a crash").await;
}

#[tokio::test]
async fn a_dead_primary_s_image_is_computed() {
    let (mut cluster, mut models, images, group) = sealed().await;
    cluster.lose(1);
    models[0].check(&cluster, "at the backup").await;
    assert!(0 < cluster.count(2, "shoal_image_rebuilt_reads"));
    models[0].write(&cluster, 2 * FRAME + 9, &noise(77, 5_000)).await;
    models[0].check(&cluster, "written over").await;
    // It is made again elsewhere, and read from there.
    cluster.rebuild(group, 0, 3).await.unwrap();
    assert_eq!(cluster.files(3).await, [format!("{}.img", images[0])]);
    cluster.rebuild(group, 0, 3).await.unwrap();
    cluster.lose(4);
    cluster.restart(2).await;
    models[0].check(&cluster, "from where it was made again").await;
    assert!(0 < cluster.count(2, "shoal_image_remote_reads"));
    models[1].check(&cluster, "the other one").await;
    // Parity, too.
    assert_eq!(cluster.rebuild(group, 2, 3).await, Ok(()));
}

#[tokio::test]
async fn repair_keeps_its_pace() {
    let mut cluster = Cluster::new(4).await;
    cluster.repair_bytes_per_s = 64 << 10;
    cluster.restart(3).await;
    let one = Model::new(&cluster, 1, 1, &[2]).await;
    let image = cluster.sealed(one.extent).await;
    let group = cluster.group(Profile::TwoPlusOne, &[image], &[4]).await;
    cluster.lose(1);
    let began_ms = cluster.clock.monotonic_ms();
    cluster.rebuild(group, 0, 3).await.unwrap();
    let took_ms = cluster.clock.monotonic_ms() - began_ms;
    let name = format!("/ds/images/{image}.img");
    let disk = &cluster.nodes[2].disk;
    let file = disk.open(name.as_ref(), OpenMode::READ).await.unwrap();
    let bytes = file.len().await.unwrap();
    assert!(128 << 10 < bytes && bytes * 1_000 / (64 << 10) <= took_ms, "{bytes} bytes in {took_ms} ms");
}

/// Of a server that is to be empty: no other server could give this one back.
#[tokio::test]
async fn an_image_that_can_be_read_is_moved_as_it_is() {
    let (mut cluster, models, images, group) = sealed().await;
    cluster.lose(4);
    assert!(cluster.rebuild(group, 1, 3).await.is_ok(), "its home is alive");
    assert_eq!(cluster.files(3).await, [format!("{}.img", images[1])]);
    for model in &models {
        model.check(&cluster, "after one was moved").await;
    }
}

#[tokio::test]
async fn an_image_that_is_moved_and_is_not_right_is_computed() {
    let (mut cluster, models, images, group) = sealed().await;
    let file = format!("{}.img", images[0]);
    cluster.nodes[0].disk.corrupt(format!("/ds/images/{file}").as_ref(), 70_000, 8);
    cluster.rebuild(group, 0, 3).await.unwrap();
    assert_eq!(cluster.files(3).await, [file]);
    cluster.lose(1);
    models[0].check(&cluster, "from where it was made again").await;
}

#[tokio::test]
async fn too_few_are_an_error_and_no_wrong_bytes() {
    let (mut cluster, mut models, _, group) = sealed().await;
    cluster.lose(1);
    cluster.lose(4);
    let [first, second] = &mut models;
    assert_eq!(cluster.read(first.extent, FRAME, 10).await, Err(Nfsstat3::Jukebox), "they may come back");
    assert!(cluster.read(first.extent, 0, 10 * FRAME).await.is_err());
    assert_eq!(cluster.rebuild(group, 0, 3).await, Err(Refusal::Busy));
    assert!(cluster.files(3).await.is_empty());
    second.check(&cluster, "the other one").await;
    // What is written can be read.
    first.write(&cluster, FRAME, &noise(5, FRAME)).await;
    assert!(cluster.read(first.extent, FRAME, FRAME).await.unwrap() == noise(5, FRAME));
    assert!(cluster.read(first.extent, FRAME, FRAME + 1).await.is_err());
}

#[tokio::test]
async fn a_damaged_frame_is_computed_and_mended() {
    let (mut cluster, models, images, _) = sealed().await;
    let path = format!("/ds/images/{}.img", images[0]);
    for at in [64 + 10, 64 + 2 * FRAME as u64] {
        cluster.nodes[0].disk.corrupt(path.as_ref(), at, 1);
    }
    models[0].check(&cluster, "with two bad frames").await;
    assert!(0 < cluster.count(1, "shoal_bad_images") && 0 < cluster.count(1, "shoal_image_rebuilt_reads"));
    cluster.until_so("mended", || cluster.count(1, "shoal_mended_images") == 1).await;
    cluster.lose(4);
    cluster.lose(3);
    models[0].check(&cluster, "mended").await;
    // A file that is no image at all, and no server to help.
    let file = cluster.nodes[0].disk.open(path.as_ref(), OpenMode::WRITE).await.unwrap();
    file.set_len(100).await.unwrap();
    cluster.restart(1).await;
    assert!(cluster.read(models[0].extent, FRAME, 10).await.is_err());
}

#[tokio::test]
async fn written_over_cut_and_sealed_again() {
    let (mut cluster, mut models, images, _) = sealed().await;
    let [first, second] = &mut models;
    first.write(&cluster, 3 * FRAME, &noise(9, 2 * FRAME)).await;
    first.check(&cluster, "written over").await;
    first.cut(&cluster, 4 * FRAME + 5).await;
    first.check(&cluster, "cut").await;
    first.write(&cluster, 6 * FRAME, &noise(10, FRAME)).await;
    second.write(&cluster, 0, &noise(11, 3 * FRAME)).await;
    let again = [cluster.sealed(first.extent).await, cluster.sealed(second.extent).await];
    assert!(!again.contains(&images[0]) && !again.contains(&images[1]));
    cluster.group(Profile::TwoPlusOne, &again, &[4]).await;
    cluster.used(again[0]).await;
    cluster.used(again[1]).await;
    // No extent needs the first group any more.
    let gone = |server, deleted| {
        let cluster = &cluster;
        async move {
            cluster
                .until_so("old images go", || cluster.count(server, "shoal_images_deleted") == deleted)
                .await;
        }
    };
    gone(1, 1).await;
    gone(2, 1).await;
    gone(4, 1).await;
    for (model, what) in [(&*first, "first"), (&*second, "second")] {
        model.check(&cluster, what).await;
    }
    for server in [1, 2, 3] {
        cluster.until_so("the journal is freed", || cluster.journal_bytes(server) < 4_096).await;
    }
    cluster.lose(2);
    first.check(&cluster, "the first at its home").await;
    second.check(&cluster, "the second at its backup").await;
}

#[tokio::test]
async fn a_client_that_comes_back_wins() {
    let mut cluster = Cluster::new(2).await;
    cluster.seal_bytes_per_s = 64 << 10;
    cluster.restart(1).await;
    let mut model = Model::new(&cluster, 1, 1, &[2]).await;
    let is_writing = || {
        let disk = cluster.nodes[0].disk.clone();
        async move {
            let names = Disk::list(&disk, "/ds/images".as_ref()).await.unwrap();
            names.iter().any(|name| name.ends_with(".new"))
        }
    };
    for _ in 0..100_000 {
        if is_writing().await {
            break;
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert!(is_writing().await, "it is being sealed");
    model.write(&cluster, 3 * FRAME, b"once more").await;
    cluster.until_so("given up", || cluster.count(1, "shoal_seals_given_up") == 1).await;
    assert!(cluster.log.lock().unwrap().waiting.is_empty() && cluster.files(1).await.is_empty());
    model.check(&cluster, "given up").await;
    let image = cluster.sealed(model.extent).await;
    cluster.group(Profile::TwoCopies, &[image], &[2]).await;
    cluster.used(image).await;
    model.check(&cluster, "sealed after all").await;
    // Copies: the second server has the same file, and serves it when the first is gone.
    assert_eq!(cluster.files(2).await, cluster.files(1).await);
    cluster.lose(1);
    model.check(&cluster, "from the copy").await;
    model.write(&cluster, 0, b"and again").await;
    model.check(&cluster, "from the copy, written over").await;
}

#[tokio::test]
async fn a_new_replica_is_told_the_image() {
    let (mut cluster, mut models, images, _) = sealed().await;
    models[0].write(&cluster, 2 * FRAME + 1, &noise(8, 1_000)).await;
    cluster.lose(2);
    {
        let mut log = cluster.log.lock().unwrap();
        let record = log.extents.get_mut(&models[0].extent).unwrap();
        record.epoch += 1;
        record.backups = vec![KeptBy { server: 3, since: record.epoch, filling: true }];
    }
    let set = cluster.log.lock().unwrap().set(models[0].extent);
    cluster.control::<wire_nfs::control::Nothing>(1, Procedure::Keep, &set).await.unwrap();
    cluster.until("filled", |log| (!log.extents[&models[0].extent].backups[0].filling).then_some(())).await;
    assert!(cluster.journal_bytes(3) < FRAME as u64, "the image was named, not sent");
    cluster.commit(models[0].extent).await;
    cluster.log.lock().unwrap().used.remove(&images[0]);
    cluster.restart(1).await;
    cluster.used(images[0]).await;
    models[0].check(&cluster, "at the home").await;
    // The primary's image is all that is left of the group's two members: without it nothing can be
    // read.
    let (_, slots) =
        cluster.log.lock().unwrap().places(images[0]).map(|(g, s)| (g.shape().group(), s)).unwrap();
    assert_eq!(slots, [0]);
    {
        let mut log = cluster.log.lock().unwrap();
        let record = log.extents.get_mut(&models[0].extent).unwrap();
        record.epoch += 1;
        record.home = 3;
        record.backups = Vec::new();
    }
    models[0].check(&cluster, "at the new backup, through the old home").await;
    assert!(0 < cluster.count(3, "shoal_image_remote_reads"));
}

#[tokio::test]
async fn a_group_of_altered_or_missing_members_is_not_made() {
    let mut cluster = Cluster::new(4).await;
    let first = Model::new(&cluster, 1, 1, &[2]).await;
    let second = Model::new(&cluster, 2, 2, &[3]).await;
    let images = [cluster.sealed(first.extent).await, cluster.sealed(second.extent).await];
    let (mut draft, homes) = cluster.draft(Profile::TwoPlusOne, &images, &[4]);
    let member = draft.members[1].as_mut().unwrap();
    member.sum.0[5] ^= 1;
    assert_eq!(cluster.encode(&draft, &homes, &[4]).await, Err(Refusal::NoImage));
    let (draft, homes) = cluster.draft(Profile::TwoPlusOne, &images, &[4]);
    assert_eq!(cluster.encode(&draft, &[3, homes[1]], &[4]).await, Err(Refusal::NoImage), "not there");
    assert!(cluster.files(4).await.is_empty());
    // ENCODE may be asked again, with the same images.
    let shape = cluster.encode(&draft, &homes, &[4]).await.unwrap();
    assert_eq!(cluster.encode(&draft, &homes, &[4]).await, Ok(shape.clone()));
    // A group that is never entered: its parity goes.
    cluster.log.lock().unwrap().forget_making();
    cluster.until_so("deleted", || cluster.count(4, "shoal_images_deleted") == 1).await;
    first.check(&cluster, "first").await;
    second.check(&cluster, "second").await;
}

/// The primary's disk loses power after each so many of its writes and flushes while its extent is
/// sealed and put into use.
#[tokio::test]
async fn the_primary_dies_at_every_point() {
    for after in (0..40).step_by(4) {
        let mut cluster = Cluster::new(3).await;
        let model = Model::new(&cluster, 1, 1, &[2]).await;
        cluster.nodes[0].disk.cut_power_after(after);
        let deadline_ms = env::Clock::monotonic_ms(&cluster.clock) + 20_000;
        let mut grouped = false;
        while env::Clock::monotonic_ms(&cluster.clock) < deadline_ms {
            let waiting = cluster.log.lock().unwrap().waiting.keys().next().copied();
            if let Some(image) = waiting.filter(|_| !grouped) {
                grouped = true;
                let (draft, homes) = cluster.draft(Profile::TwoPlusOne, &[image], &[3]);
                if let Ok(shape) = cluster.encode(&draft, &homes, &[3]).await {
                    cluster.enter(shape, &homes, &[3]);
                }
            }
            tokio::task::yield_now().await;
        }
        if after % 8 == 0 {
            cluster.crash(1, Crash::Drop).await;
            model.check(&cluster, &format!("after {after} acts, at the home")).await;
        }
        cluster.lose(1);
        model.check(&cluster, &format!("after {after} acts, at the backup")).await;
    }
}

/// Several windows, two parity images of which one is on another server, and two losses.
#[tokio::test]
async fn a_wide_group_loses_two() {
    let mut cluster = Cluster::new(6).await;
    let mut models = Vec::new();
    for (index, home, backup) in [(1, 1, 3), (2, 2, 3), (3, 4, 3)] {
        let mut model = Model::new(&cluster, index, home, &[backup]).await;
        let seed = u8::try_from(index).unwrap();
        let bytes = 2_000_000 + 300_001 * index as usize;
        model.write(&cluster, 11 * FRAME + 5, &noise(100 + seed, bytes)).await;
        models.push(model);
    }
    let mut images = Vec::new();
    for model in &models {
        images.push(cluster.sealed(model.extent).await);
    }
    let group = cluster.group(Profile::FourPlusTwo, &images, &[5, 6]).await;
    for image in &images {
        cluster.used(*image).await;
    }
    assert_eq!((cluster.files(5).await.len(), cluster.files(6).await.len()), (1, 1));
    cluster.until_so("the journal is freed", || cluster.journal_bytes(3) < 4_096).await;
    cluster.lose(1);
    cluster.lose(2);
    for model in &models {
        model.check(&cluster, "with two servers less").await;
    }
    // A member and a parity image are made again; then two others may go.
    cluster.rebuild(group, 0, 3).await.unwrap();
    let before = cluster.files(5).await;
    cluster.nodes[4].disk.corrupt(format!("/ds/images/{}", before[0]).as_ref(), 70_000, 8);
    cluster.rebuild(group, 4, 5).await.unwrap();
    assert_eq!(cluster.files(5).await, before);
    cluster.lose(6);
    for model in &models {
        model.check(&cluster, "with another two less").await;
    }
    cluster.lose(4);
    // What it computed is still known.
    models[1].check(&cluster, "with three less").await;
    cluster.restart(3).await;
    models[0].check(&cluster, "it is here").await;
    assert_eq!(models[1].read(&cluster).await.err(), Some(Nfsstat3::Jukebox), "three are too many");
}

/// A source of choices, the same for each seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % end as u64).unwrap()
    }
}

/// Two extents on two servers that are written, cut, sealed, put into use, crashed and given to
/// each other in any order: each byte is always what was written last.
#[tokio::test]
async fn whatever_happens_in_whatever_order() {
    let (mut used, mut adopted) = (0, 0);
    for seed in 0..SEEDS {
        let mut cluster = Cluster::new(4).await;
        let mut seen = std::collections::BTreeSet::new();
        let mut chance = Chance(seed * 7 + 3);
        let mut models = vec![Model::new(&cluster, 1, 1, &[2]).await, Model::new(&cluster, 2, 2, &[1]).await];
        for step in 0..30 {
            let what = act(&mut cluster, &mut chance, &mut models).await;
            for model in &models {
                model.check(&cluster, &format!("seed {seed}, step {step}, {what}")).await;
            }
            seen.extend(cluster.log.lock().unwrap().used.iter().copied());
        }
        used += seen.len();
        // Both primaries, and what only they have, go.
        cluster.settle_sets().await;
        for model in &models {
            cluster.commit(model.extent).await;
        }
        if seed % 2 == 1 {
            for model in &models {
                cluster.seal(model.extent).await;
                cluster.put_into_use(model.extent).await;
            }
            models[0].write(&cluster, 0, &noise(1, seed as usize)).await;
        } else {
            // Before any image says it, and not told with THAW.
            cluster.seal(models[1].extent).await;
            models[1].write(&cluster, 0, &noise(1, 100)).await;
            cluster.put_into_use(models[1].extent).await;
        }
        cluster.lose(1);
        for model in &models {
            model.check(&cluster, &format!("seed {seed}, at the end")).await;
        }
        // And the other one. An extent of which its primary said that its image is all of it goes
        // on elsewhere.
        cluster.lose(2);
        for model in &models {
            if cluster.log.lock().unwrap().at_rest(model.extent).is_some() {
                let adopt = cluster.adoption(model.extent, 3, 64 << 20);
                cluster.adopt(3, &adopt).await.unwrap();
                model.check(&cluster, &format!("seed {seed}, adopted")).await;
                adopted += 1;
            }
        }
    }
    assert!(SEEDS as usize <= used, "{used} images came into use");
    assert!(0 < adopted && adopted < 2 * SEEDS, "{adopted}");
}

const SEEDS: u64 = 8;

async fn act(cluster: &mut Cluster, chance: &mut Chance, models: &mut [Model]) -> &'static str {
    let model = &mut models[chance.below(2)];
    match chance.below(8) {
        0 | 1 => {
            let at = chance.below(8 * FRAME);
            let (seed, length) = (u8::try_from(chance.below(256)).unwrap(), 1 + chance.below(2 * FRAME));
            model.write(cluster, at, &noise(seed, length)).await;
            "written"
        }
        2 => {
            let keep = chance.below(model.bytes.len() + 1);
            model.cut(cluster, keep).await;
            "cut"
        }
        3 => {
            let until_ms = env::Clock::monotonic_ms(&cluster.clock) + [100, 2_500][chance.below(2)];
            cluster.until_so("time passes", || until_ms < env::Clock::monotonic_ms(&cluster.clock)).await;
            cluster.group_what_waits().await;
            "grouped, and perhaps not in use yet"
        }
        4 => {
            cluster.seal(model.extent).await;
            cluster.put_into_use(model.extent).await;
            "sealed and in use"
        }
        5 => {
            cluster.seal(model.extent).await;
            for _ in 0..1 + chance.below(3) {
                let at = chance.below(4 * FRAME);
                model.write(cluster, at, &noise(3, 1 + chance.below(FRAME))).await;
            }
            cluster.put_into_use(model.extent).await;
            "sealed, written, and in use"
        }
        6 => {
            let server = 1 + u32::try_from(chance.below(2)).unwrap();
            let crash = match chance.below(3) {
                0 => Crash::Drop,
                1 => Crash::Keep,
                _ => Crash::Tear { seed: chance.0 },
            };
            cluster.crash(server, crash).await;
            "crashed"
        }
        _ => {
            cluster.settle_sets().await;
            cluster.fail_over(model.extent).await;
            "failed over"
        }
    }
}

/// More groups than a server makes at once: they are made one after the other, and none is refused.
#[tokio::test]
async fn groups_asked_for_together_wait_for_their_turn() {
    let mut cluster = Cluster::new(4).await;
    let asked = 2 * ds_server::limits::IMAGE_WORKS_MAX + 1;
    let (mut images, mut models) = (Vec::new(), Vec::new());
    for index in 0..asked {
        let home = u32::try_from(index % 2).unwrap() + 1;
        let model = Model::new(&cluster, u32::try_from(index).unwrap() + 1, home, &[3]).await;
        images.push(cluster.sealed(model.extent).await);
        models.push(model);
    }
    let drafts: Vec<_> =
        images.iter().map(|image| cluster.draft(Profile::TwoPlusOne, &[*image], &[4])).collect();
    let made = join_all(drafts.iter().map(|(draft, homes)| cluster.encode(draft, homes, &[4]))).await;
    for ((_, homes), shape) in drafts.iter().zip(made) {
        cluster.enter(shape.unwrap(), homes, &[4]);
    }
    for (image, model) in images.iter().zip(&models) {
        cluster.used(*image).await;
        model.check(&cluster, "sealed together").await;
    }
}

/// A cluster that clients have filled seals itself smaller, and takes new bytes again.
/// Spec: docs/protocol/seal.md §13.
#[tokio::test]
async fn a_full_cluster_seals_itself_smaller() {
    const MIB: usize = 1 << 20;
    let mut cluster = Cluster::with_capacity(4, 64 * MIB as u64).await;
    let mut extents = Vec::new();
    'full: for index in 1_u8.. {
        let one = cluster::extent(u32::from(index));
        let home = u32::from(index % 2) + 1;
        cluster.place(one, home, &[3 - home]);
        extents.push(one);
        for part in 0..2 {
            match cluster.try_write(one, part * MIB, &noise(index, MIB)).await {
                Ok(()) => {}
                Err(Nfsstat3::Nospc) => break 'full,
                Err(status) => panic!("{status:?}"),
            }
        }
    }
    assert!(16 < extents.len(), "{}", extents.len());
    let usage = |cluster: &Cluster, id: usize| cluster.nodes[id - 1].server.as_ref().unwrap().usage();
    let small = |cluster: &Cluster| {
        [1, 2].map(|id| usage(cluster, id)).iter().all(|one| 3 * one.used_bytes < 2 * one.capacity_bytes)
    };
    assert!(!small(&cluster));
    for one in extents.iter().cycle().take(3 * extents.len()) {
        cluster.seal(*one).await;
        cluster.put_into_use(*one).await;
        if small(&cluster) {
            break;
        }
    }
    assert!(small(&cluster), "{:?}", [1, 2].map(|id| usage(&cluster, id)));
    let new = cluster::extent(200);
    cluster.place(new, 1, &[2]);
    cluster.write(new, 0, &noise(7, 4 * MIB)).await;
    for (index, one) in (1_u8..).zip(&extents[..extents.len() - 1]) {
        let whole = [noise(index, MIB), noise(index, MIB)].concat();
        assert!(cluster.read(*one, 0, 2 * MIB).await.unwrap() == whole, "{index}");
    }
}
