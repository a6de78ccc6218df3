//! What each connection and address holds of a pool, and which waits next: the sums behind
//! [`Pool`](super::Pool). Knows no clock and no lock.
//!
//! A connection has a *window*. It grows with what the connection takes, and is lost when the
//! connection stalls while others of its address wait. What it holds beyond its window is *excess*.
//! The excess of all connections of an address is bounded by a part of the address's share, and by
//! a larger part for connections that hold nothing else: newcomers. What is left is for those that
//! took their answers, however many others come.
//!
//! INVARIANT: `used` is the sum of what accounts have, theirs that of what their connections hold,
//! and `excess` that of their excess.
//! INVARIANT: a connection stands in one queue of its address while calls of it wait, and in none
//! otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::activity::{Activity, Direction};
use crate::limits::{
    CUT_STALL_MS_MIN, EXCESS_SHARE, FIRST_SHARE, STANDING_STALL_MS_MAX, WINDOW_GROWTH, WINDOW_SHARE_MAX,
    WINDOW_SHARE_MIN,
};

/// One pool.
#[derive(Debug)]
pub(super) struct State {
    direction: Direction,
    bytes_max: usize,
    address_bytes_max: usize,
    unproven_bytes_max: usize,
    /// What connections of an address hold beyond their windows, at most.
    excess_bytes_max: usize,
    /// The same where a connection takes the only room that it has.
    first_bytes_max: usize,
    pub(super) used: usize,
    unproven_used: usize,
    members: Vec<Option<Member>>,
    /// Places of `members` that are free.
    free: Vec<usize>,
    pub(super) accounts: BTreeMap<IpAddr, Account>,
    /// Addresses with calls that wait, each once.
    pub(super) turn: VecDeque<IpAddr>,
    /// The next in turn waits for what all others have, not for its own share.
    is_short: bool,
}

/// An address with connections.
#[derive(Debug, Default)]
pub(super) struct Account {
    used: usize,
    excess: usize,
    members: Vec<usize>,
    /// Connections whose next call fits in their windows, in turn.
    within: VecDeque<usize>,
    /// Those whose next call does not, and which hold nothing.
    first: VecDeque<usize>,
    /// All others.
    beyond: VecDeque<usize>,
    /// These two take turns.
    is_turn_of_first: bool,
    /// The next of one of them waits until the address has less: no other connection of it
    /// overtakes.
    is_full: bool,
    /// A task reviews it until no call waits.
    is_watched: bool,
    reviewed_ms: Option<u64>,
}

/// A connection.
#[derive(Debug)]
struct Member {
    from: IpAddr,
    activity: Arc<Activity>,
    proven: bool,
    held: usize,
    window: usize,
    /// It was told to end: what it holds is given back soon.
    is_cut: bool,
    queued: Option<Queue>,
    /// At most one for each call under way.
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Within,
    First,
    Beyond,
}

#[derive(Debug)]
struct Waiting {
    bytes: usize,
    /// Notified once the room is taken.
    granted: oneshot::Sender<()>,
}

/// Why something does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    /// All together have taken too much.
    Pool,
    /// Its address has.
    Address,
    /// Connections of its address have, beyond their windows.
    Excess,
    /// Connections that are not known have.
    Unproven,
}

/// The next connection of an address that gets room.
enum Next {
    Member(usize),
    /// One waits until all addresses together have less.
    Short,
    None,
}

/// The result of a review of an address.
#[derive(Debug, Default)]
pub(super) struct Review {
    /// Connections to be cut.
    pub(super) cut: Vec<Arc<Activity>>,
    /// Calls of it still wait.
    pub(super) waits: bool,
}

impl Member {
    fn excess(&self) -> usize {
        self.held.saturating_sub(self.window)
    }
}

impl Account {
    fn waits(&self) -> bool {
        !(self.within.is_empty() && self.first.is_empty() && self.beyond.is_empty())
    }

    fn queue(&self, queue: Queue) -> &VecDeque<usize> {
        match queue {
            Queue::Within => &self.within,
            Queue::First => &self.first,
            Queue::Beyond => &self.beyond,
        }
    }

    fn queue_mut(&mut self, queue: Queue) -> &mut VecDeque<usize> {
        match queue {
            Queue::Within => &mut self.within,
            Queue::First => &mut self.first,
            Queue::Beyond => &mut self.beyond,
        }
    }
}

impl State {
    /// A pool in which the excess of an address has a bound, or (`is_shared`) not.
    pub(super) fn new(
        direction: Direction,
        bytes_max: usize,
        address_bytes_max: usize,
        unproven_bytes_max: usize,
        is_shared: bool,
    ) -> Self {
        let left = |share| if is_shared { address_bytes_max / share } else { 0 };
        Self {
            direction,
            bytes_max,
            address_bytes_max,
            unproven_bytes_max,
            excess_bytes_max: address_bytes_max - left(EXCESS_SHARE),
            first_bytes_max: address_bytes_max - left(FIRST_SHARE),
            used: 0,
            unproven_used: 0,
            members: Vec::new(),
            free: Vec::new(),
            accounts: BTreeMap::new(),
            turn: VecDeque::new(),
            is_short: false,
        }
    }

    /// A connection comes; its place.
    pub(super) fn join(&mut self, from: IpAddr, activity: Arc<Activity>) -> usize {
        let member = Member {
            from,
            activity,
            proven: false,
            held: 0,
            window: self.window_min(),
            is_cut: false,
            queued: None,
            waiting: VecDeque::new(),
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.members.push(None);
            self.members.len() - 1
        });
        self.members[id] = Some(member);
        self.accounts.entry(from).or_default().members.push(id);
        id
    }

    /// A connection is gone, and all that it held and waited for.
    pub(super) fn part(&mut self, id: usize) {
        let member = self.members[id].take().expect("a connection parts once");
        assert_eq!(member.held, 0, "room keeps its connection's place");
        assert!(member.waiting.is_empty(), "a call that waits keeps its connection's place");
        self.free.push(id);
        let account = self.account(member.from);
        account.members.retain(|other| *other != id);
        if account.members.is_empty() {
            self.accounts.remove(&member.from);
        }
    }

    /// The connection has shown that it is of use.
    pub(super) fn prove(&mut self, id: usize) {
        let member = self.member_mut(id);
        if !member.proven {
            member.proven = true;
            let held = member.held;
            self.unproven_used -= held;
        }
    }

    /// What a request for so many bytes takes: no more than there can ever be for it.
    pub(super) fn cost(&self, id: usize, bytes: usize) -> usize {
        let most = if self.member(id).proven {
            self.address_bytes_max
        } else {
            self.excess_bytes_max.min(self.unproven_bytes_max)
        };
        bytes.clamp(1, most.max(1))
    }

    /// Takes room, if there is and no other call is before this one.
    pub(super) fn try_enter(&mut self, id: usize, bytes: usize) -> bool {
        let member = self.member(id);
        let (from, queue) = (member.from, self.queue_of(id, bytes));
        let account = &self.accounts[&from];
        // Those that are not known do not hold up the others.
        let is_before = |other: &usize| self.member(*other).proven || !member.proven;
        let is_behind = self.is_short
            || account.is_full
            || !member.waiting.is_empty()
            || (queue != Queue::Within && account.queue(queue).iter().any(is_before));
        if is_behind {
            return false;
        }
        match self.lacks(id, bytes) {
            None => {
                self.enter(id, bytes);
                return true;
            }
            Some(Lacks::Pool) => self.is_short = true,
            Some(Lacks::Address) => self.account(from).is_full = queue != Queue::Beyond,
            Some(Lacks::Excess | Lacks::Unproven) => {}
        }
        false
    }

    /// A call waits from now on.
    pub(super) fn wait(&mut self, id: usize, bytes: usize) -> oneshot::Receiver<()> {
        let (granted, receiver) = oneshot::channel();
        self.member_mut(id).waiting.push_back(Waiting { bytes, granted });
        self.queue(id);
        receiver
    }

    /// Forgets calls of a connection that wait no longer.
    pub(super) fn forget(&mut self, id: usize) {
        self.member_mut(id).waiting.retain(|waiting| !waiting.granted.is_closed());
        self.queue(id);
    }

    /// Gives back bytes, which the peer took or not.
    pub(super) fn leave(&mut self, id: usize, bytes: usize, taken: bool) {
        let window_max = self.address_bytes_max / WINDOW_SHARE_MAX;
        let member = self.member(id);
        let (from, held, proven, mut window) =
            (member.from, member.held - bytes, member.proven, member.window);
        if taken && proven && window < window_max {
            window = (window + bytes / WINDOW_GROWTH).min(window_max);
        }
        if held == 0 {
            window = window.max(self.window_min());
        }
        self.used -= bytes;
        self.unproven_used -= if proven { 0 } else { bytes };
        self.account(from).used -= bytes;
        self.count(id, held, window);
    }

    /// Gives room to the next that there is some for; whether there was one.
    pub(super) fn give_one(&mut self) -> bool {
        self.is_short = false;
        for _ in 0..self.turn.len() {
            let from = *self.turn.front().expect("there are so many");
            match self.next_of(from) {
                Next::Member(id) => {
                    self.pass_turn(from);
                    let is_within = self.member(id).queued == Some(Queue::Within);
                    self.account(from).is_turn_of_first = is_within;
                    let first = self.member_mut(id).waiting.pop_front().expect("it waits");
                    self.unqueue(id);
                    self.enter(id, first.bytes);
                    if first.granted.send(()).is_err() {
                        self.leave(id, first.bytes, false);
                    }
                    return true;
                }
                Next::Short => {
                    self.is_short = true;
                    return false;
                }
                Next::None => self.pass_turn(from),
            }
        }
        false
    }

    /// Whether calls of this address wait, or those in turn for what all have.
    pub(super) fn is_waited_for(&self, from: IpAddr) -> bool {
        self.is_short || self.accounts.get(&from).is_some_and(Account::waits)
    }

    /// A call of an address waits: whether a task has to begin that reviews the address, and what
    /// came of a first review. There is one each millisecond at most.
    pub(super) fn begin_watch(&mut self, from: IpAddr, now_ms: u64) -> (bool, Review) {
        let has_bound = self.excess_bytes_max < self.address_bytes_max;
        let account = self.accounts.get_mut(&from).filter(|account| has_bound && account.waits());
        let Some(account) = account else { return (false, Review::default()) };
        let begins = !std::mem::replace(&mut account.is_watched, true);
        let is_reviewed = account.reviewed_ms == Some(now_ms);
        (begins, if is_reviewed { Review::default() } else { self.review(from, now_ms) })
    }

    /// Takes the windows of connections that stall while others of their address wait, and chooses
    /// which are to be cut: those that stall longest, if all together hold too much beyond their
    /// windows and that keeps a connection waiting which takes its answers.
    pub(super) fn review(&mut self, from: IpAddr, now_ms: u64) -> Review {
        let mut review = Review::default();
        let Some(account) = self.accounts.get_mut(&from) else { return review };
        account.reviewed_ms = Some(now_ms);
        review.waits = account.waits();
        account.is_watched &= review.waits;
        if !review.waits {
            return review;
        }
        let direction = self.direction;
        let mut late = Vec::new();
        for at in 0..account.members.len() {
            let id = self.accounts[&from].members[at];
            let member = self.member(id);
            let stall_ms = if member.held == 0 { 0 } else { member.activity.stall_ms(direction, now_ms) };
            if STANDING_STALL_MS_MAX <= stall_ms {
                self.count(id, self.member(id).held, 0);
            }
            if CUT_STALL_MS_MIN <= stall_ms {
                late.push((stall_ms, self.member(id).excess(), id));
            }
        }
        if !late.is_empty() {
            review.cut = self.cut(from, late);
        }
        review
    }

    /// What connections hold too much of beyond their windows, if that keeps one waiting which is
    /// within its window, or one which holds nothing.
    fn over(&self, from: IpAddr) -> usize {
        let account = &self.accounts[&from];
        let is_kept_waiting = |id: &usize| {
            let lacks = self.lacks(*id, self.first_bytes(*id));
            matches!(lacks, Some(Lacks::Address | Lacks::Excess))
        };
        if account.within.iter().chain(&account.first).any(is_kept_waiting) {
            account.excess.saturating_sub(self.excess_bytes_max)
        } else {
            0
        }
    }

    /// Chooses, of connections that stall for so long and hold so much, as many as hold too much.
    fn cut(&mut self, from: IpAddr, mut late: Vec<(u64, usize, usize)>) -> Vec<Arc<Activity>> {
        let members = self.accounts[&from].members.iter().map(|id| self.member(*id));
        let leaving: usize = members.filter(|member| member.is_cut).map(Member::excess).sum();
        let mut over = self.over(from).saturating_sub(leaving);
        late.sort_unstable_by(|one, other| other.cmp(one));
        let mut cut = Vec::new();
        for (_, _, id) in late {
            let member = self.member_mut(id);
            if over == 0 {
                break;
            }
            if !std::mem::replace(&mut member.is_cut, true) {
                over = over.saturating_sub(member.excess());
                cut.push(Arc::clone(&member.activity));
            }
        }
        cut
    }

    /// The next connection of an address that gets room.
    fn next_of(&mut self, from: IpAddr) -> Next {
        let account = self.account(from);
        account.is_full = false;
        let queues = match account.is_turn_of_first {
            true => [Queue::First, Queue::Within, Queue::Beyond],
            false => [Queue::Within, Queue::First, Queue::Beyond],
        };
        for queue in queues {
            for id in self.accounts[&from].queue(queue) {
                match self.lacks(*id, self.first_bytes(*id)) {
                    None => return Next::Member(*id),
                    Some(Lacks::Pool) => return Next::Short,
                    Some(Lacks::Address) => {
                        self.account(from).is_full = queue != Queue::Beyond;
                        return Next::None;
                    }
                    Some(Lacks::Excess) => break,
                    // Those that are not known do not hold up the others.
                    Some(Lacks::Unproven) => {}
                }
            }
        }
        Next::None
    }

    /// The address at the front of the turn goes to its end.
    fn pass_turn(&mut self, from: IpAddr) {
        let front = self.turn.pop_front();
        assert_eq!(front, Some(from), "it is its turn");
        self.turn.push_back(from);
    }

    fn lacks(&self, id: usize, bytes: usize) -> Option<Lacks> {
        let member = self.member(id);
        let account = &self.accounts[&member.from];
        if self.address_bytes_max < account.used.saturating_add(bytes) {
            return Some(Lacks::Address);
        }
        if !member.proven && self.unproven_bytes_max < self.unproven_used.saturating_add(bytes) {
            return Some(Lacks::Unproven);
        }
        // A connection that is alone on its address has all of the share.
        let is_alone = account.members.len() == 1;
        let more = (member.held + bytes).saturating_sub(member.window) - member.excess();
        let excess_bytes_max = if member.held == 0 { self.first_bytes_max } else { self.excess_bytes_max };
        // What is larger than all of that takes it alone.
        if !is_alone && 0 < more && excess_bytes_max < account.excess + more.min(excess_bytes_max) {
            return Some(Lacks::Excess);
        }
        (self.bytes_max < self.used.saturating_add(bytes)).then_some(Lacks::Pool)
    }

    /// Where a connection waits for so many bytes.
    fn queue_of(&self, id: usize, bytes: usize) -> Queue {
        let member = self.member(id);
        if member.held + bytes <= member.window {
            return Queue::Within;
        }
        if member.held == 0 { Queue::First } else { Queue::Beyond }
    }

    /// The window of a connection that holds nothing is so large at least.
    fn window_min(&self) -> usize {
        self.address_bytes_max / WINDOW_SHARE_MIN
    }

    fn enter(&mut self, id: usize, bytes: usize) {
        let member = self.member(id);
        let (from, held, proven, window) = (member.from, member.held + bytes, member.proven, member.window);
        self.used += bytes;
        self.unproven_used += if proven { 0 } else { bytes };
        self.account(from).used += bytes;
        self.count(id, held, window);
    }

    /// Notes what a connection holds, and its window.
    fn count(&mut self, id: usize, held: usize, window: usize) {
        let member = self.member_mut(id);
        let before = member.excess();
        (member.held, member.window) = (held, window);
        let (from, after) = (member.from, member.excess());
        let account = self.account(from);
        account.excess = account.excess - before + after;
        self.queue(id);
    }

    /// Puts a connection in the queue that its next call belongs to, if that is another one than
    /// before.
    fn queue(&mut self, id: usize) {
        let member = self.member(id);
        let (from, queued) = (member.from, member.queued);
        let wanted = member.waiting.front().map(|first| self.queue_of(id, first.bytes));
        if queued == wanted {
            return;
        }
        self.member_mut(id).queued = wanted;
        let account = self.account(from);
        let waited = account.waits();
        if let Some(queued) = queued {
            account.queue_mut(queued).retain(|other| *other != id);
        }
        if let Some(wanted) = wanted {
            account.queue_mut(wanted).push_back(id);
        }
        account.is_full &= account.waits();
        match (waited, account.waits()) {
            (false, true) => self.turn.push_back(from),
            (true, false) => self.turn.retain(|other| *other != from),
            _ => {}
        }
    }

    /// Takes a connection out of its queue, whose turn it was: if more calls of it wait, it goes to
    /// the end of one.
    fn unqueue(&mut self, id: usize) {
        let member = self.member_mut(id);
        let from = member.from;
        if let Some(queued) = member.queued.take() {
            let account = self.account(from);
            account.queue_mut(queued).retain(|other| *other != id);
            if !account.waits() {
                account.is_full = false;
                self.turn.retain(|other| *other != from);
            }
        }
        self.queue(id);
    }

    fn first_bytes(&self, id: usize) -> usize {
        self.member(id).waiting.front().expect("a connection in a queue waits").bytes
    }

    fn member(&self, id: usize) -> &Member {
        self.members[id].as_ref().expect("a place is kept as long as its connection")
    }

    fn member_mut(&mut self, id: usize) -> &mut Member {
        self.members[id].as_mut().expect("a place is kept as long as its connection")
    }

    fn account(&mut self, from: IpAddr) -> &mut Account {
        self.accounts.get_mut(&from).expect("an address with connections has an account")
    }

    /// Compares all sums and queues with what they are made of.
    #[cfg(test)]
    pub(super) fn assert_sums(&self) {
        let members = || self.members.iter().flatten();
        assert_eq!(self.used, members().map(|member| member.held).sum::<usize>());
        let unproven = members().filter(|member| !member.proven);
        assert_eq!(self.unproven_used, unproven.map(|member| member.held).sum::<usize>());
        for (from, account) in &self.accounts {
            let own = || account.members.iter().map(|id| self.member(*id));
            assert_eq!(account.used, own().map(|member| member.held).sum::<usize>());
            assert_eq!(account.excess, own().map(Member::excess).sum::<usize>());
            let in_turn = self.turn.iter().filter(|other| *other == from).count();
            assert_eq!(in_turn, usize::from(account.waits()));
            for id in &account.members {
                let count = |queue: &VecDeque<usize>| queue.iter().filter(|other| *other == id).count();
                let counts =
                    [Queue::Within, Queue::First, Queue::Beyond].map(|queue| count(account.queue(queue)));
                let mut expected = [0; 3];
                if let Some(first) = self.member(*id).waiting.front() {
                    expected[self.queue_of(*id, first.bytes) as usize] = 1;
                }
                assert_eq!(counts, expected);
            }
        }
    }
}
