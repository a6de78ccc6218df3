//! Images that healthy data servers have lost.
//!
//! Spec: docs/protocol/seal.md §10.

use std::time::Duration;

use layout::ec::Profile;

use super::fleet::{Fleet, shown};
use super::groups;

async fn grouped() -> Fleet {
    let fleet = Fleet::start(3, |settings| {
        settings.seal = true;
        settings.erasure_code = Some(Profile::TwoPlusOne);
    })
    .await;
    let [one, two] = fleet.file([1, 2]).await;
    fleet.word(1, shown(7, one, 5)).await;
    fleet.word(2, shown(8, two, 5)).await;
    until!(groups(&fleet).len() == 1);
    fleet
}

#[tokio::test]
async fn a_lost_image_is_recreated_in_its_place() {
    let fleet = grouped().await;
    let before = groups(&fleet);
    for id in 1..=3 {
        fleet.count_images(id).await;
    }
    assert!(fleet.rebuilt().is_empty(), "all are there");
    let parity = fleet.last_parity();
    for (number, (id, slot, image)) in (1..).zip([(1, 0, [7; 16]), (3, 2, parity), (2, 1, [8; 16])]) {
        assert_eq!(before[0].homes()[slot as usize].unwrap().0, id);
        fleet.lose_image(id, image, false);
        fleet.count_images(id).await;
        until!(fleet.rebuilt().len() == number);
        assert_eq!(fleet.rebuilt().last(), Some(&(id, slot)));
        until!(fleet.status().images_remade == 0 && fleet.status().images_missing == 0);
    }
    assert_eq!(groups(&fleet), before, "no log entry is needed");
}

#[tokio::test]
async fn an_unreachable_server_has_lost_no_image() {
    let fleet = grouped().await;
    fleet.lose_image(1, [7; 16], true);
    for _ in 0..3 {
        fleet.count_images(1).await;
    }
    // Queries that follow have been answered by then.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(fleet.rebuilt().is_empty());
    assert_eq!(fleet.status().images_missing, 0);
    // Lost images are found as soon as the server reports.
    fleet.lose_image(1, [7; 16], false);
    fleet.count_images(1).await;
    until!(fleet.rebuilt() == [(1, 0)]);
}

/// More images are missing than are recreated at a time: none is forgotten.
#[tokio::test]
async fn a_server_that_lost_everything_gets_it_back() {
    let fleet = Fleet::start(1, |_| {}).await;
    let extents = fleet.file([1, 1]).await;
    for number in 1..=8 {
        fleet.make_alone(number, extents[usize::from(number % 2)], u64::from(number)).await;
        fleet.lose_image(1, [number; 16], false);
    }
    assert_eq!(groups(&fleet).len(), 8);
    fleet.count_images(1).await;
    until!(8 <= fleet.rebuilt().len());
    until!(fleet.status().images_missing == 0 && fleet.status().images_remade == 0);
    let rebuilt = fleet.rebuilt().len();
    fleet.count_images(1).await;
    assert_eq!(fleet.rebuilt().len(), rebuilt, "all are there");
}
