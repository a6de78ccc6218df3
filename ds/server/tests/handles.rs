//! How long handles are good, and from where: a metadata server that says which layouts are held,
//! and a clock that goes by.
//!
//! Spec: docs/formats/ds_handle.md; docs/protocol/control.md §7, §8.

mod bed;

use bed::*;
use bytes::Bytes;
use ds_server::limits::{
    EXPORTS_OUTDATED_MS_MAX, HANDLE_FRESH_STEPS, HELD_PAUSE_MS, HELD_RENEW_S, HELD_S_MAX, HELD_WAIT_MS_MAX,
    REST_CALLS_MAX,
};
use layout::handle::ISSUE_UNIT_MS;
use layout::{DataServerId, DsHandle, Epoch, Holder, Iomode, Issued, Role, handle};
use wire_nfs::control::Procedure;
use wire_nfs::v3::{self, Fh3, Nfsstat3, StableHow, read};

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

/// A client that writes for an hour is never refused and never waits, and the metadata server is
/// seldom asked.
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
    let mut seconds = 0;
    let refused = loop {
        match bed.read(file.clone(), START, 4).await {
            Ok(_) => pass(&bed, 1_000).await,
            Err(status) => break status,
        }
        seconds += 1;
        assert!(seconds <= HELD_S_MAX, "a client that goes on reading is refused");
    };
    assert_eq!(refused, Nfsstat3::Stale, "and not answered JUKEBOX: what is in use is asked about in time");
    assert!(HELD_RENEW_S < seconds, "what was said counts for a while: {seconds} s");
}

/// What READs ask metadata servers, and how long that takes, holds up no question about layouts.
#[tokio::test]
async fn reads_that_wait_hold_up_no_question_about_layouts() {
    let bed = aging().await;
    let file = made_now(&bed, CLIENT);
    bed.write(file.clone(), START, b"here", StableHow::FileSync).await.unwrap();
    pass(&bed, FRESH_MS).await;
    bed.metadata.leave_unanswered(&[Procedure::FileEnd]);
    let fresh = made_now(&bed, CLIENT);
    let reads: Vec<_> = (0..2 * REST_CALLS_MAX)
        .map(|_| {
            let args = read::Args { file: fresh.clone(), offset: START + 100, count: 10 };
            let client = bed.client.clone();
            let number = v3::Procedure::Read.as_u32();
            tokio::spawn(async move { call(&client, v3::PROGRAM, v3::VERSION, number, &args).await })
        })
        .collect();
    settle(|| bed.metadata.seen(|seen| seen.unanswered) == REST_CALLS_MAX).await;
    // Nothing that is waited for by the clock happens: it stands still.
    let asked = tokio::select! {
        biased;
        read = bed.read(file, START, 4) => read,
        () = settle(|| false) => unreachable!("that panics first"),
    };
    assert_eq!(&asked.unwrap().data[..], b"here");
    assert_eq!(bed.metadata.seen(|seen| seen.helds), 1);
    reads.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A question that is answered with nonsense is asked again, and not without a pause.
#[tokio::test]
async fn questions_that_come_to_nothing_are_asked_again_after_a_pause() {
    let bed = aging().await;
    let file = made_now(&bed, CLIENT);
    pass(&bed, FRESH_MS).await;
    bed.metadata.talk_nonsense_of_layouts();
    let (read, ()) = tokio::join!(bed.read(file, START, 4), pass(&bed, HELD_WAIT_MS_MAX + 200));
    assert_eq!(read.unwrap_err(), Nfsstat3::Jukebox);
    let asked = bed.metadata.seen(|seen| u64::try_from(seen.helds).unwrap());
    let most = HELD_WAIT_MS_MAX / HELD_PAUSE_MS + 1;
    assert!((most / 2..=most).contains(&asked), "{asked}");
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

/// No metadata server answers: what is known holds for as long as it was said to, then requests
/// wait, and are to be retried later.
#[tokio::test]
async fn without_an_answer_a_handle_is_delayed_and_not_refused() {
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

/// What a metadata server makes for itself is bound to no layout and no export, and to its time
/// alone.
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

/// The exports have changed, and cannot be had: the lease is renewed in time all the same, and
/// clients are judged by the old ones for a while only.
#[tokio::test]
async fn exports_that_cannot_be_had_cost_no_lease_and_do_not_judge_for_ever() {
    let bed = aging().await;
    bed.metadata.leave_unanswered(&[Procedure::Admitted]);
    bed.metadata.admit(&["203.0.113.0/24"]);
    for _ in 0..EXPORTS_OUTDATED_MS_MAX / 100 - 10 {
        pass(&bed, 100).await;
        assert!(bed.server.is_serving());
    }
    bed.read(made_now(&bed, CLIENT), START, 4).await.unwrap();
    pass(&bed, u64::from(LEASE_MS) + 1_000).await;
    assert!(bed.server.is_serving());
    let own = made_now(&bed, Holder::MetadataServer);
    bed.read(own, START, 4).await.unwrap();
    let file = made_now(&bed, CLIENT);
    let (read, ()) = tokio::join!(bed.read(file.clone(), START, 4), pass(&bed, HELD_WAIT_MS_MAX + 200));
    assert_eq!(read.unwrap_err(), Nfsstat3::Jukebox);
    bed.metadata.leave_unanswered(&[]);
    let (read, ()) = tokio::join!(bed.read(file, START, 4), pass(&bed, 2_000));
    assert_eq!(read.unwrap_err(), Nfsstat3::Acces);
}

/// A handle that is shown from elsewhere is refused, and one whose address was admitted a moment
/// ago is not.
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
