//! How long handles are good, and from where: a metadata server that says which layouts are held, and a clock that goes by.
//!
//! Spec: docs/formats/ds_handle.md; docs/protocol/control.md §7, §8.

mod bed;

use bed::*;
use bytes::Bytes;
use ds_server::limits::{HANDLE_FRESH_STEPS, HELD_S_MAX, HELD_WAIT_MS_MAX};
use layout::handle::ISSUE_UNIT_MS;
use layout::{DataServerId, DsHandle, Epoch, Holder, Iomode, Issued, Role, handle};
use wire_nfs::v3::{Fh3, Nfsstat3, StableHow};

/// After so long a handle that nothing was said of is not fresh.
const FRESH_MS: u64 = (HANDLE_FRESH_STEPS as u64 + 1) * ISSUE_UNIT_MS;

async fn pass(bed: &Bed, ms: u64) {
    for _ in 0..ms / 50 {
        bed.clock.advance_ms(50);
        for _ in 0..60 {
            tokio::task::yield_now().await;
        }
    }
}

/// A bed whose handles grow old.
async fn aging() -> Bed {
    let bed = Bed::new().await;
    bed.metadata.tell_time();
    pass(&bed, u64::from(LEASE_MS)).await;
    bed
}

fn made_now(bed: &Bed, holder: Holder) -> Fh3 {
    let open = DsHandle {
        extent: EXTENT,
        epoch: Epoch(1),
        mode: Iomode::ReadWrite,
        holder,
        issued: Issued::at_ms(bed.env.clock.monotonic_ms()),
        size_hint_bytes: 0,
        role: Role::Home,
        home: DataServerId(metadata::SERVER),
        backups: [None; 2],
    };
    Fh3::new(Bytes::copy_from_slice(&handle::seal(&handle_key(), &open).0)).expect("64 bytes")
}

const CLIENT: Holder = Holder::Client { tag: 1, export: 0, reads: true };

/// A client that writes for an hour is never refused and never waits, and the metadata server is seldom asked.
#[tokio::test]
async fn a_handle_is_good_while_its_layout_is_held() {
    let bed = aging().await;
    let file = made_now(&bed, CLIENT);
    for _ in 0..360 {
        bed.write(file.clone(), START, b"still here", StableHow::Unstable).await.unwrap();
        pass(&bed, 10_000).await;
    }
    let asked = bed.metadata.seen(|seen| seen.helds);
    assert!((60..=130).contains(&asked), "once in 30 s, or a little more: {asked}");
}

#[tokio::test]
async fn a_handle_ends_soon_after_its_layout() {
    let bed = aging().await;
    let (fresh, file) = (made_now(&bed, CLIENT), made_now(&bed, CLIENT));
    bed.write(file.clone(), START, b"mine", StableHow::FileSync).await.unwrap();
    // Right after it was made.
    bed.metadata.hold(false);
    bed.read(fresh.clone(), START, 4).await.unwrap();
    pass(&bed, FRESH_MS).await;
    assert_eq!(bed.read(fresh, START, 4).await.unwrap_err(), Nfsstat3::Stale);
    assert_eq!(bed.write(file.clone(), START, b"x", StableHow::Unstable).await.unwrap_err(), Nfsstat3::Stale);
    assert_eq!(bed.commit(file.clone()).await.unwrap_err(), Nfsstat3::Stale);
    assert_eq!(bed.metadata.seen(|seen| seen.helds), 1, "a refusal is remembered");
    // After it was held for long.
    bed.metadata.hold(true);
    pass(&bed, 11_000).await;
    bed.read(file.clone(), START, 4).await.unwrap();
    bed.metadata.hold(false);
    for _ in 0..HELD_S_MAX {
        if bed.read(file.clone(), START, 4).await.is_err() {
            return;
        }
        pass(&bed, 1_000).await;
    }
    assert_eq!(bed.read(file, START, 4).await.unwrap_err(), Nfsstat3::Stale);
}

/// A client that got its layout again is not refused for the one that it gave back.
#[tokio::test]
async fn a_refusal_is_of_what_was_made_before() {
    let bed = aging().await;
    let file = made_now(&bed, CLIENT);
    bed.metadata.hold(false);
    pass(&bed, FRESH_MS).await;
    assert_eq!(bed.read(file, START, 4).await.unwrap_err(), Nfsstat3::Stale);
    bed.metadata.hold(true);
    bed.read(made_now(&bed, CLIENT), START, 4).await.unwrap();
}

/// No metadata server answers: what is known holds for as long as it was said to, then requests wait, and are put off.
#[tokio::test]
async fn without_an_answer_a_handle_is_put_off_and_not_refused() {
    let bed = aging().await;
    let file = made_now(&bed, CLIENT);
    pass(&bed, FRESH_MS).await;
    bed.read(file.clone(), START, 4).await.unwrap();
    bed.metadata.say_nothing_of_layouts(true);
    pass(&bed, 50_000).await;
    bed.read(file.clone(), START, 4).await.unwrap();
    pass(&bed, 11_000).await;
    let (read, ()) = tokio::join!(bed.read(file.clone(), START, 4), pass(&bed, HELD_WAIT_MS_MAX + 200));
    assert_eq!(read.unwrap_err(), Nfsstat3::Jukebox);
    // It answers again while a request waits.
    let again = async {
        pass(&bed, 1_000).await;
        bed.metadata.say_nothing_of_layouts(false);
        pass(&bed, 1_000).await;
    };
    let (read, ()) = tokio::join!(bed.read(file, START, 4), again);
    read.unwrap();
}

/// What a metadata server makes for itself is bound to no layout and no export, and to its time alone.
#[tokio::test]
async fn a_metadata_servers_own_handle_is_good_for_a_moment() {
    let bed = aging().await;
    bed.metadata.admit(&["203.0.113.0/24"]);
    bed.metadata.hold(false);
    pass(&bed, u64::from(LEASE_MS)).await;
    let own = made_now(&bed, Holder::MetadataServer);
    bed.write(own.clone(), START, b"in band", StableHow::FileSync).await.unwrap();
    pass(&bed, FRESH_MS).await;
    assert_eq!(bed.read(own, START, 4).await.unwrap_err(), Nfsstat3::Jukebox);
    assert_eq!(bed.metadata.seen(|seen| seen.helds), 0);
}

/// A handle that is shown from elsewhere is refused, and one whose address was admitted a moment ago is not.
#[tokio::test]
async fn a_handle_is_good_from_where_its_export_admits() {
    let bed = aging().await;
    bed.metadata.admit(&["203.0.113.0/24"]);
    pass(&bed, u64::from(LEASE_MS)).await;
    let file = made_now(&bed, CLIENT);
    let (read, ()) = tokio::join!(bed.read(file.clone(), START, 4), pass(&bed, 1_000));
    assert_eq!(read.unwrap_err(), Nfsstat3::Acces);
    assert!(bed.metrics().contains("shoal_addresses_refused_total 1"), "{}", bed.metrics());
    // The list here is the one of before when the request comes.
    bed.metadata.admit(&["203.0.113.0/24", "127.0.0.0/8"]);
    let (read, ()) = tokio::join!(bed.read(file, START, 4), pass(&bed, 1_000));
    read.unwrap();
    let gone = made_now(&bed, Holder::Client { tag: 1, export: 5, reads: true });
    let (read, ()) = tokio::join!(bed.read(gone, START, 4), pass(&bed, 1_000));
    assert_eq!(read.unwrap_err(), Nfsstat3::Stale, "it is no export");
}
