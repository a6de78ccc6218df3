//! HELLO and AUTH: how the two ends of a node-to-node connection prove what they are, and that they
//! belong to the cluster.
//!
//! [`ControlGate`] is the callee's side, [`Handshake`] the caller's. Both are values without a
//! socket or a source of randomness: nonces come in as arguments. The Raft transport opens with the
//! same two procedures. Which key proves what is said in `keys`, which role may call what in
//! `roles`.
//!
//! INVARIANT: before a gate is open nothing is decoded but HELLO and AUTH, whose fields have fixed
//! sizes.
//! INVARIANT: a gate is open only as long as its node holds the key under which it was opened.
//! INVARIANT: a gate that has seen a wrong MAC, a second HELLO, or a HELLO or AUTH of another
//! length, never opens.
//! Spec: docs/protocol/control.md §1, §2.

use std::fmt;

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Writer, XdrError, xdr_struct};

use super::keyring::Keyring;
use super::keys::{ClusterKey, End, Identity, LinkKey};
use super::roles::may_meet;
use super::{Procedure, Refusal, VERSION, decode_args, put_reply};

pub use super::node_kind::NodeKind;

const LABEL_CALLER: &[u8] = b"shoal caller";
const LABEL_CALLEE: &[u8] = b"shoal callee";
const LABEL_SECRET: &[u8] = b"shoal secret";
const MAC_INPUT_BYTES: usize = 160;

/// Arguments of HELLO take exactly so many bytes.
pub const HELLO_BYTES: usize = 72;
/// And those of AUTH.
pub const AUTH_BYTES: usize = 32;

/// Arguments of HELLO, and the body of its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of the handshake.
    pub version: u32,
    /// What is speaking.
    pub kind: NodeKind,
    /// Which of these.
    pub identity: Identity,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
}

xdr_struct! { Hello { version, kind, identity, nonce } }

impl Hello {
    fn end(&self) -> End {
        End { kind: self.kind, identity: self.identity }
    }

    /// Only data servers prove which of them they are; metadata servers tell apart whom they
    /// called.
    fn is_sound(&self) -> bool {
        match self.kind {
            NodeKind::Data | NodeKind::Metadata => true,
            NodeKind::Gateway | NodeKind::Administrator => self.identity == Identity::ANY,
        }
    }
}

/// Arguments of AUTH, and the body of its reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// Keyed BLAKE3 over what both sides know of this connection.
    pub mac: [u8; 32],
}

xdr_struct! { Auth { mac } }

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(..)")
    }
}

/// A secret that only the two ends of an authenticated connection know. Never sent, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionSecret([u8; 32]);

impl ConnectionSecret {
    /// Keyed BLAKE3 under the secret over the parts, one behind the other.
    pub(super) fn keyed(&self, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        parts.iter().for_each(|part| {
            hasher.update(part);
        });
        hasher.finalize()
    }
}

impl fmt::Debug for ConnectionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionSecret(..)")
    }
}

/// What both ends know of a connection once HELLO was answered.
struct Transcript<'a> {
    program: u32,
    caller: &'a Hello,
    callee: &'a Hello,
}

impl Transcript<'_> {
    /// The 160 bytes are drawn in docs/protocol/control.md §1.
    fn mac(&self, key: &LinkKey, label: &[u8]) -> blake3::Hash {
        let mut input = [0; MAC_INPUT_BYTES];
        input[..label.len()].copy_from_slice(label);
        input[16..20].copy_from_slice(&self.program.to_be_bytes());
        input[20..24].copy_from_slice(&VERSION.to_be_bytes());
        input[24..28].copy_from_slice(&(self.caller.kind as u32).to_be_bytes());
        input[28..32].copy_from_slice(&(self.callee.kind as u32).to_be_bytes());
        input[32..64].copy_from_slice(self.caller.identity.as_bytes());
        input[64..96].copy_from_slice(self.callee.identity.as_bytes());
        input[96..128].copy_from_slice(&self.caller.nonce);
        input[128..].copy_from_slice(&self.callee.nonce);
        key.keyed(&input)
    }

    fn key(&self, held: &ClusterKey) -> Option<LinkKey> {
        held.link_key(self.caller.end(), self.callee.end())
    }

    fn secret(&self, key: &LinkKey) -> ConnectionSecret {
        ConnectionSecret(*self.mac(key, LABEL_SECRET).as_bytes())
    }
}

/// The other end of an authenticated connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it has proved to be.
    pub kind: NodeKind,
    /// Which of these. Proven by data servers to metadata servers and by those to them; else
    /// claimed.
    pub identity: Identity,
    /// Shared with it alone.
    pub secret: ConnectionSecret,
}

/// The callee's side of the handshake: one for each connection.
#[derive(Debug)]
pub struct ControlGate {
    keyring: Keyring,
    program: u32,
    own: Hello,
    state: GateState,
}

#[derive(Debug)]
enum GateState {
    Fresh,
    Greeted(Hello),
    Open(Opened),
    Shut,
}

#[derive(Debug)]
struct Opened {
    peer: Peer,
    /// Under which the other end has proved itself.
    key: ClusterKey,
    /// Of the keyring in which it was found.
    version: u64,
}

impl Opened {
    /// Whether the key is still one to be taken.
    fn is_held(&self, keyring: &Keyring) -> bool {
        keyring.version() == self.version || keyring.held().has(&self.key)
    }
}

impl ControlGate {
    /// A gate for a new connection to `program`. `nonce` must be fresh random bytes.
    #[must_use]
    pub fn new(keys: impl Into<Keyring>, program: u32, kind: NodeKind, nonce: [u8; 32]) -> Self {
        let keyring = keys.into();
        // Both keys of a ring are for one role, so it does not matter which says who we are.
        let own = Hello { version: VERSION, kind, identity: keyring.held().active().identity(), nonce };
        Self { keyring, program, own, state: GateState::Fresh }
    }

    /// The same for the metadata server with this number: it takes no connection of its own.
    #[must_use]
    pub fn of_node(mut self, number: u64) -> Self {
        self.own.identity = Identity::of_node(number);
        self
    }

    /// Answers NULL, HELLO and AUTH. `None` if the procedure is another: ask [`peer`](Self::peer)
    /// whether it may go on.
    ///
    /// # Errors
    /// Any [`XdrError`]: the arguments do not decode; to be answered GARBAGE_ARGS.
    pub fn handshake(&mut self, procedure: u32, args: Bytes) -> Option<Result<Writer, XdrError>> {
        match Procedure::from_number(procedure)? {
            Procedure::Null => Some(decode_args::<super::Nothing>(args).map(|_| Writer::new())),
            Procedure::Hello => Some(self.sized(args, HELLO_BYTES).map(|hello| reply(&self.hello(hello)))),
            Procedure::Auth => Some(self.sized(args, AUTH_BYTES).map(|auth| reply(&self.auth(&auth)))),
            _ => None,
        }
    }

    /// Reads what has a fixed size, and shuts the gate if it is something else.
    fn sized<T: Decode>(&mut self, args: Bytes, bytes: usize) -> Result<T, XdrError> {
        let read = if args.len() == bytes { decode_args(args) } else { Err(XdrError::Trailing) };
        if read.is_err() {
            self.state = GateState::Shut;
        }
        read
    }

    /// Answers HELLO.
    ///
    /// # Errors
    /// [`Refusal::BadVersion`]; [`Refusal::NotAuthenticated`] if it is not the connection's first;
    /// [`Refusal::WrongPeer`] if such a node has nothing to say here.
    pub fn hello(&mut self, caller: Hello) -> Result<Hello, Refusal> {
        let before = std::mem::replace(&mut self.state, GateState::Shut);
        if !matches!(before, GateState::Fresh) {
            return Err(Refusal::NotAuthenticated);
        }
        if caller.version != VERSION {
            return Err(Refusal::BadVersion);
        }
        let is_mirror = self.own.identity != Identity::ANY && caller.end() == self.own.end();
        if is_mirror || !caller.is_sound() || !may_meet(self.program, caller.kind, self.own.kind) {
            return Err(Refusal::WrongPeer);
        }
        self.state = GateState::Greeted(caller);
        Ok(self.own.clone())
    }

    /// Answers AUTH.
    ///
    /// # Errors
    /// [`Refusal::BadMac`] if the MAC is wrong or no HELLO came before; the gate then stays shut.
    pub fn auth(&mut self, auth: &Auth) -> Result<Auth, Refusal> {
        let GateState::Greeted(caller) = std::mem::replace(&mut self.state, GateState::Shut) else {
            return Err(Refusal::BadMac);
        };
        let transcript = Transcript { program: self.program, caller: &caller, callee: &self.own };
        let (version, held) = (self.keyring.version(), self.keyring.held());
        let mut found = None;
        // Under each key, whichever fits: how long that takes does not say which did.
        for one in held.keys() {
            let Some(key) = transcript.key(one) else { continue };
            // `Hash` compares in constant time.
            if transcript.mac(&key, LABEL_CALLER) == blake3::Hash::from_bytes(auth.mac) {
                found = Some((one.clone(), key));
            }
        }
        let (held_key, key) = found.ok_or(Refusal::BadMac)?;
        let mac = *transcript.mac(&key, LABEL_CALLEE).as_bytes();
        let secret = transcript.secret(&key);
        let peer = Peer { kind: caller.kind, identity: caller.identity, secret };
        self.state = GateState::Open(Opened { peer, key: held_key, version });
        Ok(Auth { mac })
    }

    /// The other end, if it may call this procedure.
    ///
    /// # Errors
    /// [`Refusal::NotAuthenticated`], [`Refusal::WrongPeer`].
    pub fn admit(&self, procedure: Procedure) -> Result<&Peer, Refusal> {
        let peer = self.peer()?;
        if procedure.link() == Some((peer.kind, self.own.kind)) { Ok(peer) } else { Err(Refusal::WrongPeer) }
    }

    /// The other end, once it has proved itself, as long as it did so under a key that is held.
    ///
    /// # Errors
    /// [`Refusal::NotAuthenticated`].
    pub fn peer(&self) -> Result<&Peer, Refusal> {
        match &self.state {
            GateState::Open(opened) if opened.is_held(&self.keyring) => Ok(&opened.peer),
            GateState::Open(_) | GateState::Fresh | GateState::Greeted(_) | GateState::Shut => {
                Err(Refusal::NotAuthenticated)
            }
        }
    }

    /// Whether this connection can never be authenticated any more and should be closed.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        match &self.state {
            GateState::Shut => true,
            GateState::Open(opened) => !opened.is_held(&self.keyring),
            GateState::Fresh | GateState::Greeted(_) => false,
        }
    }
}

fn reply<T: Encode>(reply: &Result<T, Refusal>) -> Writer {
    let mut w = Writer::new();
    put_reply(&mut w, reply);
    w
}

/// Why a caller does not trust what answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The callee speaks another version.
    #[error("the other side speaks version {version}")]
    BadVersion {
        /// Its version.
        version: u32,
    },
    /// The callee's MAC is wrong: it does not hold the key of what it says it is.
    #[error("the other side does not hold the key of its role")]
    BadMac,
    /// Another kind of node answers than was called, or the caller itself.
    #[error("another node answers than was called")]
    WrongPeer,
    /// The caller's own key does not prove what it would have to.
    #[error("the key is not one for this connection")]
    NoKey,
}

/// The caller's side of the handshake.
#[derive(Debug)]
pub struct Handshake {
    key: ClusterKey,
    program: u32,
    own: Hello,
    callee: NodeKind,
}

/// The caller's side after HELLO was answered.
#[derive(Debug)]
pub struct Greeted {
    handshake: Handshake,
    callee: Hello,
}

impl Handshake {
    /// Begins a handshake on a new connection to `program`, as a caller of one kind with a callee
    /// of another. `nonce` must be fresh random bytes.
    #[must_use]
    pub fn new(
        key: &ClusterKey,
        program: u32,
        (caller, callee): (NodeKind, NodeKind),
        nonce: [u8; 32],
    ) -> Self {
        let own = Hello { version: VERSION, kind: caller, identity: key.identity(), nonce };
        Self { key: key.clone(), program, own, callee }
    }

    /// The same for the metadata server with this number: it talks to others only.
    #[must_use]
    pub fn of_node(mut self, number: u64) -> Self {
        self.own.identity = Identity::of_node(number);
        self
    }

    /// The arguments of HELLO.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.own
    }

    /// Takes the answer to HELLO; gives the arguments of AUTH.
    ///
    /// # Errors
    /// [`HandshakeError`]: nothing else may be sent to this callee.
    pub fn on_hello(self, callee: Hello) -> Result<(Greeted, Auth), HandshakeError> {
        if callee.version != VERSION {
            return Err(HandshakeError::BadVersion { version: callee.version });
        }
        let is_mirror = self.own.identity != Identity::ANY && callee.end() == self.own.end();
        if callee.kind != self.callee || !callee.is_sound() || is_mirror || callee.nonce == self.own.nonce {
            return Err(HandshakeError::WrongPeer);
        }
        let greeted = Greeted { handshake: self, callee };
        let (transcript, held) = (greeted.transcript(), &greeted.handshake.key);
        let key = transcript.key(held).ok_or(HandshakeError::NoKey)?;
        let mac = *transcript.mac(&key, LABEL_CALLER).as_bytes();
        Ok((greeted, Auth { mac }))
    }
}

impl Greeted {
    /// Takes the answer to AUTH; gives the proven other end.
    ///
    /// # Errors
    /// [`HandshakeError::BadMac`]: nothing else may be sent to this callee.
    pub fn on_auth(self, auth: &Auth) -> Result<Peer, HandshakeError> {
        let transcript = self.transcript();
        let key = transcript.key(&self.handshake.key).ok_or(HandshakeError::NoKey)?;
        if transcript.mac(&key, LABEL_CALLEE) != blake3::Hash::from_bytes(auth.mac) {
            return Err(HandshakeError::BadMac);
        }
        let secret = transcript.secret(&key);
        Ok(Peer { kind: self.callee.kind, identity: self.callee.identity, secret })
    }

    fn transcript(&self) -> Transcript<'_> {
        Transcript { program: self.handshake.program, caller: &self.handshake.own, callee: &self.callee }
    }
}

#[cfg(test)]
mod tests;
