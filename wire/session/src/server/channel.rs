//! The attributes of a session's channels: what the client asks for, cut to what this server gives.
//!
//! Spec: RFC 8881 §18.36.3 (nothing is ever granted above what was asked). What Linux demands of
//! the answer stands in the tests.

use wire_nfs::v4::{
    Nfsstat4,
    callback_sec::CallbackSec,
    ops::create_session::{Args, ChannelAttrs, flags},
};

use crate::limits::{
    BACK_BYTES_MAX, BACK_OPERATIONS, BACK_REQUEST_BYTES_MIN, BACK_SLOTS_MAX, CHANNEL_BYTES_MIN,
    OPERATIONS_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, RESPONSE_CACHED_BYTES_MAX, SLOTS_MAX,
};

/// Flags a client may set in CREATE_SESSION.
const FLAGS_KNOWN: u32 = flags::PERSIST | flags::CONN_BACK_CHAN | flags::CONN_RDMA;

/// What a session will be like, if it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The client's requests.
    pub fore: ChannelAttrs,
    /// The server's requests.
    pub back: ChannelAttrs,
    /// The connection of CREATE_SESSION is to carry callbacks.
    pub back_wanted: bool,
    /// The credential of callbacks; `None` if the client takes none that we can make.
    pub credential: Option<CallbackSec>,
}

/// Why the arguments of CREATE_SESSION are refused. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// A flag that no RFC defines.
    #[error("unknown flags {flags:#x} in CREATE_SESSION")]
    Flags {
        /// All flags as they came.
        flags: u32,
    },
    /// A channel could not carry the smallest request or reply.
    #[error("channel cannot carry anything")]
    TooSmall,
    /// A channel without a single slot.
    #[error("fore channel without a slot")]
    NoSlots,
}

impl ChannelError {
    /// The status on the wire.
    #[must_use]
    pub fn status(self) -> Nfsstat4 {
        match self {
            Self::Flags { .. } | Self::NoSlots => Nfsstat4::Inval,
            Self::TooSmall => Nfsstat4::Toosmall,
        }
    }
}

/// Works out what a session with these arguments will be like. To be asked before the client's
/// sequence is moved.
///
/// # Errors
/// [`ChannelError`]; the client's sequence is not used up then.
pub fn negotiate(args: &Args) -> Result<Negotiated, ChannelError> {
    if args.flags & !FLAGS_KNOWN != 0 {
        return Err(ChannelError::Flags { flags: args.flags });
    }
    Ok(Negotiated {
        fore: negotiate_fore(&args.fore)?,
        back: negotiate_back(&args.back)?,
        back_wanted: args.flags & flags::CONN_BACK_CHAN != 0,
        credential: choose_credential(&args.sec_parms),
    })
}

fn negotiate_fore(asked: &ChannelAttrs) -> Result<ChannelAttrs, ChannelError> {
    if asked.request_bytes_max < CHANNEL_BYTES_MIN
        || asked.response_bytes_max < CHANNEL_BYTES_MIN
        || asked.operations_max == 0
    {
        return Err(ChannelError::TooSmall);
    }
    if asked.requests_max == 0 {
        return Err(ChannelError::NoSlots);
    }
    let response_bytes_max = asked.response_bytes_max.min(RESPONSE_BYTES_MAX);
    let granted = ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: asked.request_bytes_max.min(REQUEST_BYTES_MAX),
        response_bytes_max,
        response_cached_bytes_max: asked
            .response_cached_bytes_max
            .min(RESPONSE_CACHED_BYTES_MAX)
            .min(response_bytes_max),
        operations_max: asked.operations_max.min(OPERATIONS_MAX),
        requests_max: asked.requests_max.min(SLOTS_MAX),
        rdma_ird: Vec::new(),
    };
    assert!(0 < granted.requests_max && 0 < granted.operations_max, "a channel carries requests");
    assert!(CHANNEL_BYTES_MIN <= granted.response_bytes_max, "a reply to SEQUENCE fits");
    assert!(granted.response_cached_bytes_max <= granted.response_bytes_max, "what is kept fits");
    Ok(granted)
}

/// The backchannel may be bound later, so its attributes count even if it is not wanted now.
fn negotiate_back(asked: &ChannelAttrs) -> Result<ChannelAttrs, ChannelError> {
    if asked.request_bytes_max < BACK_REQUEST_BYTES_MIN
        || asked.response_bytes_max < CHANNEL_BYTES_MIN
        || asked.operations_max < BACK_OPERATIONS
    {
        return Err(ChannelError::TooSmall);
    }
    Ok(ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: asked.request_bytes_max.min(BACK_BYTES_MAX),
        response_bytes_max: asked.response_bytes_max.min(BACK_BYTES_MAX),
        // Our callbacks are never to be kept: QUIRK(linux) refuses CB_SEQUENCE if they are.
        response_cached_bytes_max: 0,
        operations_max: BACK_OPERATIONS,
        requests_max: asked.requests_max.min(BACK_SLOTS_MAX),
        rdma_ird: Vec::new(),
    })
}

/// The first credential of the client's list that we can make; AUTH_NONE if the list is empty.
#[must_use]
pub fn choose_credential(offered: &[CallbackSec]) -> Option<CallbackSec> {
    if offered.is_empty() {
        return Some(CallbackSec::None);
    }
    offered.iter().find(|parms| !matches!(parms, CallbackSec::Gss(_))).cloned()
}

#[cfg(test)]
mod tests;
