//! Simulated time: what happens, in order, and the log of it.
//!
//! Everything that a node waits for is an event here. Between two events only one node runs, until
//! it has nothing left to do.
//!
//! INVARIANT: events of the same time happen in the order in which they were made; time never goes
//! back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use crate::event_log::EventLog;
use crate::links::Network;
pub(crate) use crate::links::NodeId;

/// Something done to the world; says which nodes have something to do now.
type Deed = Box<dyn FnOnce(&World) -> Vec<NodeId> + Send>;

/// What happens at a time.
pub(crate) enum Act {
    /// A task sleeps no longer.
    Wake(Arc<Mutex<Sleeper>>),
    /// Something is done to the world.
    Do(Deed),
    /// The node's engine looks at its clock.
    Tick,
}

/// A task that sleeps.
#[derive(Default)]
pub(crate) struct Sleeper {
    pub(crate) due: bool,
    pub(crate) waker: Option<Waker>,
}

pub(crate) struct Event {
    pub(crate) at_ns: u64,
    serial: u64,
    pub(crate) node: NodeId,
    pub(crate) act: Act,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ns, self.serial) == (other.at_ns, other.serial)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ns, self.serial).cmp(&(other.at_ns, other.serial))
    }
}

/// What all nodes share. Clones are the same world.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
}

/// The world's insides.
pub(crate) struct State {
    pub(crate) now_ns: u64,
    serial: u64,
    events: BinaryHeap<Reverse<Event>>,
    pub(crate) log: EventLog,
    pub(crate) network: Network,
}

impl World {
    pub(crate) fn new(seed: u64, log: EventLog) -> Self {
        let state =
            State { now_ns: 0, serial: 0, events: BinaryHeap::new(), log, network: Network::new(seed) };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The insides. Never held while a node runs.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.lock().now_ns
    }

    /// Has something happen after so long.
    pub(crate) fn after(&self, delay_ns: u64, node: NodeId, act: Act) {
        self.lock().after(delay_ns, node, act);
    }

    /// Sleeps, on behalf of a node.
    pub(crate) fn sleep(&self, ns: u64, node: NodeId) -> Sleep {
        Sleep { world: self.clone(), node, at_ns: self.now_ns().saturating_add(ns), sleeper: None }
    }

    /// Writes to the event log.
    pub(crate) fn note(&self, node: NodeId, what: &str, words: &[u64]) {
        let mut state = self.lock();
        let now_ns = state.now_ns;
        state.log.add(now_ns, node, what, words);
    }
}

impl State {
    pub(crate) fn after(&mut self, delay_ns: u64, node: NodeId, act: Act) {
        let at_ns = self.now_ns.saturating_add(delay_ns);
        self.serial += 1;
        self.events.push(Reverse(Event { at_ns, serial: self.serial, node, act }));
    }

    /// The next event, if it is due by `end_ns`. Time is then its time.
    pub(crate) fn next(&mut self, end_ns: u64) -> Option<Event> {
        if end_ns < self.events.peek()?.0.at_ns {
            return None;
        }
        let Reverse(event) = self.events.pop()?;
        assert!(self.now_ns <= event.at_ns, "time never goes back");
        self.now_ns = event.at_ns;
        Some(event)
    }
}

/// A sleep in simulated time.
pub(crate) struct Sleep {
    world: World,
    node: NodeId,
    at_ns: u64,
    sleeper: Option<Arc<Mutex<Sleeper>>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        let this = &mut *self;
        let Some(sleeper) = &this.sleeper else {
            let mut state = this.world.lock();
            let left_ns = this.at_ns.saturating_sub(state.now_ns);
            if left_ns == 0 {
                return std::task::Poll::Ready(());
            }
            let sleeper = Arc::new(Mutex::new(Sleeper { due: false, waker: Some(context.waker().clone()) }));
            state.after(left_ns, this.node, Act::Wake(Arc::clone(&sleeper)));
            drop(state);
            this.sleeper = Some(sleeper);
            return std::task::Poll::Pending;
        };
        let mut sleeper = sleeper.lock();
        if sleeper.due {
            return std::task::Poll::Ready(());
        }
        if !sleeper.waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            sleeper.waker = Some(context.waker().clone());
        }
        std::task::Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(sleeper) = &self.sleeper {
            // The event finds no task and wakes no node.
            sleeper.lock().waker = None;
        }
    }
}
