//! Whatever comes in is answered or cut off, and the server goes on.

mod bed;

use bed::*;
use bytes::{Bytes, BytesMut};
use client::control::{ControlError, DsControl, greeting};
use ds_server::{DataServer, DsConfig};
use env::memory::net::MemoryNet;
use env::memory::{ManualClock, MemoryDisk};
use env::net::{Net, Stream};
use env_transport::{CallError, RpcClient};
use layout::Epoch;
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use wire_nfs::control::extent::{AtEpoch, ExtentName, KnownEpoch};
use wire_nfs::control::limits::HANDSHAKE_RECORD_BYTES_MAX;
use wire_nfs::control::{self, ClusterKey, Handshake, NodeKind, Nothing, Refusal, decode_reply};
use wire_nfs::v3::{self, Nfsstat3, Procedure, StableHow};
use wire_rpc::{AuthStat, Credential, OpaqueAuth, ReplyStatus, mark_bytes};
use wire_xdr::{Encode, Reader, Writer};

/// All numbers of control procedures are below.
const CONTROL_PROCEDURES_MAX: u32 = 64;

struct Raw(Bytes);

impl Encode for Raw {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.0);
    }
}

fn rejected(reply: Result<Reader, CallError>) -> ReplyStatus {
    match reply {
        Err(CallError::Rejected(status)) => status,
        other => panic!("not rejected: {other:?}"),
    }
}

/// Spec: RFC 5531 §9.
#[tokio::test]
async fn other_programs_versions_and_procedures_are_refused_politely() {
    let bed = Bed::new().await;
    let before = bed.client.connection().await.unwrap().id();
    for program in [100_227, 400_122, 100_005, control::PROGRAM, 0] {
        let status = rejected(call(&bed.client, program, 3, 0, &Nothing).await);
        assert_eq!(status, ReplyStatus::ProgUnavail, "{program}");
    }
    for version in [0, 2, 4] {
        let status = rejected(call(&bed.client, v3::PROGRAM, version, 0, &Nothing).await);
        assert_eq!(status, ReplyStatus::ProgMismatch { low: 3, high: 3 });
    }
    for procedure in [22, 100, u32::MAX] {
        let status = rejected(call(&bed.client, v3::PROGRAM, 3, procedure, &Nothing).await);
        assert_eq!(status, ReplyStatus::ProcUnavail);
    }
    call(&bed.client, v3::PROGRAM, 3, 0, &Nothing).await.unwrap().finish().unwrap();
    for procedure in Procedure::ALL {
        if [Procedure::Null, Procedure::Read, Procedure::Write, Procedure::Commit].contains(procedure) {
            continue;
        }
        let mut reply = bed.raw(*procedure, &Nothing).await.unwrap();
        assert_eq!(reply.u32().unwrap(), Nfsstat3::Notsupp.as_u32(), "{procedure:?}");
    }
    assert_eq!(bed.client.connection().await.unwrap().id(), before, "the connection was kept");
}

#[tokio::test]
async fn strange_credentials_are_refused_and_plain_ones_welcome() {
    let bed = Bed::new().await;
    let gss = Credential::Other(OpaqueAuth { flavor: 6, body: Bytes::from_static(&[0; 8]) });
    let args = || {
        let mut w = Writer::new();
        v3::read::Args { file: rw(1), offset: START, count: 1 }.encode(&mut w);
        w
    };
    let reply = bed.client.call(v3::PROGRAM, 3, 6, &gss, args(), CALL_MS).await;
    assert_eq!(rejected(reply), ReplyStatus::AuthError(AuthStat::REJECTEDCRED));
    for uid in [0, 1000, u32::MAX] {
        let sys = Credential::Sys(wire_rpc::AuthSys { uid, gid: uid, ..Default::default() });
        let mut reply = bed.client.call(v3::PROGRAM, 3, 6, &sys, args(), CALL_MS).await.unwrap();
        assert_eq!(reply.u32().unwrap(), 0);
    }
}

/// Spec: RFC 1813 §3.3.6: a READ of no bytes is answered with none.
#[tokio::test]
async fn nothing_is_read_inside_of_what_is_held() {
    let bed = Bed::new().await;
    bed.write(rw(1), START, b"held", StableHow::FileSync).await.unwrap();
    for offset in [0, 2, 4] {
        let answer = bed.read(rw(1), START + offset, 0).await.unwrap();
        assert_eq!(answer.data.len(), 0, "{offset} bytes behind the start");
    }
    assert_eq!(bed.read(rw(1), START, 4).await.unwrap().data[..], b"held"[..]);
}

/// Spec: docs/protocol/control.md §1.
#[tokio::test]
async fn the_control_port_wants_the_cluster_key() {
    let bed = Bed::new().await;
    let address = bed.server.control_address();
    let client = connect(&bed.env, address);
    let fence = AtEpoch { extent: ExtentName { ino: 7, index: 2 }, epoch: 9 };
    for procedure in 3..22 {
        let reply =
            call(&client, control::PROGRAM, control::VERSION, procedure, &fence).await.unwrap().rest();
        assert_eq!(decode_reply::<KnownEpoch>(reply).unwrap(), Err(Refusal::NotAuthenticated), "{procedure}");
    }
    call(&client, control::PROGRAM, control::VERSION, 0, &Nothing).await.unwrap();
    let reply = call(&client, control::PROGRAM, control::VERSION, 77, &Nothing).await.unwrap().rest();
    assert_eq!(
        decode_reply::<Nothing>(reply).unwrap(),
        Err(Refusal::NotAuthenticated),
        "not even what there is"
    );
    let known = peer(&bed, NodeKind::Metadata);
    assert_eq!(
        rejected(call(&known, control::PROGRAM, control::VERSION, 77, &Nothing).await),
        ReplyStatus::ProcUnavail
    );
    assert_eq!(rejected(call(&client, v3::PROGRAM, 3, 0, &Nothing).await), ReplyStatus::ProgUnavail);
    let mismatch = ReplyStatus::ProgMismatch { low: control::VERSION, high: control::VERSION };
    assert_eq!(rejected(call(&client, control::PROGRAM, 1, 0, &Nothing).await), mismatch);

    let wrong = DsControl::new(&bed.env, address, ClusterKey::new([6; 32]), bed.server.uuid(), "");
    let refused = wrong.fence(EXTENT, Epoch(9)).await;
    assert!(matches!(refused, Err(ControlError::Unreachable(CallError::Hello { .. }))), "{refused:?}");
    assert_eq!(bed.control().size(&[EXTENT]).await.unwrap()[0].epoch, 0, "nothing was fenced");
}

/// Which kind may call what is one table, and it is asked before arguments are decoded.
#[tokio::test]
async fn each_kind_calls_what_the_table_says_and_nothing_else() {
    let bed = Bed::new().await;
    for kind in [NodeKind::Metadata, NodeKind::Data] {
        let client = peer(&bed, kind);
        let all = (3..64).filter_map(control::Procedure::from_number);
        for procedure in all.filter(|one| one.link() != Some((kind, NodeKind::Data))) {
            // No procedure has such arguments.
            let garbage = control::extent::Sizes { sizes: vec![] };
            let refused = refusal(&client, procedure, &garbage).await;
            assert_eq!(refused, Some(Refusal::WrongPeer), "{kind:?} {procedure:?}");
        }
    }
    let stat = control::Procedure::Stat;
    assert_eq!(refusal(&peer(&bed, NodeKind::Metadata), stat, &Nothing).await, None);
    for kind in [NodeKind::Gateway, NodeKind::Administrator] {
        let client = connect(&bed.env, bed.server.control_address());
        let link = (kind, NodeKind::Data);
        let handshake = Handshake::new(&cluster_key(), control::PROGRAM, link, [kind as u8; 32]);
        let reply =
            call(&client, control::PROGRAM, control::VERSION, 1, handshake.hello()).await.unwrap().rest();
        assert_eq!(decode_reply::<Nothing>(reply).unwrap(), Err(Refusal::WrongPeer), "{kind:?}");
        let next = call(&client, control::PROGRAM, control::VERSION, 9, &Nothing).await;
        assert_eq!(next.unwrap_err(), CallError::Disconnected, "{kind:?}");
    }
}

/// What is not authenticated has room for the handshake, and no more.
#[tokio::test]
async fn a_long_record_before_the_handshake_ends_the_connection() {
    let bed = Bed::new().await;
    let client = connect(&bed.env, bed.server.control_address());
    let long = control::images::ImageData { data: vec![0; 4 * HANDSHAKE_RECORD_BYTES_MAX].into() };
    let answer = call(&client, control::PROGRAM, control::VERSION, 17, &long).await;
    assert_eq!(answer.unwrap_err(), CallError::Disconnected);
    // Behind it there is room for what is called: it is answered for what it is.
    let data = peer(&bed, NodeKind::Data);
    let answer = call(&data, control::PROGRAM, control::VERSION, 17, &long).await;
    assert_eq!(rejected(answer), ReplyStatus::GarbageArgs);
}

/// A handshake that is begun and never ended does not keep its place.
#[tokio::test]
async fn a_handshake_that_never_ends_is_cut() {
    let bed = Bed::new().await;
    let client = connect(&bed.env, bed.server.control_address());
    let link = (NodeKind::Data, NodeKind::Data);
    let handshake = Handshake::new(&cluster_key(), control::PROGRAM, link, [1; 32]);
    let reply = call(&client, control::PROGRAM, control::VERSION, 1, handshake.hello()).await.unwrap().rest();
    assert!(decode_reply::<control::auth::Hello>(reply).unwrap().is_ok());
    let (begun, known) = (client.connection().await.unwrap(), peer(&bed, NodeKind::Data));
    let known = known.connection().await.unwrap();
    bed.clock.advance_ms(ds_server::limits::UNPROVEN_MS_MAX);
    settle(|| !begun.is_open()).await;
    assert!(known.is_open(), "one that is through stays");
}

/// A data server with a key of its own answers metadata servers and data servers of its cluster,
/// proves its name, and is not taken for another one.
#[tokio::test]
async fn a_data_server_with_a_key_of_its_own_serves_as_itself() {
    let env = env_of(&ManualClock::new(1_000_000), &MemoryDisk::new(), &MemoryNet::new(), 1);
    let metadata = metadata::Metadata::start(&env, cluster_key()).await;
    let own = ClusterKey::data_server(cluster_key().for_data_server("n7").unwrap());
    let with = |key: &ClusterKey, name: &str| DsConfig {
        cluster_keys: key.into(),
        name: name.to_owned(),
        ..config(vec![metadata.address()])
    };
    for (key, name, holder) in [
        (own.clone(), "n8", "data server n7"),
        (ClusterKey::administrator([1; 32]), "n7", "an administrator"),
    ] {
        let refused = DataServer::start(env.clone(), with(&key, name), &mut Registry::default()).await;
        let words = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(words.contains(&format!("this key is for {holder} only")), "{words}");
    }
    let server = DataServer::start(env.clone(), with(&own, "n7"), &mut Registry::default()).await.unwrap();
    let control = |key: &ClusterKey, name: &str| {
        DsControl::new(&env, server.control_address(), key, server.uuid(), name)
    };
    settle(|| server.is_serving()).await;
    control(&cluster_key(), "n7").stat().await.unwrap();
    let other = control(&cluster_key(), "n8").stat().await.unwrap_err();
    assert!(other.to_string().contains("another name"), "{other}");
    // The keys of data servers make none of them a metadata server of another one.
    let n8 = ClusterKey::data_server(cluster_key().for_data_server("n8").unwrap());
    for key in [&own, &n8, &ClusterKey::new([6; 32])] {
        let refused = control(key, "n7").stat().await;
        let by_itself = key == &own;
        assert_eq!(refused.is_ok(), by_itself, "{key:?}");
    }
    let link = (NodeKind::Data, NodeKind::Data);
    let client = connect(&env, server.control_address()).with_hello(greeting(
        n8.clone(),
        control::PROGRAM,
        link,
        env.entropy.clone(),
    ));
    let flush = control::replicate::Flush { instance: 1 };
    let answer = refusal(&client, control::Procedure::Flush, &flush).await;
    assert_eq!(answer, Some(Refusal::AttachAgain), "another data server of the cluster");
    assert_eq!(refusal(&client, control::Procedure::Stat, &Nothing).await, Some(Refusal::WrongPeer));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_handshake_ends_the_connection() {
    let bed = Bed::new().await;
    let client = connect(&bed.env, bed.server.control_address());
    let auth = control::auth::Auth { mac: [0; 32] };
    let reply = call(&client, control::PROGRAM, control::VERSION, 2, &auth).await.unwrap().rest();
    assert_eq!(decode_reply::<Nothing>(reply).unwrap(), Err(Refusal::BadMac));
    let next = call(&client, control::PROGRAM, control::VERSION, 9, &Nothing).await;
    assert_eq!(next.unwrap_err(), CallError::Disconnected);
}

fn small_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Arguments that begin well: a genuine handle, or an extent that nothing is in and its epoch; then
/// anything.
fn arguments(of_control: bool) -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..96);
    (prop::bool::ANY, noise, 0usize..160).prop_map(move |(genuine, noise, keep)| {
        let mut w = Writer::new();
        if genuine && of_control {
            AtEpoch { extent: ExtentName { ino: 9, index: 9 }, epoch: 1 }.encode(&mut w);
        } else if genuine {
            rw(1).encode(&mut w);
            w.u64(START);
        }
        w.raw(&noise);
        let bytes = w.into_bytes();
        bytes[..keep.min(bytes.len())].to_vec()
    })
}

/// A connection of a node that holds the cluster key.
fn peer(bed: &Bed, kind: NodeKind) -> RpcClient {
    let client = connect(&bed.env, bed.server.control_address());
    client.with_hello(greeting(
        cluster_key(),
        control::PROGRAM,
        (kind, NodeKind::Data),
        bed.env.entropy.clone(),
    ))
}

#[allow(clippy::unwrap_used, reason = "only tests call it")]
async fn refusal(client: &RpcClient, procedure: control::Procedure, args: &impl Encode) -> Option<Refusal> {
    let number = procedure.number();
    let mut reply = call(client, control::PROGRAM, control::VERSION, number, args).await.unwrap();
    // An answer that is more than a status is none that was refused.
    decode_reply::<Nothing>(reply.rest()).ok().and_then(Result::err)
}

/// Spec: docs/protocol/seal.md §9.
#[tokio::test]
async fn adoptions_that_cannot_be_are_refused() {
    use control::Procedure::{Adopt, Thaw};
    let bed = Bed::new().await;
    let (data, metadata) = (peer(&bed, NodeKind::Data), peer(&bed, NodeKind::Metadata));
    bed.write(rw(1), START, b"still here", StableHow::FileSync).await.unwrap();
    let image = ds_store::ImageRef {
        image: layout::ec::ImageId([1; 16]),
        content_bytes: 100,
        file_bytes: 200,
        root: [2; 32],
    };
    let good = control::images::Adopt {
        extent: ExtentName { ino: EXTENT.ino, index: EXTENT.index },
        epoch: 2,
        sequence: 7,
        keep_bytes: 50,
        image: image.encode(),
    };
    let longer = ds_store::ImageRef { content_bytes: u32::MAX, ..image }.encode();
    let mut trailing = good.image;
    trailing[63] = 1;
    for bad in [
        control::images::Adopt { image: [0; 64], ..good },
        control::images::Adopt { image: [0xff; 64], ..good },
        control::images::Adopt { image: longer, ..good },
        control::images::Adopt { image: trailing, ..good },
        control::images::Adopt { keep_bytes: (64 << 20) + 1, ..good },
        control::images::Adopt { keep_bytes: u32::MAX, ..good },
        control::images::Adopt { sequence: 0, ..good },
        control::images::Adopt { sequence: u64::MAX, ..good },
    ] {
        assert_eq!(refusal(&metadata, Adopt, &bad).await, Some(Refusal::Invalid), "{bad:?}");
    }
    let low = control::images::Adopt { epoch: 0, ..good };
    // It is as if a CUT of this epoch had come: nothing is that low.
    assert_eq!(refusal(&metadata, Adopt, &low).await, None);
    assert_eq!(refusal(&data, Adopt, &good).await, Some(Refusal::WrongPeer));
    let thaw = control::images::Thaw { server: 1, extent: good.extent, sequence: 1 };
    assert_eq!(refusal(&metadata, Thaw, &thaw).await, Some(Refusal::WrongPeer), "not a data server's");
    let read = bed.read(rw(1), START, 10).await.unwrap();
    assert_eq!(&read.data[..], b"still here");
    // That the good one is one: no server has such an image.
    assert_eq!(refusal(&metadata, Adopt, &good).await, None);
    assert_eq!(bed.control().size(&[EXTENT]).await.unwrap()[0].end_bytes, 50);
    let newer = rw(2);
    assert!(bed.read(newer, START, 10).await.is_err());
}

/// Spec: docs/protocol/seal.md.
#[tokio::test]
async fn images_that_cannot_be_are_refused() {
    use control::Procedure::{Encode, EndImage, PutImage, ReadImage, Rebuild};
    let bed = Bed::new().await;
    let (data, metadata) = (peer(&bed, NodeKind::Data), peer(&bed, NodeKind::Metadata));
    let image = [7; 16];
    let read = |offset, length| control::images::ReadImage { image, offset, length };
    for (offset, length) in [(0, 1), (u64::MAX, 1 << 20), (5, 0)] {
        assert_eq!(refusal(&data, ReadImage, &read(offset, length)).await, Some(Refusal::NoImage));
    }
    assert_eq!(refusal(&data, ReadImage, &read(0, (1 << 20) + 1)).await, Some(Refusal::Invalid));
    assert_eq!(refusal(&metadata, ReadImage, &read(0, 1)).await, Some(Refusal::WrongPeer));
    let put = |image, file_bytes, offset, bytes: usize| {
        let data = Bytes::from(vec![1; bytes]);
        control::images::PutImage { image, file_bytes, offset, data }
    };
    for (file_bytes, offset, bytes) in
        [(0, 0, 0), (1, 0, 1), (u32::MAX, 0, 1 << 16), (1 << 20, 5, 1 << 16), (1 << 20, 1 << 20, 1 << 16)]
    {
        let refused = refusal(&data, PutImage, &put(image, file_bytes, offset, bytes)).await;
        // What can never fit is refused before it is looked at.
        assert!(
            matches!(refused, Some(Refusal::Invalid | Refusal::NoSpace)),
            "{file_bytes} {offset} {refused:?}"
        );
    }
    assert_eq!(refusal(&data, PutImage, &put([0; 16], 1 << 20, 0, 1 << 16)).await, Some(Refusal::Invalid));
    assert_eq!(refusal(&data, PutImage, &put(image, 1 << 20, 0, 1 << 16)).await, None);
    assert_eq!(refusal(&data, PutImage, &put(image, 1 << 19, 0, 1 << 16)).await, Some(Refusal::Invalid));
    let end = |image| control::images::EndImage { image, file_bytes: 1 << 20, sum: [0; 32] };
    assert_eq!(refusal(&data, EndImage, &end(image)).await, Some(Refusal::NoImage), "not all has come");
    assert_eq!(refusal(&data, EndImage, &end(image)).await, Some(Refusal::NoImage), "nothing is left of it");
    // As many as there may be at a time, and no more; then they are forgotten.
    for number in 0..=ds_server::limits::RECEIVING_MAX {
        let mut image = [9; 16];
        image[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let full = (number == ds_server::limits::RECEIVING_MAX).then_some(Refusal::Busy);
        assert_eq!(refusal(&data, PutImage, &put(image, 1 << 20, 0, 1 << 16)).await, full, "{number}");
    }
    bed.clock.advance_ms(ds_server::limits::RECEIVING_MS_MAX);
    assert_eq!(refusal(&data, PutImage, &put([8; 16], 1 << 20, 0, 1 << 16)).await, None);
    let draft = control::groups::EncodeGroup { draft: Bytes::new(), homes: vec![1], parity: vec![4] };
    assert_eq!(refusal(&metadata, Encode, &draft).await, Some(Refusal::Invalid));
    let slot = control::groups::GroupSlot { record: Bytes::from_static(b"no group"), slot: 0 };
    assert_eq!(refusal(&metadata, Rebuild, &slot).await, Some(Refusal::Invalid));
    assert_eq!(refusal(&data, Rebuild, &slot).await, Some(Refusal::WrongPeer));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// On the data port from a client, and on the control port from nodes that have proved
    /// themselves, for which arguments are decoded.
    #[test]
    fn any_arguments_get_an_answer(
        all in prop::collection::vec(
            ((0u32..25, arguments(false)), (3..CONTROL_PROCEDURES_MAX, arguments(true))),
            1..24,
        )
    ) {
        small_runtime().block_on(async {
            let bed = Bed::new().await;
            let nodes = [peer(&bed, NodeKind::Metadata), peer(&bed, NodeKind::Data)];
            let connections = (bed.client.connection().await.unwrap(), nodes[0].connection().await.unwrap());
            for ((procedure, arguments), (control_procedure, control_arguments)) in all {
                let reply = call(&bed.client, v3::PROGRAM, 3, procedure, &Raw(arguments.into())).await;
                assert!(matches!(reply, Ok(_) | Err(CallError::Rejected(_))), "{procedure} {reply:?}");
                let args = Raw(control_arguments.into());
                for node in &nodes {
                    let reply = call(node, control::PROGRAM, control::VERSION, control_procedure, &args).await;
                    assert!(matches!(reply, Ok(_) | Err(CallError::Rejected(_))), "{control_procedure} {reply:?}");
                }
            }
            assert!(connections.0.is_open() && connections.1.is_open());
            bed.write(rw(1), START, b"still here", StableHow::FileSync).await.unwrap();
            assert_eq!(&bed.read(rw(1), START, 10).await.unwrap().data[..], b"still here");
        });
    }

    /// On both ports: what makes no sense is answered or cut off, and the server does not wait for
    /// more once the sender has ended.
    #[test]
    fn any_bytes_on_the_wire_leave_it_standing(
        records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<bool>()), 1..8),
    ) {
        small_runtime().block_on(async {
            let bed = Bed::new().await;
            let known = (bed.client.connection().await.unwrap(), bed.control());
            known.1.stat().await.unwrap();
            for address in [bed.server.address(), bed.server.control_address()] {
                for (bytes, marked) in &records {
                    let mark = if *marked { mark_bytes(bytes.len()).to_vec() } else { vec![] };
                    let Stream { mut read, mut write, .. } = bed.net.connect(address).await.unwrap();
                    let record = [&mark[..], bytes].concat();
                    let mut rest = &record[..];
                    while !rest.is_empty() {
                        let Ok(sent) = write.write(&[std::io::IoSlice::new(rest)]).await else { break };
                        rest = &rest[sent..];
                    }
                    drop(write);
                    // Until the server has cut it off, or closed it.
                    let mut answer = BytesMut::new();
                    while let Ok(1..) = read.read(&mut answer, 4096).await {}
                    assert!(is_reply(&answer), "{answer:?}");
                }
            }
            assert!(known.0.is_open(), "connections of others stay");
            bed.write(rw(1), START, b"still here", StableHow::FileSync).await.unwrap();
            known.1.stat().await.unwrap();
        });
    }
}

/// Nothing, or a whole record that is a reply.
fn is_reply(answer: &[u8]) -> bool {
    let Some((mark, record)) = answer.split_first_chunk::<4>() else { return answer.is_empty() };
    let record_bytes = u32::from_be_bytes(*mark) & !(1 << 31);
    let reply = wire_rpc::parse(Bytes::copy_from_slice(record));
    record_bytes as usize == record.len() && matches!(reply, Ok(wire_rpc::Message::Reply(..)))
}
