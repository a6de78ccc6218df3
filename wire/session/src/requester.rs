//! The requester's end of a slot table: which slot and sequence the next request gets.
//!
//! A server needs it for its callbacks, a client for everything. What the answers mean the sender
//! decides.
//!
//! INVARIANT: a slot that is taken is not taken again until it is given back; its sequence moves
//! only when the other side is known to have seen the request.
//! Spec: RFC 8881 §2.10.6.1, §2.10.6.2.

/// Slots to send requests on.
#[derive(Debug)]
pub struct RequesterSlots {
    slots: Vec<RequesterSlot>,
}

#[derive(Clone, Debug)]
struct RequesterSlot {
    /// Of the last request that was seen.
    sequence: u32,
    taken: bool,
}

/// A slot that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which slot.
    pub slot: u32,
    /// The sequence to send.
    pub sequence: u32,
    /// The highest slot that is taken now.
    pub slot_highest: u32,
}

impl RequesterSlots {
    /// That many slots, none used yet. The caller bounds the number.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        Self { slots: vec![RequesterSlot { sequence: 0, taken: false }; slots as usize] }
    }

    /// Takes the lowest free slot; `None` if all are taken.
    pub fn take(&mut self) -> Option<Taken> {
        let free = self.slots.iter().position(|slot| !slot.taken)?;
        self.slots[free].taken = true;
        let highest = self.slots.iter().rposition(|slot| slot.taken).expect("one was just taken");
        assert!(free <= highest, "the slot just taken is the highest that is taken, or below it");
        debug_assert!(self.slots[..free].iter().all(|slot| slot.taken), "the lowest one is taken");
        Some(Taken {
            slot: u32::try_from(free).expect("made from a u32"),
            sequence: self.slots[free].sequence.wrapping_add(1),
            slot_highest: u32::try_from(highest).expect("made from a u32"),
        })
    }

    /// Gives a slot back. `seen` says that the other side has moved its own sequence; if that is
    /// not known, the next request goes out under the same number and the answer will tell.
    pub fn give_back(&mut self, slot: u32, sequence: u32, seen: bool) {
        let Some(slot) = self.slots.get_mut(slot as usize) else { return };
        if !slot.taken || slot.sequence.wrapping_add(1) != sequence {
            return;
        }
        slot.taken = false;
        if seen {
            slot.sequence = sequence;
        }
    }

    /// How many slots are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.slots.iter().filter(|slot| slot.taken).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_slot_is_taken() {
        let mut slots = RequesterSlots::new(2);
        assert_eq!(slots.take(), Some(Taken { slot: 0, sequence: 1, slot_highest: 0 }));
        assert_eq!(slots.take(), Some(Taken { slot: 1, sequence: 1, slot_highest: 1 }));
        assert_eq!(slots.take(), None);
        slots.give_back(0, 1, true);
        assert_eq!(slots.take(), Some(Taken { slot: 0, sequence: 2, slot_highest: 1 }));
        assert_eq!(slots.taken(), 2);
    }

    #[test]
    fn an_unseen_request_leaves_its_number() {
        let mut slots = RequesterSlots::new(1);
        slots.take();
        slots.give_back(0, 1, false);
        assert_eq!(slots.take().map(|taken| taken.sequence), Some(1));
        slots.give_back(0, 7, true);
        slots.give_back(9, 1, true);
        assert_eq!(slots.take(), None, "only what was taken comes back");
    }

    /// Both ends together: whatever is lost, nothing runs twice and nothing is skipped.
    #[test]
    fn requester_and_slot_agree() {
        use crate::server::slot::{Slot, SlotVerdict};
        let mut requester = RequesterSlots::new(1);
        let mut slot = Slot::new();
        let mut executed = 0;
        for round in 0..100u64 {
            let taken = requester.take().unwrap();
            // Every third request is lost on its way, every fifth reply on the way back.
            let arrived = round % 3 != 0;
            let seen = arrived && {
                let verdict = slot.admit(taken.sequence, 0);
                if verdict == SlotVerdict::Execute {
                    executed += 1;
                    slot.complete(taken.sequence, None);
                }
                round % 5 != 0
            };
            requester.give_back(0, taken.sequence, seen);
        }
        assert_eq!(executed, slot.sequence());
        assert!(40 < executed);
    }
}
