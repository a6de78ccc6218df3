//! The side that answers: the metadata server.
//!
//! `client_id` decides EXCHANGE_ID and the confirmation of client ids; `sessions` is the table of
//! sessions, built from `slot` and `channel`; `arrival` is how a request came in, and `record` is
//! what of a session outlives a server; `lease` knows when a client was last heard; `backchannel`
//! calls clients.
//!
//! Spec: RFC 8881 §2.10.

pub mod arrival;
pub mod backchannel;
pub mod channel;
pub mod client_id;
pub mod lease;
pub mod record;
pub mod reply_cache;
pub mod session;
pub mod sessions;
pub mod slot;

pub use arrival::{Arrival, ConnectionId};
pub use backchannel::{CallbackCall, CallbackOutcome, CallbackToken, CallbackVerdict};
pub use client_id::{
    ClientRecord, ConfirmDecision, ConfirmError, Exchange, ExchangeDecision, ExchangeError, decide_confirm,
    decide_exchange,
};
pub use lease::Leases;
pub use record::{CallbackCredential, ChannelBounds, SessionRecord};
pub use session::{Session, SlotToken};
pub use sessions::{Admitted, CreateError, DestroyError, Past, Sessions, SlotSeen, Verdict};
