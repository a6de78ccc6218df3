//! Nodes with a key of one role, at the control port of a metadata server: each acts in its key's
//! role, and in no other.
//!
//! Origin: an attacker on a data server's host had the whole cluster, and arguments were decoded
//! before a caller had proved its role.
//! Spec: docs/protocol/control.md §1.

mod rig;

use client::admin::AdminControl;
use client::control::{ControlError, greeting};
use env_transport::{CallError, Limits, RpcClient};
use rig::Rig;
use rig::data::{self, Holds, key};
use wire_nfs::control::copies::{AskCopies, CopySet, Word};
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::heartbeat::{Heartbeat, JournalEnd, Renewed, Usage};
use wire_nfs::control::images::{ImageWords, Promise, ShowImages, Thaw};
use wire_nfs::control::limits::HANDSHAKE_RECORD_BYTES_MAX;
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::report::Subject;
use wire_nfs::control::{ClusterKey, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_reply};
use wire_rpc::{Credential, ReplyStatus};
use wire_xdr::{Decode, Encode, Writer};

/// Of the data server under attack; the listener at its address has it.
const VICTIM: [u8; 16] = [1; 16];
const OWN: [u8; 16] = [2; 16];

fn of_data_server(name: &str) -> ClusterKey {
    ClusterKey::data_server(key().for_data_server(name).expect("the whole key"))
}

fn of_administrator() -> ClusterKey {
    ClusterKey::administrator(key().for_administrator().expect("the whole key"))
}

fn stranger(rig: &Rig) -> RpcClient {
    let to = rig.server.as_ref().expect("it runs").control_address();
    RpcClient::new(rig.env.net.clone(), rig.env.clock.clone(), to, Limits::default())
}

fn node(rig: &Rig, held: &ClusterKey, kind: NodeKind) -> RpcClient {
    let link = (kind, NodeKind::Metadata);
    stranger(rig).with_hello(greeting(held.clone(), PROGRAM, link, rig.env.entropy.clone()))
}

async fn ask<R: Decode>(
    rpc: &RpcClient,
    procedure: Procedure,
    args: &impl Encode,
) -> Result<Result<R, Refusal>, CallError> {
    let mut w = Writer::new();
    args.encode(&mut w);
    let reply = rpc.call(PROGRAM, VERSION, procedure.number(), &Credential::None, w, 10_000).await?;
    Ok(decode_reply({ reply }.rest()).expect("a reply"))
}

fn registering(name: &str, uuid: [u8; 16]) -> Register {
    Register {
        found: JournalEnd::default(),
        is_loss_accepted: false,
        uuid,
        instance: 1,
        addresses: vec!["192.0.2.9.8.1".to_owned()],
        control: if uuid == VICTIM { "192.0.2.9:2049" } else { "192.0.2.10:2049" }.to_owned(),
        capacity_bytes: 1 << 40,
        used_bytes: 0,
        zone: String::new(),
        rack: String::new(),
        host: String::new(),
        name: name.to_owned(),
    }
}

fn beat(server: u32) -> Heartbeat {
    let usage = Usage { capacity_bytes: 1 << 40, ..Usage::default() };
    Heartbeat {
        server,
        uuid: VICTIM,
        usage,
        directory: 0,
        instance: 1,
        failure: String::new(),
        durable: JournalEnd::default(),
        keys: 0,
    }
}

/// Registers and sends one heartbeat, until both succeed: a new leader refuses both for a while.
async fn registered(rig: &Rig, rpc: &RpcClient, asked: &Register) -> u32 {
    for _ in 0..600 {
        let answer = ask::<Registered>(rpc, Procedure::Register, asked).await.expect("an answer");
        match answer {
            Ok(Registered { server, lease_ms: 1.., .. }) => {
                let renewed = ask::<Renewed>(rpc, Procedure::Heartbeat, &beat(server)).await;
                if renewed.expect("an answer").is_ok() {
                    return server;
                }
            }
            Ok(_) | Err(Refusal::Busy | Refusal::NotLeader { .. }) => rig.env.clock.sleep_ms(50).await,
            Err(refusal) => panic!("{refusal}"),
        }
    }
    panic!("it gets no lease");
}

#[tokio::test]
async fn a_data_server_with_its_own_key_speaks_for_no_other() {
    let rig = Rig::start().await;
    let _victim = data::listen(&rig, Holds::default(), VICTIM).await;
    let n8 = node(&rig, &of_data_server("n8"), NodeKind::Data);
    let victim = registered(&rig, &n8, &registering("n8", VICTIM)).await;
    let n7 = node(&rig, &of_data_server("n7"), NodeKind::Data);
    for (name, uuid) in [("n8", OWN), ("n7", VICTIM), ("n8", VICTIM), ("", OWN), ("", VICTIM)] {
        let answer = ask::<Registered>(&n7, Procedure::Register, &registering(name, uuid)).await.unwrap();
        assert_eq!(answer.unwrap_err(), Refusal::WrongPeer, "{name:?} {uuid:?}");
    }
    let extent = ExtentName { ino: 2, index: 0 };
    let lost = AskCopies { server: victim, extent, word: Word::Lost, backup: 9, since: 1 };
    let thaw = Thaw { server: victim, extent, sequence: 1 };
    let promise = Promise { server: victim, extent };
    let images = ShowImages { server: victim, images: Vec::new() };
    let wrong = Some(Refusal::WrongPeer);
    assert_eq!(ask::<Renewed>(&n7, Procedure::Heartbeat, &beat(victim)).await.unwrap().err(), wrong);
    assert_eq!(ask::<CopySet>(&n7, Procedure::Copies, &lost).await.unwrap().err(), wrong);
    assert_eq!(ask::<Nothing>(&n7, Procedure::Thaw, &thaw).await.unwrap().err(), wrong);
    assert_eq!(ask::<Nothing>(&n7, Procedure::Promise, &promise).await.unwrap().err(), wrong);
    assert_eq!(ask::<ImageWords>(&n7, Procedure::Images, &images).await.unwrap().err(), wrong);
    // The same calls by the data server itself.
    assert_eq!(ask::<ImageWords>(&n8, Procedure::Images, &images).await.unwrap().err(), None);
    assert_eq!(registered(&rig, &n8, &registering("n8", VICTIM)).await, victim);
    // And it may act as itself.
    let own = ask::<Registered>(&n7, Procedure::Register, &registering("n7", OWN)).await.unwrap();
    assert_ne!(own.err(), Some(Refusal::WrongPeer));
    let line = rig.server.as_ref().unwrap().data_servers().into_iter().find(|one| one.id == victim).unwrap();
    assert_eq!((line.name.as_str(), line.control.as_str(), line.up), ("n8", "192.0.2.9:2049", true));
}

/// A holder of the whole key may act as any data server, and rename it, as before there were keys
/// for single servers.
#[tokio::test]
async fn the_whole_key_works_for_every_data_server() {
    let rig = Rig::start().await;
    let _listening = data::listen(&rig, Holds::default(), VICTIM).await;
    let whole = node(&rig, &key(), NodeKind::Data);
    let server = registered(&rig, &whole, &registering("", VICTIM)).await;
    // No key of one data server fits a store that was registered without a name, or under another
    // one.
    let n8 = node(&rig, &of_data_server("n8"), NodeKind::Data);
    let refused = ask::<Registered>(&n8, Procedure::Register, &registering("n8", VICTIM)).await.unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::WrongPeer);
    // It does once the store was registered with the whole key and that name.
    assert_eq!(registered(&rig, &whole, &registering("n8", VICTIM)).await, server);
    assert_eq!(registered(&rig, &n8, &registering("n8", VICTIM)).await, server);
    assert_eq!(registered(&rig, &whole, &registering("n9", VICTIM)).await, server);
    let refused = ask::<Renewed>(&n8, Procedure::Heartbeat, &beat(server)).await.unwrap();
    assert_eq!(refused.unwrap_err(), Refusal::WrongPeer, "it has another name now");
}

#[tokio::test]
async fn administrators_and_data_servers_are_not_each_other() {
    let rig = Rig::start().await;
    let address = rig.server.as_ref().unwrap().control_address();
    let administrator = |held: &ClusterKey| AdminControl::new(&rig.env, vec![address], held);
    for held in [of_administrator(), key()] {
        let mut tries = 0;
        while let Err(error) = administrator(&held).report(Subject::Status, 0).await {
            // A new leader has no report yet.
            assert_eq!(error, ControlError::Refused(Refusal::Busy));
            tries += 1;
            assert!(tries < 600, "it never has anything to report");
            rig.env.clock.sleep_ms(50).await;
        }
    }
    for held in [of_data_server("n7"), ClusterKey::administrator([9; 32]), ClusterKey::new([9; 32])] {
        let refused = administrator(&held).report(Subject::Status, 0).await;
        assert!(matches!(refused, Err(ControlError::Unreachable(CallError::Hello { .. }))), "{refused:?}");
    }
    // The table is checked before arguments are decoded: all arguments here are garbage.
    let garbage = vec![0xff; 3];
    for (held, kind) in [
        (of_data_server("n7"), NodeKind::Data),
        (of_administrator(), NodeKind::Administrator),
        (key(), NodeKind::Data),
        (key(), NodeKind::Administrator),
    ] {
        let rpc = node(&rig, &held, kind);
        for procedure in (3..64).filter_map(Procedure::from_number) {
            let answer = ask::<Nothing>(&rpc, procedure, &Raw(&garbage)).await;
            if procedure.link() == Some((kind, NodeKind::Metadata)) {
                assert_eq!(answer, Err(CallError::Rejected(ReplyStatus::GarbageArgs)), "{procedure:?}");
            } else {
                assert_eq!(answer, Ok(Err(Refusal::WrongPeer)), "{kind:?} {procedure:?}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_decoded_before_the_handshake() {
    let rig = Rig::start().await;
    let rpc = stranger(&rig);
    let garbage = vec![0xff; 3];
    for procedure in (3..64).filter_map(Procedure::from_number) {
        let answer = ask::<Nothing>(&rpc, procedure, &Raw(&garbage)).await;
        assert_eq!(answer, Ok(Err(Refusal::NotAuthenticated)), "{procedure:?}");
    }
    // A handshake of another size ends it.
    let answer = ask::<Nothing>(&rpc, Procedure::Hello, &Raw(&garbage)).await;
    assert_eq!(answer, Err(CallError::Rejected(ReplyStatus::GarbageArgs)));
    let answer = ask::<Nothing>(&rpc, Procedure::Register, &Raw(&garbage)).await;
    assert_eq!(answer, Err(CallError::Disconnected));
    // And so does a record with more than a handshake in it.
    let long = vec![0; 2 * HANDSHAKE_RECORD_BYTES_MAX];
    assert_eq!(ask::<Nothing>(&rpc, Procedure::Register, &Raw(&long)).await, Err(CallError::Disconnected));
    let known = node(&rig, &key(), NodeKind::Data);
    let answer = ask::<Nothing>(&known, Procedure::Register, &Raw(&long)).await;
    assert_eq!(answer, Err(CallError::Rejected(ReplyStatus::GarbageArgs)), "behind it there is room");
}

struct Raw<'a>(&'a [u8]);

impl Encode for Raw<'_> {
    fn encode(&self, w: &mut Writer) {
        w.raw(self.0);
    }
}
