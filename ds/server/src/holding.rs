//! Whether the layout that a handle was made for is still held, as far as this server was told.
//!
//! A handle that was made a moment ago is good by itself. After that a metadata server must have
//! said, not long ago, that the layout is held; active handles are asked about before that runs
//! out, so that no request waits. What was said is kept in a table of fixed size without locks: one
//! word for each, found by a keyed hash of what the handle names. `ask.rs` does the asking.
//!
//! INVARIANT: no handle is good for longer than [`HELD_S_MAX`], or while it is fresh, after its
//! layout ended.
//! Spec: docs/formats/ds_handle.md; docs/protocol/control.md §7.

pub(crate) mod ask;
pub(crate) mod queue;

use std::sync::atomic::{AtomicU64, Ordering};

use env::Entropy;
use layout::{DsHandle, Holder};
use wire_nfs::control::handles::HolderName;

use crate::limits::{
    GONE_S_MAX, HANDLE_FRESH_STEPS, HANDLE_RENEW_STEPS, HELD_RENEW_S, HELD_S_MAX, HOLDERS_KNOWN_MAX,
};

/// Places that one holder may be at in the table.
const WAYS: usize = 4;
const SETS: usize = HOLDERS_KNOWN_MAX / WAYS;
const _: () = assert!(SETS.is_power_of_two(), "a set is some bits of a hash");

/// A word of the table, from the lowest bit: 2 of the verdict, 1 whether it is asked about, 27 of
/// the second, 34 of the hash.
const ASKED: u64 = 1 << 2;
const SECOND_AT: u32 = 3;
const SECOND_MASK: u64 = (1 << 27) - 1;
const HASH_AT: u32 = 30;

/// What a handle's goodness depends on, but for its age: handles of one grant, and of one step of
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) name: HolderName,
    /// When the handle was made. Part of it so that a refusal never meets a layout that the client
    /// got later.
    pub(crate) issued: u32,
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
    /// It is being asked about again.
    asked: bool,
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It is served.
    Good,
    /// It is served, and the metadata server is to be asked in time.
    GoodSoonAsked,
    /// It waits for what the metadata server says.
    Ask,
    /// It is refused.
    Gone,
}

/// The rule.
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

/// What was said of holders.
pub(crate) struct Holders {
    words: Box<[[AtomicU64; WAYS]]>,
    key: [u64; 2],
}

impl Holders {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        let (one, two) = bytes.split_at(8);
        let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let words = (0..SETS).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        Self { words, key: [half(one), half(two)] }
    }

    /// Judges a handle at `now_s`, when it is so many steps old.
    pub(crate) fn judge(&self, question: &Question, age_steps: u32, now_s: u64) -> Judged {
        let (hash, ways) = self.ways(question);
        let known = ways.iter().map(|way| way.load(Ordering::Acquire)).find(|word| is_of(*word, hash));
        judge(age_steps, known.map(|word| known_at(word, now_s)))
    }

    /// Notes that a holder is asked about; `false` if that was noted already.
    pub(crate) fn begin_to_ask(&self, question: &Question, now_s: u64) -> bool {
        let (hash, ways) = self.ways(question);
        for way in ways {
            let word = way.load(Ordering::Acquire);
            if is_of(word, hash) {
                return way.fetch_or(ASKED, Ordering::AcqRel) & ASKED == 0;
            }
        }
        // Two requests at once may both come here: it is asked about twice.
        self.put(question, Verdict::None, true, now_s);
        true
    }

    /// A question that was asked at `now_s` was answered.
    pub(crate) fn note(&self, question: &Question, held: bool, now_s: u64) {
        self.put(question, if held { Verdict::Held } else { Verdict::Gone }, false, now_s);
    }

    /// A question was not answered: the next request asks it again.
    pub(crate) fn give_up(&self, question: &Question) {
        let (hash, ways) = self.ways(question);
        for way in ways {
            if is_of(way.load(Ordering::Acquire), hash) {
                way.fetch_and(!ASKED, Ordering::AcqRel);
            }
        }
    }

    /// In place of what was said before, else of what was said longest ago.
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
        // Never 0, which is an empty place: nothing is noted that is neither said nor asked about.
        ways[way].store(if asked { word | ASKED } else { word }, Ordering::Release);
    }

    fn ways(&self, question: &Question) -> (u64, &[AtomicU64; WAYS]) {
        let Question { name: HolderName { ino, tag, writes }, issued } = *question;
        let first = mixed(ino ^ self.key[0]);
        let rest = (u64::from(tag) << 32) | (u64::from(issued) << 1) | u64::from(writes);
        let hash = mixed(mixed(first ^ rest).wrapping_add(self.key[1]));
        let set = usize::try_from(hash % SETS as u64).expect("a set");
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

/// What was noted a moment after `now_s` was read is of now.
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
    // A question that was lost is asked again.
    let age_s = age_s(word, now_s);
    Known { verdict, age_s, asked: word & ASKED != 0 && age_s < HELD_S_MAX }
}

#[cfg(test)]
mod tests;
