//! The replies about images, and a metadata server with data servers that only know control calls.

/// Polls a condition, for as long as a loaded machine may need.
macro_rules! until {
    ($so:expr) => {
        for round in 0.. {
            if $so {
                break;
            }
            assert!(round < 600, "it does not become so");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
}

mod admin;
mod balance;
mod drain;
mod failed_disk;
mod fleet;
mod handle_key;
mod join;
mod lost;
mod marks;
mod missed;
mod presence;
mod promise;
mod prove;
mod readers;
mod replicated;
mod sizes;
mod stripes;
mod words;

use layout::ec::{GroupId, Profile};
use mds_namespace::op::seal::groups_from;
use mds_namespace::sealed;
use mds_state::Command;
use mds_state::command::data::{Allocate, Fence};
use wire_nfs::control::Refusal;
use wire_nfs::control::groups::AskGroup;
use wire_nfs::control::images::{ImageWord, Standing};

use fleet::{Fleet, shown};

fn groups(fleet: &Fleet) -> Vec<layout::ec::Group> {
    let view = fleet.server().view().unwrap();
    groups_from(view.namespace(), GroupId(0), 99).unwrap()
}

/// Sealed data survives as many losses as hot copies do.
#[test]
fn the_code_is_never_worse_than_the_copies() {
    let printed = |present, known, copies| super::chosen(present, known, copies).map(|one| one.to_string());
    for (present, known, copies, expected) in [
        (1, 1, 2, Some("1+0")),
        (1, 2, 2, None),
        (1, 2, 1, Some("1+0")),
        (2, 3, 2, Some("1+1")),
        (3, 3, 2, Some("2+1")),
        (3, 3, 3, None),
        (6, 9, 3, Some("4+2")),
        (0, 0, 2, Some("1+0")),
    ] {
        assert_eq!(printed(present, known, copies).as_deref(), expected, "{present} of {known}, {copies}");
    }
}

/// Reported, grouped, used, sealed again, used again: the first group is gone then, and its images
/// may be deleted.
/// Spec: docs/protocol/seal.md §2, §3.
#[tokio::test]
async fn the_life_of_images() {
    let fleet = Fleet::start(3, |settings| settings.seal = true).await;
    let [one, two] = fleet.file([1, 2]).await;
    let (first, second) = (shown(7, one, 5), shown(8, two, 5));
    assert_eq!(fleet.word(1, first).await, ImageWord::Wait);
    assert_eq!(fleet.word(3, first).await, ImageWord::Delete, "not its home");
    until!(fleet.word(1, first).await == ImageWord::Use);
    let made = groups(&fleet);
    assert_eq!(made[0].shape().members().iter().flatten().count(), 1, "no other image came in time");
    assert_eq!(fleet.encoded(), 1);
    let parity = made[0].shape().parity().next().unwrap();
    let on = made[0].homes()[2].unwrap().0;
    let shown_parity = fleet::parity(parity.image.0);
    assert_eq!(fleet.word(on, shown_parity).await, ImageWord::Keep);
    assert_eq!(fleet.word(on % 3 + 1, shown_parity).await, ImageWord::Delete);
    // A newer image: the older one stays until the newer is in use.
    let newer = shown(9, one, 6);
    assert_eq!(fleet.word(1, newer).await, ImageWord::Wait);
    assert_eq!(fleet.word(2, second).await, ImageWord::Wait);
    until!(groups(&fleet).len() == 2);
    assert_eq!(groups(&fleet)[1].shape().members().iter().flatten().count(), 2, "they met");
    assert_eq!(fleet.word(1, first).await, ImageWord::Keep);
    assert_eq!(fleet.word(1, newer).await, ImageWord::Use);
    let used = fleet::used(newer);
    assert_eq!(fleet.word(2, used).await, ImageWord::Keep, "not from its home: heard, not believed");
    assert_eq!(groups(&fleet).len(), 2);
    assert_eq!(fleet.word(1, used).await, ImageWord::Keep);
    assert_eq!(groups(&fleet).len(), 1);
    assert_eq!(fleet.word(1, first).await, ImageWord::Delete);
    assert_eq!(fleet.word(on, shown_parity).await, ImageWord::Delete);
    assert_eq!(fleet.word(1, newer).await, ImageWord::Use, "until its journal uses it");
    let slot = fleet.group(AskGroup { image: newer.image }).await.unwrap();
    assert_eq!(layout::ec::Group::decode(&slot.record).unwrap(), groups(&fleet)[0]);
    assert_eq!(fleet.group(AskGroup { image: first.image }).await, Err(Refusal::NoImage));
    let status = fleet.status();
    assert_eq!((status.seal, status.erasure_code.as_str()), (true, "2+1"));
}

/// The parity of a failed group may be deleted, its members wait on.
#[tokio::test]
async fn a_group_whose_parity_fails_comes_to_nothing() {
    let fleet = Fleet::start(3, |settings| settings.seal = true).await;
    let [one, _] = fleet.file([1, 2]).await;
    fleet.break_encoding(true);
    let image = shown(7, one, 5);
    assert_eq!(fleet.word(1, image).await, ImageWord::Wait);
    until!(0 < fleet.encoded());
    until!(fleet.word(2, fleet::parity(fleet.last_parity())).await == ImageWord::Delete);
    assert_eq!((fleet.word(1, image).await, groups(&fleet).len()), (ImageWord::Wait, 0));
    fleet.break_encoding(false);
    until!(fleet.word(1, image).await == ImageWord::Use);
}

/// An image of a lost server is recreated elsewhere, and its old place is useless then.
/// Spec: docs/protocol/seal.md §6.
#[tokio::test]
async fn lost_images_are_recreated() {
    let fleet = Fleet::start(4, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
        settings.repair_grace_ms = 0;
        settings.data_server_lease_ms = 500;
    })
    .await;
    let [one, two] = fleet.file([1, 2]).await;
    let (first, second) = (shown(7, one, 5), shown(8, two, 5));
    fleet.word(1, first).await;
    fleet.word(2, second).await;
    until!(groups(&fleet).len() == 1);
    let before = groups(&fleet)[0].homes().to_vec();
    let on = before[2].unwrap().0;
    let spare = (3..=4).find(|id| *id != on).unwrap();
    fleet.silence(1);
    until!(groups(&fleet)[0].homes().iter().flatten().all(|home| home.0 != 1));
    assert!(groups(&fleet)[0].homes().iter().flatten().any(|home| home.0 == spare));
    assert_eq!(fleet.rebuilt(), [(spare, 0)]);
    assert_eq!(fleet.word(1, first).await, ImageWord::Delete);
    assert_eq!(fleet.word(spare, first).await, ImageWord::Keep, "it is not the extent's home");
    until!(fleet.status().images_remade == 0);
}

/// The living member of a half-dead group goes into another group.
/// Spec: docs/protocol/seal.md §7.
#[tokio::test]
async fn a_group_that_is_half_dead_is_dissolved() {
    let fleet = Fleet::start(4, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
        settings.data_server_lease_ms = 500;
    })
    .await;
    let [one, two] = fleet.file([1, 2]).await;
    let (first, second, newer) = (shown(7, one, 5), shown(8, two, 5), shown(9, one, 6));
    fleet.word(1, first).await;
    fleet.word(2, second).await;
    until!(groups(&fleet).len() == 1);
    fleet.word(1, newer).await;
    until!(groups(&fleet).len() == 2);
    assert_eq!(fleet.word(1, fleet::used(newer)).await, ImageWord::Keep);
    // An empty server is lost: that triggers a scan of all groups.
    let holds =
        |id: u32| groups(&fleet).iter().any(|one| one.homes().contains(&Some(layout::DataServerId(id))));
    fleet.silence((3..=4).find(|id| !holds(*id)).unwrap_or(4));
    until!(fleet.word(1, first).await == ImageWord::Delete);
    let numbers: Vec<u64> = groups(&fleet).iter().map(|one| one.shape().group().0).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(fleet.word(2, second).await, ImageWord::Use, "where it was, in another group");
}

/// An extent with all bytes in an image is adopted by another home when its home is gone for long;
/// one that was written since is not.
/// Spec: docs/protocol/seal.md §8, §9.
#[tokio::test]
async fn an_extent_at_rest_is_adopted_by_another_home() {
    let fleet = Fleet::start(4, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
        settings.data_server_lease_ms = 500;
    })
    .await;
    let [one, two] = fleet.file([1, 1]).await;
    let (first, second) = (shown(7, one, 5), shown(8, two, 5));
    fleet.word(1, first).await;
    fleet.word(1, second).await;
    until!(groups(&fleet).len() == 2);
    for image in [first, second] {
        assert_eq!(fleet.word(1, fleet::used(image)).await, ImageWord::Keep);
    }
    assert_eq!(fleet.thaw(2, two, 6).await, Err(Refusal::NotHome));
    assert_eq!(fleet.thaw(1, two, 6).await, Ok(()));
    fleet.silence(1);
    until!(!fleet.adopted().is_empty());
    let (by, asked) = fleet.adopted()[0];
    assert_eq!((asked.extent.index, asked.epoch, asked.sequence, asked.keep_bytes), (0, 2, 5, 64 << 20));
    let image = layout::ec::ImageRef::decode(&asked.image).unwrap();
    assert_eq!((image.image.0, image.content_bytes, image.file_bytes), ([7; 16], 900, 1000));
    let record = |extent| {
        let view = fleet.server().view().unwrap();
        mds_namespace::op::extent::extent(view.namespace(), extent).unwrap().unwrap()
    };
    until!(record(one).pending_work.is_none());
    assert_eq!((record(one).home.0, record(two).home.0), (by, 1), "of the other there may be more");
    assert!(fleet.adopted().iter().all(|(_, asked)| asked.extent.index == 0));
    assert_eq!(fleet.word(1, first).await, ImageWord::Keep, "its group has it there");
}

/// Work for an unreachable server does not delay other servers' work, however much it is.
#[tokio::test]
async fn much_work_for_a_dead_server_delays_no_other() {
    let fleet = Fleet::start(2, |settings| settings.data_server_lease_ms = 500).await;
    let [one, two] = fleet.file([1, 2]).await;
    let propose = async |command| fleet.server().propose(command).await.unwrap();
    let extents =
        (2..crate::limits::WORK_BATCH_MAX as u32 + 3).map(|index| layout::ExtentId { index, ..one });
    for extent in extents.clone() {
        let (home, backups) = (layout::DataServerId(1), vec![]);
        propose(Command::Allocate(Allocate { extent, home, backups })).await;
        // Otherwise the extent would move to the other server.
        fleet.promise(1, extent).await.unwrap();
    }
    fleet.silence(1);
    until!(!fleet.server().data_servers.is_up(layout::DataServerId(1), fleet.server().now_ms()));
    for extent in extents {
        propose(Command::Fence(Fence { extent })).await;
    }
    propose(Command::Fence(Fence { extent: two })).await;
    until!({
        let view = fleet.server().view().unwrap();
        let record = mds_namespace::op::extent::extent(view.namespace(), two).unwrap().unwrap();
        record.pending_work.is_none()
    });
    let left = mds_namespace::op::work::pending(fleet.server().view().unwrap().namespace(), 0, usize::MAX);
    assert_eq!(left.unwrap().len(), crate::limits::WORK_BATCH_MAX + 1);
}

/// WRITE through the metadata server makes extents as LAYOUTGET does.
#[tokio::test]
async fn an_extent_that_is_made_in_band_has_the_code_too() {
    let fleet = Fleet::start(1, |_| {}).await;
    let [one, _] = fleet.file([1, 1]).await;
    let extent = layout::ExtentId { index: 2, ..one };
    for (given, has) in
        [(Some(Profile::FourPlusTwo), Some(Profile::FourPlusTwo)), (None, Some(Profile::FourPlusTwo))]
    {
        let record = crate::content::home_of(fleet.server(), extent, None, given).await.unwrap();
        assert_eq!(record.code, has);
    }
}

/// While sealing is off no image waits for a group, but grouped images stay.
#[tokio::test]
async fn nothing_waits_while_sealing_is_off() {
    let fleet = Fleet::start(1, |_| {}).await;
    let [one, _] = fleet.file([1, 1]).await;
    assert_eq!(fleet.seal_idle_ms().await, 0);
    assert_eq!(fleet.word(1, shown(7, one, 5)).await, ImageWord::Delete);
    fleet.make_alone(7, one, 5).await;
    assert_eq!(fleet.word(1, shown(7, one, 5)).await, ImageWord::Use);
    let wrong = wire_nfs::control::images::ShownImage { image: [0; 16], ..shown(7, one, 5) };
    assert_eq!(fleet.words(1, vec![wrong]).await, Err(Refusal::Invalid));
    let wrong = wire_nfs::control::images::ShownImage { standing: Standing::Parity, ..shown(7, one, 5) };
    assert_eq!(fleet.words(1, vec![wrong]).await, Err(Refusal::Invalid));
    let place = sealed::place(fleet.server().view().unwrap().namespace(), layout::ec::ImageId([7; 16]));
    assert_eq!(place.unwrap().map(|place| place.group), Some(GroupId(1)));
}
