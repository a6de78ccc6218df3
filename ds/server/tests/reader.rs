//! What a client is told by its second mirror: the bytes of an extent at rest whose primary is
//! dead, and never an old one.
//!
//! Spec: docs/protocol/seal.md §11; docs/formats/ds_handle.md.

#![allow(clippy::unwrap_used, reason = "only tests are here")]
#![allow(dead_code, reason = "the cluster has more than is used here")]

mod bed;
#[path = "seal/cluster.rs"]
mod cluster;
#[path = "seal/model.rs"]
mod model;

use cluster::{Cluster, Thaws};
use ds_server::limits::SILENT_MS;
use env::memory::Crash;
use layout::ec::{ImageId, Profile};
use model::{FRAME, Model, noise};
use wire_nfs::v3::Nfsstat3;

/// An extent whose primary is 1 and replica 2, and another one of primary 3, in a 4+2 group whose
/// parity is on 5 and 6; 4 has nothing.
async fn at_rest() -> (Cluster, Model, ImageId) {
    let mut cluster = Cluster::new(6).await;
    let model = Model::new(&cluster, 1, 1, &[2]).await;
    let other = Model::new(&cluster, 2, 3, &[]).await;
    let images = [cluster.sealed(model.extent).await, cluster.sealed(other.extent).await];
    cluster.group(Profile::FourPlusTwo, &images, &[5, 6]).await;
    for image in images {
        cluster.used(image).await;
    }
    (cluster, model, images[0])
}

/// Compares what a reader says with what was written, in pieces that lie across frames.
async fn check(cluster: &Cluster, model: &Model, reader: u32) {
    let first = model.extent.first_byte();
    let length = model.bytes.len();
    for (at, count) in
        [(0, length), (FRAME - 3, 300), (3 * FRAME + 50, 2 * FRAME), (length - 5, 100), (length, 9)]
    {
        let handle = cluster.reader_handle(model.extent, reader);
        let read = cluster.read_with(handle, first + at as u64, u32::try_from(count).unwrap()).await;
        let (bytes, eof) = read.unwrap_or_else(|status| panic!("reader {reader}, at {at}: {status:?}"));
        let end = length.min(at + count);
        assert!(bytes == model.bytes[at..end], "reader {reader}: other bytes at {at}");
        assert_eq!(eof, end == length, "reader {reader}, at {at}");
    }
}

async fn refused(cluster: &Cluster, model: &Model, reader: u32) -> Nfsstat3 {
    let handle = cluster.reader_handle(model.extent, reader);
    cluster.read_with(handle, model.extent.first_byte(), 10).await.unwrap_err()
}

#[tokio::test]
async fn every_reader_has_the_bytes_when_the_set_is_gone() {
    let (mut cluster, model, _) = at_rest().await;
    check(&cluster, &model, 4).await;
    for server in [1, 2] {
        cluster.lose(server);
    }
    for reader in 3..=6 {
        check(&cluster, &model, reader).await;
        assert!(0 < cluster.count(reader, "shoal_reader_reads"));
        // One of them has read it before: an image never changes.
        assert!(reader == 4 || 0 < cluster.count(reader, "shoal_image_rebuilt_reads"));
    }
    // What the log says of the file's end counts, if the image ends before.
    let end = model.extent.first_byte() + model.bytes.len() as u64;
    cluster.log.lock().unwrap().size_bytes = end + 200_000;
    let handle = || cluster.reader_handle(model.extent, 4);
    let (tail, eof) = cluster.read_with(handle(), end - 5, 150_000).await.unwrap();
    assert!(tail[..5] == model.bytes[model.bytes.len() - 5..] && tail[5..] == [0; 149_995] && !eof);
    assert_eq!(cluster.read_with(handle(), end + 150_000, 60_000).await, Ok((vec![0; 50_000], true)));
    assert_eq!(cluster.read_with(handle(), end + 200_000, 10).await, Ok((vec![], true)));
}

#[tokio::test]
async fn what_was_written_since_is_never_read_old() {
    let (mut cluster, mut model, image) = at_rest().await;
    check(&cluster, &model, 5).await;
    // The primary has not been answered yet: by then the reader must have stopped already, or may
    // say the old bytes for the last time.
    cluster.log.lock().unwrap().thaws_are = Thaws::Held;
    let data = noise(7, 5_000);
    {
        let write = cluster.try_write(model.extent, FRAME, &data);
        tokio::pin!(write);
        tokio::select! {
            _ = &mut write => panic!("a WRITE above an image was answered before THAW"),
            _ = cluster.until("told", |log| (!log.thaws.is_empty()).then_some(())) => {}
        }
        assert_eq!(refused(&cluster, &model, 5).await, Nfsstat3::Stale);
        cluster.log.lock().unwrap().thaws_are = Thaws::Answered;
        write.await.unwrap();
    }
    model.bytes[FRAME..FRAME + 5_000].copy_from_slice(&data);
    for reader in 3..=6 {
        assert_eq!(refused(&cluster, &model, reader).await, Nfsstat3::Stale);
    }
    assert!(0 < cluster.count(5, "shoal_reader_refusals"));
    // Sealed again, the same handle says the new bytes.
    let again = cluster.sealed(model.extent).await;
    assert_ne!(again, image);
    assert_eq!(refused(&cluster, &model, 5).await, Nfsstat3::Stale, "its image is in no group");
    cluster.group(Profile::FourPlusTwo, &[again], &[5, 6]).await;
    cluster.used(again).await;
    check(&cluster, &model, 5).await;
    cluster.lose(1);
    check(&cluster, &model, 4).await;
}

#[tokio::test]
async fn a_handle_from_before_a_cut_reads_nothing() {
    let (cluster, mut model, _) = at_rest().await;
    let before = cluster.reader_handle(model.extent, 5);
    model.cut(&cluster, 2 * FRAME).await;
    let read = cluster.read_with(before, model.extent.first_byte(), 10).await;
    assert_eq!(read, Err(Nfsstat3::Stale));
    assert_eq!(refused(&cluster, &model, 5).await, Nfsstat3::Stale, "what was cut is in the image");
}

#[tokio::test]
async fn a_reader_s_handle_is_good_for_nothing_else() {
    let (cluster, model, _) = at_rest().await;
    let (_, file) = cluster.reader_handle(model.extent, 5);
    let extent = model.extent;
    assert_eq!(cluster.write_with((5, file.clone()), extent, b"new").await, Err(Nfsstat3::Acces));
    assert_eq!(cluster.commit_with((5, file.clone())).await, Err(Nfsstat3::Acces));
    let elsewhere = cluster.read_with((4, file.clone()), extent.first_byte(), 10).await;
    assert_eq!(elsewhere, Err(Nfsstat3::Stale));
    let outside = cluster.read_with((5, file), extent.first_byte() - 1, 10).await;
    assert_eq!(outside, Err(Nfsstat3::Inval));
    check(&cluster, &model, 5).await;
}

#[tokio::test]
async fn without_a_metadata_server_or_enough_of_the_group_a_read_waits() {
    let (mut cluster, model, _) = at_rest().await;
    check(&cluster, &model, 5).await;
    cluster.log.lock().unwrap().is_silent = true;
    assert_eq!(refused(&cluster, &model, 5).await, Nfsstat3::Jukebox, "what it was told before is not used");
    cluster.log.lock().unwrap().is_silent = false;
    check(&cluster, &model, 5).await;
    for server in [1, 3, 6] {
        cluster.lose(server);
    }
    // Nothing of what was read before is kept: the image was where it belongs.
    assert_eq!(refused(&cluster, &model, 4).await, Nfsstat3::Jukebox, "they may come back");
    cluster.crash(1, Crash::Drop).await;
    // Who did not answer is left alone for a moment.
    cluster.clock.advance_ms(SILENT_MS);
    check(&cluster, &model, 4).await;
}
