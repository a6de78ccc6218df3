//! EXCHANGE_ID: a client identifies itself and gets a client id.
//!
//! `wire_session::server::client_id` decides the cases of a known, unknown, restarted or foreign
//! client; the log applies them.
//!
//! Spec: RFC 8881 §18.35.

use std::net::IpAddr;

use bytes::Bytes;
use mds_state::command::client::{ClientMade, ExchangeId, ExchangeIdAs, ExchangeIdFrom};
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::exchange_id::{Args, ImplId, ResOk, StateProtectAsked, StateProtectGranted, flags};

use crate::context::{Context, OpResult};
use crate::give_way;

/// Longest implementation name kept, bytes.
const IMPLEMENTATION_BYTES_MAX: usize = 256;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    if args.flags & !flags::ARGS_ALL != 0 {
        return Err(Nfsstat4::Inval.into());
    }
    if matches!(args.state_protect, StateProtectAsked::Ssv(_)) {
        return Err(Nfsstat4::EncrAlgUnsupp.into());
    }
    admitted(cx)?;
    let implementation = args.impl_id.first().map(implementation).unwrap_or_default();
    let command = ExchangeId {
        owner: args.owner_id.to_vec(),
        verifier: args.verifier.0,
        principal: cx.principal.clone(),
        update: args.flags & flags::UPD_CONFIRMED_REC_A != 0,
        implementation,
    };
    give_way::give_way_to_principal(&cx.server, &command.owner, &command.principal).await;
    let fresh = cx.server.env.entropy.u64();
    let address = match cx.peer.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let asked = ExchangeIdAs { asked: command, fresh };
    let command = Command::ExchangeIdFrom(ExchangeIdFrom { asked, address });
    let Outcome::ClientMade(ClientMade { answer, evicted }) = cx.propose(command).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    for client in evicted {
        cx.server.front.sessions.lock().drop_client(client);
    }
    // A client that is replaced later, once the new one is confirmed, still exists.
    let is_gone = |client| cx.view().is_ok_and(|view| view.client(client).is_ok_and(|one| one.is_none()));
    if let Some(evicted) = answer.replaces.filter(|client| is_gone(*client)) {
        cx.server.front.sessions.lock().drop_client(evicted);
    }
    let now_ms = cx.server.now_ms();
    cx.server.front.sessions.lock().leases_mut().renew(answer.client, now_ms);
    // The reply must name a role, and no flag that the client does not know, or Linux does not
    // mount.
    let mut reply_flags = flags::USE_PNFS_MDS;
    if answer.confirmed {
        reply_flags |= flags::CONFIRMED_R;
    }
    let identity = Bytes::copy_from_slice(&cx.server.file_system);
    Ok(ResOk {
        clientid: answer.client,
        sequenceid: answer.sequence,
        flags: reply_flags,
        // Machine credentials are not enforced; Linux continues without them.
        state_protect: StateProtectGranted::None,
        server_minor_id: 0,
        server_major_id: identity.clone(),
        server_scope: identity,
        impl_id: vec![ImplId {
            domain: Bytes::from_static(b"shoal"),
            name: Bytes::from_static(concat!("shoal ", env!("CARGO_PKG_VERSION")).as_bytes()),
            date: wire_nfs::v4::Nfstime4::default(),
        }],
    })
}

/// Refuses hosts that no export admits: they create no client, nor affect another's. While the list
/// of exports is empty, all are admitted.
pub(super) fn admitted(cx: &Context) -> OpResult<()> {
    let exports = cx.server.exports();
    if exports.iter().next().is_some() && !exports.iter().any(|(_, export)| export.admits(cx.peer.ip())) {
        return Err(Nfsstat4::Access.into());
    }
    Ok(())
}

fn implementation(id: &ImplId) -> String {
    let name = String::from_utf8_lossy(&id.name);
    name.chars().filter(|c| !c.is_control()).take(IMPLEMENTATION_BYTES_MAX).collect()
}
