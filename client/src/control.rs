//! Control calls to a data server: fence, cut, drop, prove, size, keep, stat, encode, rebuild,
//! adopt, have, on an authenticated connection.
//!
//! Spec: docs/protocol/control.md §1, §3 to §5; docs/protocol/seal.md §3, §6, §9, §10.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use env::{BoxFuture, Entropy, Env};
use env_transport::{CallError, Connection, Limits, RpcClient};
use layout::ec::{Draft, Group, ImageId, ImageRef, Shape};
use layout::{DataServerId, Epoch, ExtentId};
use wire_nfs::control::auth::{Auth, Hello, Peer};
use wire_nfs::control::copies::CopySet;
use wire_nfs::control::extent::{AtEpoch, Cut, ExtentName, ExtentSize, KnownEpoch, SizeOf, Sizes};
use wire_nfs::control::groups::{EncodeGroup, EncodedGroup, GroupSlot};
use wire_nfs::control::heartbeat::Stat;
use wire_nfs::control::images::{Adopt, HadImages, HaveImages, HeldImage};
use wire_nfs::control::{
    Handshake, Identity, Keyring, NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_reply,
};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer, XdrError};

use crate::limits::{CONTROL_MS_MAX, ENCODE_MS_MAX, REBUILD_MS_MAX};

/// Why a control call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It could not be reached, refused the handshake, or did not answer in time.
    #[error("cannot be reached: {0}")]
    Unreachable(CallError),
    /// It refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Its answer makes no sense.
    #[error("answer makes no sense: {0}")]
    Garbage(XdrError),
    /// No data server of that id is known.
    #[error("not known")]
    Unknown,
}

/// Control calls to one data server.
pub struct DsControl {
    client: RpcClient,
}

impl DsControl {
    /// Opens nothing yet. Calls are made as a metadata server, to the data server whose directory
    /// has this number: one with another directory at that address gets no call, nor one that
    /// proves another name.
    #[must_use]
    pub fn new(env: &Env, address: SocketAddr, keys: impl Into<Keyring>, uuid: [u8; 16], name: &str) -> Self {
        let client = RpcClient::new(env.net.clone(), env.clock.clone(), address, Limits::default());
        let (keys, entropy) = (keys.into(), Arc::clone(&env.entropy));
        let renewal = renewal(&keys);
        let (own, any) = (Identity::of_name(name), Identity::ANY);
        let hello = move |connection: Connection| -> BoxFuture<'static, Result<(), CallError>> {
            let handshake = begin(&keys, PROGRAM, (NodeKind::Metadata, NodeKind::Data), &*entropy);
            Box::pin(async move {
                let peer = greet(&connection, PROGRAM, handshake).await?;
                if ![own, any].contains(&peer.identity) {
                    return Err(refused("a data server with another name"));
                }
                let there: Stat = exchange(&connection, PROGRAM, Procedure::Stat, &Nothing).await?;
                if there.uuid == uuid { Ok(()) } else { Err(refused("a data server with another directory")) }
            })
        };
        Self { client: client.with_hello(Arc::new(hello)).with_renewal(renewal) }
    }

    /// Raises an extent's epoch.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn fence(&self, extent: ExtentId, epoch: Epoch) -> Result<(), ControlError> {
        let args = AtEpoch { extent: name(extent), epoch: epoch.0 };
        self.call::<KnownEpoch>(Procedure::Fence, &args).await.map(drop)
    }

    /// Forgets an extent's bytes from `keep_bytes` on, on its primary and on the replicas that
    /// `copies` names.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn cut(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        keep_bytes: u64,
        copies: Option<CopySet>,
    ) -> Result<(), ControlError> {
        let keep_bytes = u32::try_from(keep_bytes).map_err(|_| ControlError::Refused(Refusal::Invalid))?;
        let args = Cut { extent: name(extent), epoch: epoch.0, keep_bytes, copies };
        self.call::<KnownEpoch>(Procedure::Cut, &args).await.map(drop)
    }

    /// Forgets an extent.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn drop_extent(&self, extent: ExtentId, epoch: Epoch) -> Result<(), ControlError> {
        let args = AtEpoch { extent: name(extent), epoch: epoch.0 };
        self.call::<KnownEpoch>(Procedure::Drop, &args).await.map(drop)
    }

    /// As [`fence`](Self::fence), and has a new primary show that it can read what it is to serve.
    ///
    /// # Errors
    /// [`ControlError`]; `Refused(Io)` if it cannot.
    pub async fn prove(&self, extent: ExtentId, epoch: Epoch) -> Result<(), ControlError> {
        let args = AtEpoch { extent: name(extent), epoch: epoch.0 };
        self.call::<KnownEpoch>(Procedure::Prove, &args).await.map(drop)
    }

    /// Asks how far extents reach, one answer for each.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn size(&self, extents: &[ExtentId]) -> Result<Vec<ExtentSize>, ControlError> {
        let args = SizeOf { extents: extents.iter().copied().map(name).collect() };
        let sizes: Sizes = self.call(Procedure::Size, &args).await?;
        if sizes.sizes.len() == extents.len() {
            Ok(sizes.sizes)
        } else {
            Err(ControlError::Garbage(XdrError::Invalid { field: "sizes" }))
        }
    }

    /// Has the primary of an extent look after its replicas.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn keep(&self, set: &CopySet) -> Result<(), ControlError> {
        self.call::<Nothing>(Procedure::Keep, set).await.map(drop)
    }

    /// Asks for usage and counters.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn stat(&self) -> Result<Stat, ControlError> {
        self.call(Procedure::Stat, &Nothing).await
    }

    /// Has it make the parity of a group, for itself and for the other servers that `parity` names;
    /// answers what the group is then. `homes` are the data servers of the members, `None` for an
    /// empty one.
    ///
    /// # Errors
    /// [`ControlError`]; an answer that is not this draft makes no sense.
    pub async fn encode(
        &self,
        draft: &Draft,
        homes: &[Option<DataServerId>],
        parity: &[DataServerId],
    ) -> Result<Shape, ControlError> {
        let args = EncodeGroup {
            draft: Bytes::from(draft.encode()),
            homes: homes.iter().map(|home| home.map_or(0, |home| home.0)).collect(),
            parity: parity.iter().map(|server| server.0).collect(),
        };
        let encoded: EncodedGroup = self.call_within(Procedure::Encode, &args, ENCODE_MS_MAX).await?;
        match Shape::decode(&encoded.shape) {
            Ok(shape) if shape.draft() == draft => Ok(shape),
            Ok(_) | Err(_) => Err(ControlError::Garbage(XdrError::Invalid { field: "shape" })),
        }
    }

    /// Has it make the image in a slot of a group again, from the others.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn rebuild(&self, group: &Group, slot: usize) -> Result<(), ControlError> {
        let slot = u32::try_from(slot).map_err(|_| ControlError::Refused(Refusal::Invalid))?;
        let args = GroupSlot { record: Bytes::from(group.encode()), slot };
        self.call_within::<Nothing>(Procedure::Rebuild, &args, REBUILD_MS_MAX).await.map(drop)
    }

    /// Makes it the primary of an extent of which only an image is left. The image gets `sequence`,
    /// or a higher one.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn adopt(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        sequence: u64,
        keep_bytes: u64,
        image: &ImageRef,
    ) -> Result<(), ControlError> {
        let keep_bytes = u32::try_from(keep_bytes).map_err(|_| ControlError::Refused(Refusal::Invalid))?;
        let args =
            Adopt { extent: name(extent), epoch: epoch.0, sequence, keep_bytes, image: image.encode() };
        self.call::<KnownEpoch>(Procedure::Adopt, &args).await.map(drop)
    }

    /// Asks the data server `server` whether it has files of images, with these lengths; one answer
    /// for each, false if it surely has not.
    ///
    /// # Errors
    /// [`ControlError`]; `Refused(Busy)` if it is not that server, or cannot tell now.
    pub async fn have(
        &self,
        server: DataServerId,
        images: &[(ImageId, u64)],
    ) -> Result<Vec<bool>, ControlError> {
        let held = |(image, bytes): &(ImageId, u64)| {
            let file_bytes = u32::try_from(*bytes).map_err(|_| ControlError::Refused(Refusal::Invalid))?;
            Ok(HeldImage { image: image.0, file_bytes })
        };
        let images: Vec<HeldImage> = images.iter().map(held).collect::<Result<_, ControlError>>()?;
        let asked = images.len();
        let had: HadImages = self.call(Procedure::Have, &HaveImages { server: server.0, images }).await?;
        if had.have.len() == asked {
            Ok(had.have)
        } else {
            Err(ControlError::Garbage(XdrError::Invalid { field: "have" }))
        }
    }

    async fn call<R: Decode>(&self, procedure: Procedure, args: &impl Encode) -> Result<R, ControlError> {
        self.call_within(procedure, args, CONTROL_MS_MAX).await
    }

    async fn call_within<R: Decode>(
        &self,
        procedure: Procedure,
        args: &impl Encode,
        ms_max: u64,
    ) -> Result<R, ControlError> {
        let mut w = Writer::new();
        args.encode(&mut w);
        let mut reader = self
            .client
            .call(PROGRAM, VERSION, procedure.number(), &Credential::None, w, ms_max)
            .await
            .map_err(ControlError::Unreachable)?;
        let reply = decode_reply::<R>(reader.rest()).map_err(ControlError::Garbage)?;
        reply.map_err(ControlError::Refused)
    }
}

fn name(extent: ExtentId) -> ExtentName {
    ExtentName { ino: extent.ino, index: extent.index }
}

/// What is said on each fresh connection between nodes: HELLO and AUTH, by a caller of one kind to
/// a callee of another.
#[must_use]
pub fn greeting(
    keys: impl Into<Keyring>,
    program: u32,
    link: (NodeKind, NodeKind),
    entropy: Arc<dyn Entropy>,
) -> env_transport::Hello {
    let keys = keys.into();
    Arc::new(move |connection: Connection| -> BoxFuture<'static, Result<(), CallError>> {
        let handshake = begin(&keys, program, link, &*entropy);
        Box::pin(async move { greet(&connection, program, handshake).await.map(drop) })
    })
}

/// The renewal with which a client opens another connection once the active key is another one.
fn renewal(keys: &Keyring) -> env_transport::Renewal {
    let keys = keys.clone();
    Arc::new(move || keys.active_version())
}

fn begin(keys: &Keyring, program: u32, link: (NodeKind, NodeKind), entropy: &dyn Entropy) -> Handshake {
    let mut nonce = [0; 32];
    entropy.fill(&mut nonce);
    Handshake::new(keys.held().active(), program, link, nonce)
}

async fn greet(connection: &Connection, program: u32, handshake: Handshake) -> Result<Peer, CallError> {
    let hello: Hello = exchange(connection, program, Procedure::Hello, handshake.hello()).await?;
    let (greeted, auth) = handshake.on_hello(hello).map_err(refused)?;
    let answer: Auth = exchange(connection, program, Procedure::Auth, &auth).await?;
    greeted.on_auth(&answer).map_err(refused)
}

async fn exchange<R: Decode>(
    connection: &Connection,
    program: u32,
    procedure: Procedure,
    args: &impl Encode,
) -> Result<R, CallError> {
    let mut w = Writer::new();
    args.encode(&mut w);
    let mut reader =
        connection.call(program, VERSION, procedure.number(), &Credential::None, w, CONTROL_MS_MAX).await?;
    decode_reply::<R>(reader.rest())?.map_err(refused)
}

fn refused(reason: impl std::fmt::Display) -> CallError {
    CallError::Hello { reason: reason.to_string() }
}
