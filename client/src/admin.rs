//! What administrators ask of metadata servers: goes to the one that leads by itself.
//!
//! Spec: docs/protocol/admin.md.

use std::net::SocketAddr;

use env::Env;
use env_transport::{Limits, RpcClient};
use wire_nfs::control::admin::{
    DrainServer, HandleKeyRotation, Readmit, Readmitted, Rebalance, Rebalanced, RemoveServer,
    RotateHandleKey, Ruling, Verified, Verify,
};
use wire_nfs::control::exports::{ExportsRuling, SetExports};
use wire_nfs::control::report::{AskReport, Reported, Subject};
use wire_nfs::control::{Keyring, NodeKind, PROGRAM, Procedure, Refusal, VERSION, decode_reply};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer};

use crate::control::{ControlError, greeting};
use crate::limits::{ADMIN_CALLS_MAX, ADMIN_MS_MAX};

/// The metadata servers as an administrator asks them.
pub struct AdminControl {
    env: Env,
    keys: Keyring,
    addresses: Vec<SocketAddr>,
}

impl AdminControl {
    /// Opens nothing yet. `addresses` are control addresses, of one metadata server or more.
    #[must_use]
    pub fn new(env: &Env, addresses: Vec<SocketAddr>, keys: impl Into<Keyring>) -> Self {
        Self { env: env.clone(), keys: keys.into(), addresses }
    }

    /// Has a data server forgotten that is gone for good.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn remove(&self, server: u32) -> Result<Ruling, ControlError> {
        self.call(Procedure::DsRemove, &RemoveServer { server }).await
    }

    /// Has everything moved away from a data server, or ends that.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn drain(&self, server: u32, drain: bool) -> Result<Ruling, ControlError> {
        self.call(Procedure::DsDrain, &DrainServer { server, drain }).await
    }

    /// Has data moved until each data server has its share, or asks what would be moved.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn rebalance(&self, dry_run: bool) -> Result<Rebalanced, ControlError> {
        self.call(Procedure::Rebalance, &Rebalance { dry_run }).await
    }

    /// Has a metadata server taken in again that lost its disk, and asks how far that is: to be
    /// asked until all shards have it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn readmit(&self, number: u64) -> Result<Readmitted, ControlError> {
        self.call(Procedure::MdsReadmit, &Readmit { number }).await
    }

    /// Has the key of data-server handles replaced if the keys are still of this version, and asks
    /// how far that is; `None` only asks. To be asked until no replacement is under way.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn rotate_handle_key(&self, replaces: Option<u64>) -> Result<HandleKeyRotation, ControlError> {
        self.call(Procedure::HandleKeyRotate, &RotateHandleKey { replaces }).await
    }

    /// Says what the cluster exports.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn set_exports(&self, asked: &SetExports) -> Result<ExportsRuling, ControlError> {
        self.call(Procedure::ExportsSet, asked).await
    }

    /// Asks how the cluster is: one object, or a part of a list from the item `from` on, as JSON.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn report(&self, subject: Subject, from: u32) -> Result<Reported, ControlError> {
        self.call(Procedure::Report, &AskReport { subject, from }).await
    }

    /// Asks where the extents of a file are: all of them.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn verify(&self, path: &[u8]) -> Result<Verified, ControlError> {
        let mut ask = Verify { path: path.to_vec(), from: 0 };
        let mut all: Verified = self.call(Procedure::Verify, &ask).await?;
        while let Some(from) = all.next.take().filter(|from| ask.from < *from) {
            ask.from = from;
            let more: Verified = self.call(Procedure::Verify, &ask).await?;
            all.extents.extend(more.extents);
            all.next = more.next;
        }
        Ok(all)
    }

    /// Asks one after the other until one answers that leads.
    async fn call<R: Decode>(&self, procedure: Procedure, args: &impl Encode) -> Result<R, ControlError> {
        let mut turn = self.addresses.iter().copied();
        let (mut next, mut last) = (turn.next(), ControlError::Unknown);
        for _ in 0..ADMIN_CALLS_MAX {
            let Some(address) = next else { break };
            match self.ask(address, procedure, args).await {
                Err(ControlError::Refused(Refusal::NotLeader { leader })) => {
                    next = leader.parse().ok().or_else(|| turn.next());
                    last = ControlError::Refused(Refusal::NotLeader { leader });
                }
                Err(ControlError::Unreachable(error)) => {
                    next = turn.next();
                    last = ControlError::Unreachable(error);
                }
                answer => return answer,
            }
        }
        Err(last)
    }

    async fn ask<R: Decode>(
        &self,
        address: SocketAddr,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Result<R, ControlError> {
        let mut w = Writer::new();
        args.encode(&mut w);
        let (net, clock) = (self.env.net.clone(), self.env.clock.clone());
        let hello = greeting(
            &self.keys,
            PROGRAM,
            (NodeKind::Administrator, NodeKind::Metadata),
            self.env.entropy.clone(),
        );
        let client = RpcClient::new(net, clock, address, Limits::default()).with_hello(hello);
        let mut reader = client
            .call(PROGRAM, VERSION, procedure.number(), &Credential::None, w, ADMIN_MS_MAX)
            .await
            .map_err(ControlError::Unreachable)?;
        let reply = decode_reply::<R>(reader.rest()).map_err(ControlError::Garbage)?;
        reply.map_err(ControlError::Refused)
    }
}
