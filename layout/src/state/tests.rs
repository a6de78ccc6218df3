//! Tests of what happens to a layout record.

use proptest::prelude::*;

use super::*;

const OTHER: [u8; 12] = [7; 12];

fn first(iomode: Iomode) -> LayoutRecord {
    grant(None, Shown::Open, iomode, OTHER).unwrap()
}

fn shown(seqid: u32) -> Shown {
    Shown::Layout { seqid }
}

/// RFC 8881 §12.5.3: 1 at first, one more each time, whether parallel requests show the same seqid
/// or not.
/// Origin: pynfs FFST1, FFLOOS.
#[test]
fn grants_count_up() {
    let one = first(Iomode::Read);
    assert_eq!((one.seqid, one.other, one.read, one.read_write), (1, OTHER, true, false));
    let two = grant(Some(&one), shown(1), Iomode::ReadWrite, [0; 12]).unwrap();
    assert_eq!((two.seqid, two.other, two.read, two.read_write), (2, OTHER, true, true));
    let three = grant(Some(&two), shown(1), Iomode::Read, [0; 12]).unwrap();
    assert_eq!(three.seqid, 3);
    let four = grant(Some(&three), Shown::Open, Iomode::Read, [0; 12]).unwrap();
    assert_eq!((four.seqid, four.other), (4, OTHER));
}

#[test]
fn a_layout_stateid_must_have_been_given() {
    assert_eq!(grant(None, shown(1), Iomode::Read, OTHER), Err(LayoutError::BadStateid));
    assert_eq!(
        grant(Some(&first(Iomode::Read)), shown(2), Iomode::Read, OTHER),
        Err(LayoutError::BadStateid)
    );
}

/// Origin: pynfs FFLOOS: a return must show the newest seqid.
#[test]
fn an_old_return_is_refused() {
    let one = first(Iomode::ReadWrite);
    let two = grant(Some(&one), shown(1), Iomode::ReadWrite, OTHER).unwrap();
    assert_eq!(give_back(&two, 1, None, true), Err(LayoutError::OldStateid));
    assert_eq!(give_back(&two, 3, None, true), Err(LayoutError::BadStateid));
    assert_eq!(give_back(&two, 2, None, true), Ok(Kept::Nothing));
    assert_eq!(give_back(&two, 0, None, true), Ok(Kept::Nothing));
}

#[test]
fn a_partial_return_keeps_the_rest() {
    let both = grant(Some(&first(Iomode::Read)), shown(1), Iomode::ReadWrite, OTHER).unwrap();
    let Ok(Kept::Record(read)) = give_back(&both, 2, Some(Iomode::ReadWrite), true) else {
        panic!("READ stays")
    };
    assert_eq!((read.seqid, read.held()), (3, Some(Iomode::Read)));
    let Ok(Kept::Record(range)) = give_back(&both, 2, None, false) else {
        panic!("a range takes nothing away")
    };
    assert_eq!((range.seqid, range.held()), (3, None));
    assert_eq!(give_back(&read, 3, Some(Iomode::Read), true), Ok(Kept::Nothing));
}

/// Linux refuses a recall whose seqid is not exactly one ahead; a repeated one must be the same.
#[test]
fn a_recall_is_one_ahead_and_stays_so() {
    let one = first(Iomode::ReadWrite);
    assert_eq!(recall(&one, Some(Iomode::Read)), None);
    let called = recall(&one, Some(Iomode::ReadWrite)).unwrap();
    assert_eq!((called.seqid, called.recall_seqid), (2, Some(2)));
    assert_eq!(recall(&called, None), Some(called.clone()));
    assert_eq!(grant(Some(&called), shown(2), Iomode::Read, OTHER), Err(LayoutError::Recalled));
    assert_eq!(grant(Some(&called), Shown::Open, Iomode::Read, OTHER), Err(LayoutError::Recalled));
    assert_eq!(give_back(&called, 2, None, true), Ok(Kept::Nothing));
}

/// A return that was on its way when the recall left shows the seqid before it.
#[test]
fn return_and_recall_may_cross() {
    let called = recall(&first(Iomode::ReadWrite), None).unwrap();
    assert_eq!(give_back(&called, 1, None, true), Ok(Kept::Nothing));
}

#[test]
fn a_return_of_the_write_part_ends_the_recall() {
    let both = grant(Some(&first(Iomode::Read)), shown(1), Iomode::ReadWrite, OTHER).unwrap();
    let called = recall(&both, Some(Iomode::ReadWrite)).unwrap();
    let Ok(Kept::Record(waiting)) = give_back(&called, 3, Some(Iomode::Read), true) else {
        panic!("RW stays")
    };
    assert!(waiting.recall_seqid.is_some());
    // The seqid moved on, so a repeated recall has to move too.
    assert_eq!(recall(&waiting, None).unwrap().seqid, waiting.seqid + 1);
    let Ok(Kept::Record(done)) = give_back(&called, 3, Some(Iomode::ReadWrite), true) else {
        panic!("READ stays")
    };
    assert_eq!(done.recall_seqid, None);
    assert!(grant(Some(&done), shown(4), Iomode::Read, OTHER).is_ok());
}

#[test]
fn commits_need_a_write_part() {
    let read = first(Iomode::Read);
    assert_eq!(check_commit(&read, 1), Err(LayoutError::ReadOnly));
    let write = grant(Some(&read), shown(1), Iomode::ReadWrite, OTHER).unwrap();
    assert_eq!(check_commit(&write, 1), Ok(()));
    assert_eq!(check_commit(&write, 3), Err(LayoutError::BadStateid));
    assert_eq!(check_commit(&recall(&write, None).unwrap(), 2), Ok(()));
}

#[test]
fn the_sequence_goes_round_without_zero() {
    let last = LayoutRecord { seqid: u32::MAX, ..first(Iomode::Read) };
    let next = grant(Some(&last), shown(u32::MAX), Iomode::Read, OTHER).unwrap();
    assert_eq!(next.seqid, 1);
    assert_eq!(give_back(&next, u32::MAX, None, true), Err(LayoutError::OldStateid));
    let called = recall(&last, None).unwrap();
    assert_eq!(called.seqid, 1);
    assert_eq!(give_back(&called, u32::MAX, None, true), Ok(Kept::Nothing));
}

#[derive(Clone, Debug)]
enum Act {
    Grant { open: bool, behind: u32, iomode: Iomode },
    Return { behind: u32, iomode: Option<Iomode>, whole: bool },
    Recall(Option<Iomode>),
}

fn any_iomode() -> impl Strategy<Value = Option<Iomode>> {
    prop_oneof![Just(None), Just(Some(Iomode::Read)), Just(Some(Iomode::ReadWrite))]
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (any::<bool>(), 0..3u32, any_iomode()).prop_map(|(open, behind, iomode)| Act::Grant {
            open,
            behind,
            iomode: iomode.unwrap_or(Iomode::Read)
        }),
        (0..3u32, any_iomode(), any::<bool>()).prop_map(|(behind, iomode, whole)| Act::Return {
            behind,
            iomode,
            whole
        }),
        any_iomode().prop_map(Act::Recall),
    ]
}

proptest! {
    /// Whatever a client and the server do: the seqid moves by at most one, the identity stays,
    /// nothing is granted during a recall, and an empty record never exists.
    #[test]
    fn the_rules_hold(acts in proptest::collection::vec(any_act(), 1..60), start in prop_oneof![Just(1u32), Just(u32::MAX - 3)]) {
        let mut record: Option<LayoutRecord> = None;
        for act in acts {
            let before = record.clone();
            let seqid = before.as_ref().map_or(1, |record| record.seqid);
            match act {
                Act::Grant { open, behind, iomode } => {
                    let shown = if open { Shown::Open } else { shown(seqid.wrapping_sub(behind).max(1)) };
                    if let Ok(mut next) = grant(before.as_ref(), shown, iomode, OTHER) {
                        prop_assert!(before.as_ref().is_none_or(|before| before.recall_seqid.is_none()));
                        prop_assert!(next.holds(Some(iomode)));
                        if before.is_none() {
                            prop_assert_eq!(next.seqid, 1);
                            next.seqid = start;
                        }
                        record = Some(next);
                    }
                }
                Act::Return { behind, iomode, whole } => {
                    let Some(before) = &before else { continue };
                    match give_back(before, seqid.wrapping_sub(behind), iomode, whole) {
                        Ok(Kept::Nothing) => record = None,
                        Ok(Kept::Record(next)) => {
                            prop_assert!(!whole || iomode.is_some_and(|iomode| !next.holds(Some(iomode))));
                            record = Some(next);
                        }
                        Err(_) => prop_assert!(0 < behind),
                    }
                }
                Act::Recall(iomode) => {
                    let Some(before) = &before else { continue };
                    match recall(before, iomode) {
                        Some(next) => {
                            prop_assert_eq!(next.recall_seqid, Some(next.seqid));
                            record = Some(next);
                        }
                        None => prop_assert!(!before.holds(iomode)),
                    }
                }
            }
            if let (Some(before), Some(after)) = (&before, &record) {
                prop_assert!(after.seqid == before.seqid || after.seqid == seqid_next(before.seqid));
                prop_assert_eq!(after.other, before.other);
            }
            prop_assert!(record.as_ref().is_none_or(|record| record.holds(None) && record.seqid != 0));
        }
    }
}
