//! Short groups become one.

use super::fleet::{Fleet, shown};
use super::groups;
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

/// Two images that missed each other are in one group in the end, and where they were.
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

/// When it fails they stay as they were, and it is tried again.
#[tokio::test]
async fn short_groups_that_cannot_be_joined_stay() {
    let (fleet, [first, second]) = missed().await;
    // Each alone is well; both together are the third.
    fleet.break_encoding_from(3);
    fleet.word(2, second).await;
    until!(3 <= fleet.encoded());
    until!(fleet.server().sealing.under_way() == (0, 0));
    assert_eq!(groups(&fleet).len(), 2);
    assert_eq!(fleet.word(1, first).await, ImageWord::Use);
    fleet.break_encoding(false);
    until!(groups(&fleet).len() == 1);
}
