//! The port of the Raft program: only metadata servers of the cluster are served, whatever a caller
//! claims to be.
//!
//! Spec: docs/protocol/control.md §1; docs/protocol/raft.md.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::Env;
use env::memory::MemoryDisk;
use env::memory::net::MemoryNet;
use env_transport::{CallError, Limits, RpcClient};
use mds_namespace::store::mem::MemStore;
use mds_raft::{NodeConfig, Shard};
use wire_nfs::control::auth::Hello;
use wire_nfs::control::limits::HANDSHAKE_RECORD_BYTES_MAX;
use wire_nfs::control::{
    ClusterKey, Handshake, NodeKind, Nothing, Procedure, RAFT_PROGRAM, Refusal, decode_reply, encoded,
};
use wire_rpc::{Credential, ReplyStatus};
use wire_xdr::{Decode, Writer};

use crate::scene::{env_with, runtime};

/// Version of the Raft program (docs/protocol/raft.md).
const VERSION: u32 = 5;
const KEY: [u8; 32] = [4; 32];

/// Calls the member, and decodes the reply.
async fn call_member<R: Decode>(
    rpc: &RpcClient,
    procedure: u32,
    args: Bytes,
) -> Result<Result<R, Refusal>, CallError> {
    let mut w = Writer::new();
    w.raw_bytes(args);
    let reply = rpc.call(RAFT_PROGRAM, VERSION, procedure, &Credential::None, w, 5_000).await?;
    Ok(decode_reply({ reply }.rest()).unwrap())
}

fn caller(env: &Env) -> RpcClient {
    let at = "10.0.0.1:1".parse().unwrap();
    RpcClient::new(env.net.clone(), env.clock.clone(), at, Limits::default())
}

#[test]
fn only_metadata_servers_are_served() {
    let env = env_with(Arc::new(MemoryDisk::new()), Arc::new(MemoryNet::new()));
    let config = NodeConfig {
        id: 1,
        members: [1, 2].map(|id| (id, format!("10.0.0.{id}:1"))).to_vec(),
        cluster_keys: ClusterKey::new(KEY).into(),
        ..NodeConfig::single([1; 16])
    };
    let runtime = runtime();
    let store = Arc::new(MemStore::new());
    let starting = Shard::start_on(env.clone(), vec![store], Path::new("/shard"), config);
    let shard = runtime.block_on(starting).unwrap();
    runtime.block_on(async {
        let (hello, auth) = (Procedure::Hello.number(), Procedure::Auth.number());
        let key = ClusterKey::new(KEY);
        let raft = (NodeKind::Metadata, NodeKind::Metadata);
        // Nothing is decoded before the handshake.
        let stranger = caller(&env);
        for procedure in 3..20 {
            let answer = call_member::<Nothing>(&stranger, procedure, Bytes::from_static(&[0xff; 3])).await;
            assert_eq!(answer, Ok(Err(Refusal::NotAuthenticated)), "{procedure}");
        }
        let long = vec![0; 2 * HANDSHAKE_RECORD_BYTES_MAX];
        assert_eq!(call_member::<Nothing>(&stranger, 3, long.into()).await, Err(CallError::Disconnected));
        let short = call_member::<Nothing>(&stranger, hello, Bytes::from_static(&[0; 71])).await;
        assert_eq!(short, Err(CallError::Rejected(ReplyStatus::GarbageArgs)));
        assert_eq!(
            call_member::<Nothing>(&stranger, hello, Bytes::new()).await,
            Err(CallError::Disconnected)
        );
        // Other roles are refused here, with any key.
        for kind in [NodeKind::Data, NodeKind::Administrator, NodeKind::Gateway] {
            let rpc = caller(&env);
            let begun = Handshake::new(&key, RAFT_PROGRAM, (kind, NodeKind::Metadata), [1; 32]);
            let answer = call_member::<Hello>(&rpc, hello, encoded(begun.hello())).await;
            assert_eq!(answer, Ok(Err(Refusal::WrongPeer)), "{kind:?}");
        }
        // So is a data server that claims to be a metadata server: it has no key to prove it.
        let rpc = caller(&env);
        let begun = Handshake::new(&key, RAFT_PROGRAM, raft, [1; 32]);
        let own = call_member::<Hello>(&rpc, hello, encoded(begun.hello())).await.unwrap().unwrap();
        let data = key.for_data_server("n7").unwrap();
        for forged in [data.own, data.neighbours, key.for_administrator().unwrap()] {
            let rpc = caller(&env);
            let begun = Handshake::new(&ClusterKey::new(forged), RAFT_PROGRAM, raft, [1; 32]);
            let answer = call_member::<Hello>(&rpc, hello, encoded(begun.hello())).await.unwrap().unwrap();
            let (_, proof) = begun.on_hello(answer).unwrap();
            assert_eq!(call_member::<Nothing>(&rpc, auth, encoded(&proof)).await, Ok(Err(Refusal::BadMac)));
            assert_eq!(call_member::<Nothing>(&rpc, auth, Bytes::new()).await, Err(CallError::Disconnected));
        }
        // An attacker who reflects a member's messages to it is detected.
        let mirror = Hello { nonce: [3; 32], ..own };
        let answer = call_member::<Hello>(&caller(&env), hello, encoded(&mirror)).await;
        assert_eq!(answer, Ok(Err(Refusal::WrongPeer)));
        // A metadata server's call is handled: these arguments are garbage.
        let rpc = caller(&env);
        let begun = Handshake::new(&key, RAFT_PROGRAM, raft, [1; 32]).of_node(2);
        let answer = call_member::<Hello>(&rpc, hello, encoded(begun.hello())).await.unwrap().unwrap();
        let (greeted, proof) = begun.on_hello(answer).unwrap();
        let answer = call_member(&rpc, auth, encoded(&proof)).await.unwrap().unwrap();
        greeted.on_auth(&answer).unwrap();
        let answer = call_member::<Nothing>(&rpc, 3, vec![0; 2 * HANDSHAKE_RECORD_BYTES_MAX].into()).await;
        assert!(
            !matches!(answer, Ok(Err(Refusal::NotAuthenticated)) | Err(CallError::Disconnected)),
            "{answer:?}"
        );
    });
    runtime.block_on(shard.stop());
}
