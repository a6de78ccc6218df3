//! Calls that wait for their replies, by xid.
//!
//! INVARIANT: an entry lives exactly as long as its [`Waiting`], whether that ends in a reply, a
//! timeout or a cancellation; after `close` there are none.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wire_rpc::ReplyHeader;
use wire_xdr::Reader;

type Reply = (ReplyHeader, Reader);

/// The calls under way from our side of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u32, oneshot::Sender<Reply>>,
    xid_next: u32,
    closed: bool,
}

/// One call under way.
pub(crate) struct Waiting<'a> {
    pending: &'a Pending,
    xid: u32,
    reply: oneshot::Receiver<Reply>,
}

impl Pending {
    /// Makes an entry for a new call; nothing if the connection is closed.
    pub(crate) fn register(&self) -> Option<Waiting<'_>> {
        let (sender, reply) = oneshot::channel();
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        // The number of calls is bounded far below 2^32, so a free number is near.
        loop {
            state.xid_next = state.xid_next.wrapping_add(1);
            if !state.waiting.contains_key(&state.xid_next) {
                break;
            }
        }
        let xid = state.xid_next;
        state.waiting.insert(xid, sender);
        Some(Waiting { pending: self, xid, reply })
    }

    /// Gives a reply to the task that waits for it; a reply that is not waited for any more is
    /// dropped.
    pub(crate) fn deliver(&self, header: ReplyHeader, results: Reader) {
        let sender = self.lock().waiting.remove(&header.xid);
        if let Some(sender) = sender {
            // Its receiver may be giving up at this moment.
            let _ = sender.send((header, results));
        }
    }

    /// Ends all waiting, and refuses new calls.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }

    /// How many calls wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, so a panicking holder did no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// The number to send the call under.
    pub(crate) fn xid(&self) -> u32 {
        self.xid
    }

    /// The reply; nothing if the connection ends before.
    pub(crate) async fn reply(mut self) -> Option<Reply> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pending.lock().waiting.remove(&self.xid);
    }
}

#[cfg(test)]
mod tests {
    use wire_rpc::{OpaqueAuth, ReplyStatus};

    use super::*;

    fn header(xid: u32) -> ReplyHeader {
        ReplyHeader { xid, verifier: OpaqueAuth::default(), status: ReplyStatus::Success }
    }

    #[tokio::test]
    async fn entry_lives_as_long_as_its_waiting() {
        let pending = Pending::default();
        let (first, second) = (pending.register().unwrap(), pending.register().unwrap());
        assert_ne!(first.xid(), second.xid());
        assert_eq!(pending.len(), 2);
        let given_up = first.xid();
        drop(first);
        assert_eq!(pending.len(), 1);
        pending.deliver(header(given_up), Reader::default());
        pending.deliver(header(second.xid()), Reader::default());
        assert!(second.reply().await.is_some());
        assert_eq!(pending.len(), 0);

        let third = pending.register().unwrap();
        pending.close();
        assert!(third.reply().await.is_none());
        assert!(pending.register().is_none());
        assert_eq!(pending.len(), 0);
    }
}
