//! Whether the layout that a handle was made for is still held, as far as metadata servers told
//! this server; and asking them.
//!
//! A handle that was made a moment ago is good by itself. After that a metadata server must have
//! said, not long ago, that the layout is held; this server asks about active handles before that
//! runs out, so that no request waits. What metadata servers said is kept in a table of fixed size
//! without locks: one word for each holder, found by a keyed hash of what the handle names.
//!
//! One call asks many questions, and one call is under way at a time. Requests that wait for an
//! answer check the table again whenever a call was answered, or failed: then they ask again, and
//! the next call is made after a pause. What READs ask metadata servers (`metadata.rs`) holds none
//! of these calls up.
//!
//! INVARIANT: no handle is good for longer than [`HELD_S_MAX`], or while it is fresh, after its
//! layout ended.
//! Spec: docs/formats/ds_handle.md; docs/protocol/control.md §7.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::{Clock, Entropy};
use layout::{DsHandle, Holder};
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire_nfs::control::Procedure;
use wire_nfs::control::handles::{AskHeld, Held, HolderName};
use wire_nfs::control::limits::HELD_MAX;
use wire_nfs::v3::Nfsstat3;

use crate::directory::Directory;
use crate::lease::Serving;
use crate::limits::{
    GONE_S_MAX, HANDLE_FRESH_STEPS, HANDLE_RENEW_STEPS, HELD_PAUSE_MS, HELD_RENEW_S, HELD_S_MAX,
    HELD_WAIT_MS_MAX, HOLDERS_KNOWN_MAX, QUESTIONS_MAX,
};
use crate::metrics::Metrics;

/// What metadata servers said of layouts, and the questions that wait.
pub(crate) struct Holding {
    clock: Arc<dyn Clock>,
    serving: Arc<Serving>,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    holders: Holders,
    questions: Questions,
    answered: Notify,
}

impl Holding {
    pub(crate) fn new(
        (clock, entropy): (Arc<dyn Clock>, &dyn Entropy),
        serving: Arc<Serving>,
        directory: Arc<Directory>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (holders, questions) = (Holders::new(entropy), Questions::default());
        Self { clock, serving, directory, metrics, holders, questions, answered: Notify::new() }
    }

    /// Whether a client's handle that is so many steps old is good; `false` says that the request
    /// waited for an answer and that everything is to be checked again.
    ///
    /// # Errors
    /// STALE if the handle's layout ended; JUKEBOX if no metadata server tells, or too many
    /// questions wait.
    pub(crate) async fn check_held(&self, question: Question, age_steps: u32) -> Result<bool, Nfsstat3> {
        match self.holders.judge(&question, age_steps, self.now_s()) {
            Judged::Good => return Ok(true),
            Judged::GoodSoonAsked => {
                if self.holders.begin_to_ask(&question, self.now_s()) && !self.questions.add(question) {
                    self.holders.give_up(&question);
                }
                return Ok(true);
            }
            Judged::Gone => return Err(self.refuse()),
            Judged::Ask => {}
        }
        let told = async {
            loop {
                let answered = self.answered.notified();
                tokio::pin!(answered);
                answered.as_mut().enable();
                match self.holders.judge(&question, age_steps, self.now_s()) {
                    Judged::Good | Judged::GoodSoonAsked => return Ok(false),
                    Judged::Gone => return Err(self.refuse()),
                    Judged::Ask if !self.questions.add(question) => return Err(Nfsstat3::Jukebox),
                    Judged::Ask => answered.await,
                }
            }
        };
        tokio::select! {
            biased;
            told = told => told,
            () = self.clock.sleep_ms(HELD_WAIT_MS_MAX) => Err(Nfsstat3::Jukebox),
        }
    }

    fn refuse(&self) -> Nfsstat3 {
        self.metrics.count_refused_handle();
        Nfsstat3::Stale
    }

    fn now_s(&self) -> u64 {
        self.serving.now_ms() / 1_000
    }

    /// Asks the questions that wait, for as long as the server lives.
    pub(crate) async fn ask_questions(&self) {
        loop {
            self.questions.added.notified().await;
            loop {
                let batch = self.questions.take_batch();
                if batch.is_empty() {
                    break;
                }
                if !self.ask_batch(&batch).await {
                    self.clock.sleep_ms(HELD_PAUSE_MS).await;
                }
            }
        }
    }

    /// Asks about a batch; whether a metadata server answered.
    async fn ask_batch(&self, batch: &[Question]) -> bool {
        assert!(batch.len() <= HELD_MAX, "a batch fits a call");
        // What a metadata server says counts from now: the layout may end before the answer is
        // here.
        let asked_s = self.now_s();
        let args = AskHeld { holders: batch.iter().map(|question| question.name).collect() };
        self.metrics.count_layouts_asked(batch.len());
        let told = match self.directory.metadata() {
            Some(link) => link.ask::<Held>(Procedure::Held, &args).await.map(|told| told.held),
            None => Ok(Vec::new()),
        };
        let is_answered = match told {
            Ok(all) if all.len() == batch.len() => {
                for (question, held) in batch.iter().zip(all) {
                    self.holders.note(question, held, asked_s);
                }
                true
            }
            failed => {
                tracing::debug!(
                    questions = batch.len(), error = ?failed.err(),
                    "no metadata server says which layouts are held"
                );
                batch.iter().for_each(|question| self.holders.give_up(question));
                false
            }
        };
        self.questions.close(batch);
        self.answered.notify_waiters();
        is_answered
    }
}

/// The questions that wait or are under way.
#[derive(Default)]
struct Questions {
    queue: Mutex<Queue>,
    added: Notify,
}

#[derive(Default)]
struct Queue {
    /// Waiting or under way.
    open: HashSet<Question>,
    waiting: Vec<Question>,
}

impl Questions {
    /// Adds a question, unless it is open; `false` if too many are.
    fn add(&self, question: Question) -> bool {
        let mut queue = self.queue.lock();
        if queue.open.contains(&question) {
            return true;
        }
        if QUESTIONS_MAX <= queue.open.len() {
            return false;
        }
        queue.open.insert(question);
        queue.waiting.push(question);
        assert!(queue.waiting.len() <= queue.open.len(), "a question that waits is open");
        drop(queue);
        self.added.notify_one();
        true
    }

    /// Takes the questions of the next call.
    fn take_batch(&self) -> Vec<Question> {
        let mut queue = self.queue.lock();
        let count = queue.waiting.len().min(HELD_MAX);
        queue.waiting.drain(..count).collect()
    }

    /// Closes the questions of a call that was answered, or failed.
    fn close(&self, batch: &[Question]) {
        let mut queue = self.queue.lock();
        for question in batch {
            let was_open = queue.open.remove(question);
            assert!(was_open, "a question is open until its call ends");
        }
    }
}

/// Places that one holder may be at in the table.
const WAYS: usize = 4;
const SETS: usize = HOLDERS_KNOWN_MAX / WAYS;
const _: () = assert!(SETS.is_power_of_two(), "a set is some bits of a hash");

/// A word of the table, from the lowest bit: 2 of the verdict, 1 whether a question about it is
/// open, 27 of the second, 34 of the hash.
const ASKED: u64 = 1 << 2;
const SECOND_AT: u32 = 3;
const SECOND_MASK: u64 = (1 << 27) - 1;
const HASH_AT: u32 = 30;
const _: () = assert!(SECOND_MASK.count_ones() == HASH_AT - SECOND_AT, "seconds lie below the hash");
const _: () = assert!(HELD_S_MAX < SECOND_MASK, "the table tells how old what is believed is");

/// What decides whether a handle is good, but for its age: it stands for the handles of one grant,
/// and of one step of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    name: HolderName,
    /// When the handle was made. Part of it so that a refusal never meets a layout that the client
    /// got later.
    issued: u32,
}

impl Question {
    /// About a handle of a client; `None` for one of a metadata server.
    pub(crate) fn about(handle: &DsHandle) -> Option<Self> {
        let Holder::Client { tag, .. } = handle.holder else { return None };
        let name = HolderName { ino: handle.extent.ino, tag, writes: handle.mode.writes() };
        Some(Self { name, issued: handle.issued.step() })
    }
}

/// What a metadata server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing yet.
    None,
    Held,
    Gone,
}

/// What the table says of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    verdict: Verdict,
    /// How long ago.
    age_s: u64,
    /// A question about it is open.
    asked: bool,
}

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// Serves it.
    Good,
    /// Serves it, and asks the metadata server in time.
    GoodSoonAsked,
    /// Has it wait for what the metadata server says.
    Ask,
    /// Refuses it.
    Gone,
}

/// The rule by which a handle is good.
fn judge(age_steps: u32, known: Option<Known>) -> Judged {
    let soon = |wanted: bool| {
        let asked = known.is_some_and(|known| known.asked);
        if wanted && !asked { Judged::GoodSoonAsked } else { Judged::Good }
    };
    match known {
        Some(Known { verdict: Verdict::Gone, age_s, .. }) if age_s < GONE_S_MAX => Judged::Gone,
        Some(Known { verdict: Verdict::Held, age_s, .. }) if age_s < HELD_S_MAX => {
            soon(HELD_RENEW_S <= age_s)
        }
        _ if age_steps <= HANDLE_FRESH_STEPS => soon(HANDLE_RENEW_STEPS <= age_steps),
        _ => Judged::Ask,
    }
}

/// What metadata servers said of holders.
struct Holders {
    words: Box<[[AtomicU64; WAYS]]>,
    key: [u64; 2],
}

impl Holders {
    fn new(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        let (one, two) = bytes.split_at(8);
        let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let words = (0..SETS).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        Self { words, key: [half(one), half(two)] }
    }

    /// Judges a handle at `now_s`, when it is so many steps old.
    fn judge(&self, question: &Question, age_steps: u32, now_s: u64) -> Judged {
        let (hash, ways) = self.ways(question);
        let known = ways.iter().map(|way| way.load(Ordering::Acquire)).find(|word| is_of(*word, hash));
        judge(age_steps, known.map(|word| known_at(word, now_s)))
    }

    /// Notes that a question about a holder is open; `false` if that was noted already.
    fn begin_to_ask(&self, question: &Question, now_s: u64) -> bool {
        let (hash, ways) = self.ways(question);
        for way in ways {
            let word = way.load(Ordering::Acquire);
            if is_of(word, hash) {
                return way.fetch_or(ASKED, Ordering::AcqRel) & ASKED == 0;
            }
        }
        // Two requests at once may both come here: the question is asked twice.
        self.put(question, Verdict::None, true, now_s);
        true
    }

    /// Notes what a metadata server answered to a question that was asked at `now_s`.
    fn note(&self, question: &Question, held: bool, now_s: u64) {
        self.put(question, if held { Verdict::Held } else { Verdict::Gone }, false, now_s);
    }

    /// Notes that no metadata server answered a question: the next request asks it again.
    fn give_up(&self, question: &Question) {
        let (hash, ways) = self.ways(question);
        for way in ways {
            if is_of(way.load(Ordering::Acquire), hash) {
                way.fetch_and(!ASKED, Ordering::AcqRel);
            }
        }
    }

    /// Puts a word in place of what was said before of the holder, else of what was said longest
    /// ago.
    fn put(&self, question: &Question, verdict: Verdict, asked: bool, now_s: u64) {
        let (hash, ways) = self.ways(question);
        let words = ways.each_ref().map(|way| way.load(Ordering::Acquire));
        let own = words.iter().position(|word| is_of(*word, hash));
        let oldest = || {
            (0..WAYS).max_by_key(|way| if words[*way] == 0 { u64::MAX } else { age_s(words[*way], now_s) })
        };
        let Some(way) = own.or_else(oldest) else { return };
        let mut word = (hash << HASH_AT) | ((now_s & SECOND_MASK) << SECOND_AT);
        word |= match verdict {
            Verdict::None => 0,
            Verdict::Held => 1,
            Verdict::Gone => 2,
        };
        if asked {
            word |= ASKED;
        }
        assert_ne!(word & (ASKED | 3), 0, "a word is said or asked about: 0 is an empty place");
        ways[way].store(word, Ordering::Release);
    }

    fn ways(&self, question: &Question) -> (u64, &[AtomicU64; WAYS]) {
        let Question { name: HolderName { ino, tag, writes }, issued } = *question;
        let first = mixed(ino ^ self.key[0]);
        let rest = (u64::from(tag) << 32) | (u64::from(issued) << 1) | u64::from(writes);
        let hash = mixed(mixed(first ^ rest).wrapping_add(self.key[1]));
        let set = usize::try_from(hash % SETS as u64).expect("a set");
        assert!(set < self.words.len(), "a set is in the table");
        (hash >> HASH_AT, &self.words[set])
    }
}

/// Every bit of the answer depends on every bit of `word`.
fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn is_of(word: u64, hash: u64) -> bool {
    word != 0 && word >> HASH_AT == hash
}

/// How old a word is. One that another thread noted a moment after this one read `now_s` is of
/// now.
fn age_s(word: u64, now_s: u64) -> u64 {
    let age_s = now_s.wrapping_sub(word >> SECOND_AT) & SECOND_MASK;
    if age_s == SECOND_MASK { 0 } else { age_s }
}

fn known_at(word: u64, now_s: u64) -> Known {
    let verdict = match word & 3 {
        1 => Verdict::Held,
        2 => Verdict::Gone,
        _ => Verdict::None,
    };
    // A question whose answer was lost is asked again.
    let age_s = age_s(word, now_s);
    Known { verdict, age_s, asked: word & ASKED != 0 && age_s < HELD_S_MAX }
}

#[cfg(test)]
mod tests;
