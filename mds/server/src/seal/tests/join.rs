//! Short groups are joined.

use layout::ec::Profile;

use super::fleet::{Fleet, shown, used};
use super::groups;
use crate::report::NarrowCode;
use wire_nfs::control::images::{ImageWord, ShownImage};

/// Two images that miss each other: the first one is in a group of its own.
async fn missed() -> (Fleet, [ShownImage; 2]) {
    let fleet = Fleet::start(3, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
    })
    .await;
    let [one, two] = fleet.file([1, 2]).await;
    let both = [shown(7, one, 5), shown(8, two, 5)];
    fleet.word(1, both[0]).await;
    until!(groups(&fleet).len() == 1);
    (fleet, both)
}

/// Two images that missed each other end in one group, on their servers.
/// Spec: docs/protocol/seal.md §7.
#[tokio::test]
async fn two_short_groups_become_one() {
    let (fleet, [first, second]) = missed().await;
    let parity = groups(&fleet)[0].shape().parity().next().unwrap().image.0;
    let on = groups(&fleet)[0].homes()[2].unwrap().0;
    fleet.word(2, second).await;
    until!({
        let now = groups(&fleet);
        now.len() == 1 && now[0].shape().members().iter().flatten().count() == 2
    });
    assert_eq!(fleet.word(1, first).await, ImageWord::Use);
    assert_eq!(fleet.word(2, second).await, ImageWord::Use);
    assert_eq!(fleet.word(on, super::fleet::parity(parity)).await, ImageWord::Delete);
    assert_eq!(fleet.encoded(), 3, "each alone, then both");
}

/// Two images on one data server cannot be in one group: one of them is recreated on another, and
/// then they can.
/// Origin: `lab ec`, which sometimes stored 1.66 bytes for each: three large images were left, two
/// of them on one server.
/// Spec: docs/protocol/seal.md §7.
#[tokio::test]
async fn two_short_groups_on_one_data_server_become_one() {
    let fleet = Fleet::start(3, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(layout::ec::Profile::TwoPlusOne);
    })
    .await;
    let [one, two] = fleet.file([1, 1]).await;
    let both = [shown(7, one, 5), shown(8, two, 5)];
    for (at, image) in both.into_iter().enumerate() {
        fleet.word(1, image).await;
        until!(groups(&fleet).len() == at + 1);
    }
    for image in both {
        // The home uses it: from now on it may move.
        assert_eq!(fleet.word(1, used(image)).await, ImageWord::Keep);
    }
    until!({
        let now = groups(&fleet);
        now.len() == 1 && now[0].shape().members().iter().flatten().count() == 2
    });
    let homes: std::collections::BTreeSet<u32> =
        groups(&fleet)[0].homes().iter().flatten().map(|id| id.0).collect();
    assert_eq!(homes, [1, 2, 3].into());
}

/// After a failure they stay as they were, and the join is retried.
#[tokio::test]
async fn short_groups_that_cannot_be_joined_stay() {
    let (fleet, [first, second]) = missed().await;
    // Each alone succeeds; both together are the third ENCODE.
    fleet.break_encoding_from(3);
    fleet.word(2, second).await;
    until!(3 <= fleet.encoded());
    until!(fleet.server().sealing.under_way() == (0, 0));
    assert_eq!(groups(&fleet).len(), 2);
    assert_eq!(fleet.word(1, first).await, ImageWord::Use);
    fleet.break_encoding(false);
    until!(groups(&fleet).len() == 1);
}

/// Each group has the code of its members' extents, and short groups of different codes are not
/// joined, although both have room.
/// Spec: docs/protocol/seal.md §3, §7.
#[tokio::test]
async fn codes_are_not_mixed() {
    let fleet = Fleet::start(6, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(Profile::FourPlusTwo);
    })
    .await;
    let [wide, wide_late] = fleet.file([1, 2]).await;
    let [narrow, narrow_late] = fleet.more(wide, [3, 4], Profile::TwoPlusOne).await;
    fleet.word(1, shown(11, wide, 5)).await;
    fleet.word(3, shown(21, narrow, 5)).await;
    until!(groups(&fleet).len() == 2);
    assert_eq!(kinds(&fleet), [("2+1".to_owned(), vec![21]), ("4+2".to_owned(), vec![11])]);
    fleet.word(2, shown(12, wide_late, 5)).await;
    fleet.word(4, shown(22, narrow_late, 5)).await;
    let joined = [("2+1".to_owned(), vec![21, 22]), ("4+2".to_owned(), vec![11, 12])];
    until!(kinds(&fleet) == joined);
    assert_eq!(fleet.encoded(), 6, "each alone, then both of a kind");
}

/// Images of two exports that wait at the same time, four of each, are in groups of their own.
#[tokio::test]
async fn waiting_images_are_divided_by_code() {
    let fleet = Fleet::start(6, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(Profile::FourPlusTwo);
        settings.group_wait_ms = 60_000;
    })
    .await;
    let [one, two] = fleet.file([1, 2]).await;
    let [three, four] = fleet.more(one, [3, 4], Profile::TwoPlusOne).await;
    // The cluster's code by name is no other code.
    let [five, six] = fleet.more(three, [5, 6], Profile::FourPlusTwo).await;
    for (image, home, extent) in [(1, 1, one), (2, 2, two), (3, 3, three), (5, 5, five), (6, 6, six)] {
        fleet.word(home, shown(image, extent, 5)).await;
    }
    until!(groups(&fleet).len() == 1);
    assert_eq!(kinds(&fleet), [("4+2".to_owned(), vec![1, 2, 5, 6])]);
    fleet.word(4, shown(4, four, 5)).await;
    until!(groups(&fleet).len() == 2);
    assert_eq!(kinds(&fleet)[0], ("2+1".to_owned(), vec![3, 4]));
}

/// Images of a code with too few data servers wait, the status shows it, and others are sealed.
#[tokio::test]
async fn a_code_for_more_servers_waits_and_is_reported() {
    let fleet = Fleet::start(3, |settings| settings.seal = true).await;
    let [plain, _] = fleet.file([1, 2]).await;
    let [wide, _] = fleet.more(plain, [1, 2], Profile::EightPlusFour).await;
    let [shorter, _] = fleet.more(wide, [2, 3], Profile::FourPlusTwo).await;
    assert_eq!(fleet.status().codes_narrow, []);
    fleet.word(1, shown(1, wide, 5)).await;
    fleet.word(2, shown(2, shorter, 5)).await;
    fleet.word(1, shown(3, plain, 5)).await;
    until!(groups(&fleet).len() == 2);
    assert_eq!(kinds(&fleet), [("2+1".to_owned(), vec![3]), ("4+2".to_owned(), vec![2])]);
    assert_eq!(fleet.word(1, shown(1, wide, 5)).await, ImageWord::Wait);
    let expected = NarrowCode {
        code: "8+4".to_owned(),
        servers_full: 12,
        servers_least: 5,
        servers: 3,
        images_waiting: 1,
    };
    assert_eq!(fleet.status().codes_narrow, [expected]);
}

/// The codes of all groups, and the images that are their members.
fn kinds(fleet: &Fleet) -> Vec<(String, Vec<u8>)> {
    let kind = |group: &layout::ec::Group| {
        let members = group.shape().members().iter().flatten();
        let mut images: Vec<u8> = members.map(|member| member.image.0[0]).collect();
        images.sort_unstable();
        (group.shape().profile().to_string(), images)
    };
    let mut all: Vec<_> = groups(fleet).iter().map(kind).collect();
    all.sort();
    all
}
