//! A flood of EXCHANGE_ID: how many clients it may leave, which ones are evicted, and what it
//! costs.

use super::*;
use crate::apply::tests::lock_tree::records_read;
use crate::command::client::{Address, ClientMade, ExchangeIdAs, ExchangeIdFrom, RemoveClient};
use crate::key;
use crate::limits::{CLIENTS_MAX, UNCONFIRMED_MAX, UNCONFIRMED_PER_ADDRESS_MAX};
use crate::record::{ClientCounts, StoredClient, Value};

const HERE: Address = [1; 16];

fn asked(owner: &str, fresh: u64, address: Address) -> Command {
    let Command::ExchangeId(asked) = exchange(owner, 1) else { panic!("as made") };
    Command::ExchangeIdFrom(ExchangeIdFrom { asked: ExchangeIdAs { asked, fresh }, address })
}

fn made(outcome: Outcome) -> ClientMade {
    match outcome {
        Outcome::ClientMade(made) => made,
        outcome => panic!("{outcome:?}"),
    }
}

fn counts(stage: &Stage) -> ClientCounts {
    crate::values::read(stage.view().namespace(), key::CLIENT_COUNTS).unwrap().unwrap_or_default()
}

fn confirm(stage: &mut Stage, client: u64) {
    let principal = b"principal".to_vec();
    let confirm = Command::ConfirmClient(ConfirmClient { client, sequence: 1, principal });
    assert!(matches!(stage.run(confirm), Outcome::Confirmed(_)));
}

/// Spec: docs/formats/raft_log.md.
#[test]
fn the_command_has_the_documented_bytes() {
    let bytes = postcard::to_allocvec(&asked("a", 0x81, [7; 16])).unwrap();
    let plain = postcard::to_allocvec(&exchange("a", 1)).unwrap();
    let fields = plain.len();
    assert_eq!((bytes[0], &bytes[1..fields]), (70, &plain[1..]));
    assert_eq!(bytes[fields..], [&[0x81, 1][..], &[7; 16]].concat());
}

#[test]
fn the_oldest_of_an_address_is_evicted() {
    let mut stage = Stage::new();
    let known = made(stage.run(asked("known", 5, HERE))).answer.client;
    confirm(&mut stage, known);
    let other = made(stage.run(asked("other", 6, [2; 16]))).answer.client;
    for number in 0..UNCONFIRMED_PER_ADDRESS_MAX as u64 {
        let made = made(stage.run(asked(&format!("c{number}"), 100 + number, HERE)));
        assert_eq!(made.evicted, []);
    }
    let next = made(stage.run(asked("next", 1000, HERE)));
    assert_eq!((next.answer.client, next.evicted), (1000, vec![100]), "its own oldest");
    assert_eq!(stage.view().client(100).unwrap(), None);
    assert_eq!(stage.view().clients_of_owner(b"c0").unwrap(), crate::record::OwnerClients::default());
    assert!(stage.view().client(other).unwrap().is_some() && stage.view().client(known).unwrap().is_some());
    // The same owner again replaces its own record.
    assert_eq!(made(stage.run(asked("next", 1001, HERE))).evicted, []);
    let all = u32::try_from(UNCONFIRMED_PER_ADDRESS_MAX).unwrap() + 2;
    let counted = counts(&stage);
    assert_eq!((counted.clients, counted.waiting), (all, all - 1));
    confirm(&mut stage, 1001);
    assert_eq!(counts(&stage).waiting, all - 2);
    for client in stage.view().clients().unwrap() {
        let client = client.record.client;
        stage.run(Command::RemoveClient(RemoveClient { client, only_if_idle: false }));
    }
    assert_eq!(counts(&stage), ClientCounts::default());
    assert!(!stage.dump().iter().any(|(key, _)| key.starts_with(b"state/wait")), "nothing is left");
}

/// Writes clients as a version that did not count them.
fn uncounted(stage: &Stage, confirmed: u32, unconfirmed: u32) {
    let mut txn = stage.store.begin().unwrap();
    for client in 0..confirmed + unconfirmed {
        let owner = format!("old {client}").into_bytes();
        let client = 1 << 32 | u64::from(client);
        let record = wire_session::server::client_id::ClientRecord {
            client,
            owner: owner.clone(),
            verifier: [1; 8],
            principal: b"principal".to_vec(),
            confirmed: client & 0xFFFF_FFFF < u64::from(confirmed),
            sequence: 0,
            implementation: String::new(),
        };
        let ids = if record.confirmed { (Some(client), None) } else { (None, Some(client)) };
        let of_owner = crate::record::OwnerClients { confirmed: ids.0, unconfirmed: ids.1 };
        txn.put(&key::owner(&owner), &of_owner.encode()).unwrap();
        let stored = StoredClient { record, reclaim_complete: false };
        txn.put(&key::client(client), &stored.encode()).unwrap();
    }
    txn.commit(Durability::Memory).unwrap();
}

#[test]
fn a_flood_reads_few_records_and_ends_no_confirmed_client() {
    let stage = Stage::new();
    uncounted(&stage, CLIENTS_MAX - UNCONFIRMED_MAX, UNCONFIRMED_MAX - 1);
    // The first command counts them.
    let (_, first) = records_read(&stage, asked("first", 1, HERE));
    assert_eq!(made(first).evicted, []);
    let full = counts(&stage);
    assert_eq!((full.clients, full.waiting), (CLIENTS_MAX, UNCONFIRMED_MAX));
    for number in 0..200_u64 {
        let address = [u8::try_from(number % 100 + 1).unwrap(); 16];
        let (looked, outcome) =
            records_read(&stage, asked(&format!("flood {number}"), 1000 + number, address));
        let made = made(outcome);
        assert_eq!(made.evicted.len(), 1);
        assert!(looked < 120, "{looked} records");
    }
    assert_eq!(counts(&stage).clients, CLIENTS_MAX);
    let clients = stage.view().clients().unwrap();
    let confirmed = clients.iter().filter(|stored| stored.record.confirmed).count();
    assert_eq!(confirmed as u32, CLIENTS_MAX - UNCONFIRMED_MAX);
}

#[test]
fn without_room_and_waiting_clients_a_new_one_is_refused() {
    let mut stage = Stage::new();
    uncounted(&stage, CLIENTS_MAX, 0);
    let refused = stage.asked(None, asked("one more", 1, HERE));
    assert_eq!(refused, Outcome::Refused(Refusal::TableFull));
}

/// A replica may have applied an entry before its update, and another one after.
#[test]
fn entries_of_earlier_versions_evict_no_client() {
    let mut stage = Stage::new();
    uncounted(&stage, 1, UNCONFIRMED_MAX);
    let clients = |stage: &Stage| stage.view().clients().unwrap().len();
    let before = clients(&stage);
    assert!(matches!(stage.run(exchange("earlier", 1)), Outcome::Client(_)));
    assert_eq!(clients(&stage), before + 1);
}
