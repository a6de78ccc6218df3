//! What a WRITE is told of the image below it, and what is known to lie above one.
//!
//! Spec: docs/protocol/seal.md §2, §8.

use super::images::Bed;
use super::*;

const ONE: ExtentId = ExtentId { ino: 1, index: 0 };

async fn ticket(store: &Store) -> crate::Ticket {
    store.admit(ONE, store.size(ONE).epoch, 0, 100).await.unwrap()
}

/// What a WRITE that never comes to anything is told.
async fn above(store: &Store) -> Option<u64> {
    ticket(store).await.above_image()
}

#[tokio::test]
async fn a_write_is_told_of_an_image_until_that_is_thawed() {
    let mut bed = Bed::new().await;
    bed.write(1, 0, 1, 200_000).await;
    assert_eq!((above(&bed.store).await, bed.store.frozen(ONE)), (None, None), "no image was used here");
    let (first, _) = bed.seal(1).await;
    for _ in 0..2 {
        assert_eq!((above(&bed.store).await, bed.store.frozen(ONE)), (Some(first), Some(first)));
    }
    bed.store.thawed(ONE, first - 1);
    assert_eq!(above(&bed.store).await, Some(first), "that was said of another image");
    bed.store.thawed(ONE, first);
    assert_eq!((above(&bed.store).await, bed.store.frozen(ONE)), (None, None));
    bed.write(1, 0, 2, 100).await;
    super::images::churn(&bed.store).await;
    assert_eq!(above(&bed.store).await, None, "its record was moved, and it is the same");
    let (second, _) = bed.seal(1).await;
    assert_eq!(above(&bed.store).await, Some(second), "another image");
    bed.store.thawed(ONE, first);
    assert_eq!(above(&bed.store).await, Some(second), "that was said of the one before");
    bed.store.thawed(ONE, second);
    assert_eq!(above(&bed.store).await, None);
    bed.crash().await;
    assert_eq!(above(&bed.store).await, Some(second), "another start");
    bed.store.thawed(extent(9), second);
    assert_eq!(bed.store.frozen(extent(9)), None);
}

#[tokio::test]
async fn what_lies_above_an_image_is_known() {
    let bed = Bed::new().await;
    let store = &bed.store;
    assert_eq!(store.above_image(ONE, 1), None, "never heard of");
    bed.write(1, 0, 1, 10_000).await;
    assert_eq!(store.above_image(ONE, 1), None, "no image");
    let (image, named) = bed.seal(1).await;
    assert_eq!(store.above_image(ONE, image), Some(0));
    assert_eq!(store.above_image(ONE, image + 1), None, "another one");
    // Sequences that no byte has.
    drop(ticket(store).await);
    store.mark(ONE).await.unwrap();
    store.rise(ONE, 50).await.unwrap();
    store.fence(ONE, Epoch(3)).await.unwrap();
    assert_eq!(store.above_image(ONE, image), Some(0));
    // An act under way may come to something.
    let waiting = ticket(store).await;
    assert_eq!(store.above_image(ONE, image), None);
    waiting.write(bytes(2, 100), Stability::Unstable).await.unwrap();
    assert_eq!(store.above_image(ONE, image), Some(store.sequence(ONE)));
    assert!(image < store.sequence(ONE));
    // The image again, above: nothing is younger. Then a hole is.
    let again = store.rise(ONE, 0).await.unwrap();
    store.use_image(ONE, Epoch(3), again, &named).await.unwrap();
    assert_eq!((store.above_image(ONE, image), store.above_image(ONE, again)), (None, Some(0)));
    store.cut(ONE, Epoch(4), 9_000).await.unwrap();
    assert_eq!(store.above_image(ONE, again), Some(store.sequence(ONE)));
    // Not so much as a byte of it is left.
    store.cut(ONE, Epoch(5), 0).await.unwrap();
    assert_eq!((store.above_image(ONE, again), store.frozen(ONE)), (None, None));
}

/// A CUT that waits for WRITEs counts before it is carried out, and so does a WRITE that was there
/// before the image.
#[tokio::test]
async fn what_is_under_way_while_an_image_comes_into_use_is_not_nothing() {
    let bed = Bed::new().await;
    let store = bed.store.clone();
    bed.write(1, 0, 1, 10_000).await;
    let mark = store.mark(ONE).await.unwrap();
    let image = bed.images.seal(&store, ONE, mark).await.unwrap();
    let before = ticket(&store).await;
    assert_eq!(before.above_image(), None, "no image is in use yet");
    let using = tokio::spawn({
        let store = store.clone();
        async move { store.use_image(ONE, Epoch(1), mark, &image).await.unwrap() }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // Admitted while USE is carried out: it is told nothing, so what is above must say so.
    let between = ticket(&store).await;
    assert_eq!(between.above_image(), None);
    before.write(bytes(2, 100), Stability::Unstable).await.unwrap();
    using.await.unwrap();
    assert_eq!(store.above_image(ONE, mark), Some(store.sequence(ONE)), "one has landed, one has not");
    let after = ticket(&store).await;
    assert_eq!(after.above_image(), Some(mark));
    drop(after);
    assert!(mark < between.sequence() && between.sequence() <= store.sequence(ONE));
    between.write(bytes(3, 100), Stability::Unstable).await.unwrap();
    assert_eq!(store.above_image(ONE, mark), Some(store.sequence(ONE)));
}
