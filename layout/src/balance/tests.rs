//! Tests of what is moved, and of what is not.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn holder(id: u32, capacity_mib: u64, held_mib: u64) -> Holder {
    let labels = Labels { host: format!("h{id}"), ..Labels::default() };
    let (capacity_bytes, held_bytes) = (capacity_mib * MIB, held_mib * MIB);
    Holder { id: DataServerId(id), labels, capacity_bytes, held_bytes, takes: true }
}

fn pieces(on: &[u32], mib: u64) -> Vec<Piece> {
    on.iter().map(|id| Piece { on: DataServerId(*id), bytes: mib * MIB, moves: true }).collect()
}

/// Goes through all holdings once; what was moved.
fn round(balance: &mut Balance, holdings: &mut [Vec<Piece>], together: usize) -> Vec<Move> {
    let mut moves = Vec::new();
    for pieces in holdings {
        if let Some(one) = balance.step(&Holding { pieces, together }) {
            pieces[one.piece].on = one.to;
            moves.push(one);
        }
    }
    moves
}

#[test]
fn a_new_server_gets_its_share_and_no_more() {
    let holders = vec![holder(1, 1000, 400), holder(2, 1000, 400), holder(3, 1000, 400), holder(4, 1000, 0)];
    let mut balance = Balance::new(holders, false).unwrap();
    let mut groups: Vec<_> = (0..40).map(|_| pieces(&[1, 2, 3], 10)).collect();
    let moves = round(&mut balance, &mut groups, 1);
    assert!(moves.iter().all(|one| one.to == DataServerId(4)));
    assert_eq!(moves.iter().map(|one| one.bytes).sum::<u64>(), 300 * MIB);
    for id in 1..=3 {
        let from = moves.iter().filter(|one| one.from == DataServerId(id)).count();
        assert_eq!(from, 10, "each gives as much");
    }
    assert!(round(&mut balance, &mut groups, 1).is_empty());
    assert!((1..=4).all(|id| !balance.gives(DataServerId(id)) && !balance.takes(DataServerId(id))));
}

#[test]
fn shares_go_by_capacity() {
    let mut balance = Balance::new(vec![holder(1, 1000, 600), holder(2, 3000, 0)], false).unwrap();
    let mut all: Vec<_> = (0..60).map(|_| pieces(&[1], 10)).collect();
    assert_eq!(round(&mut balance, &mut all, 1).len(), 45);
}

#[test]
fn a_small_difference_is_no_reason_to_begin_but_one_to_go_on() {
    let holders = || vec![holder(1, 1000, 440), holder(2, 1000, 400)];
    assert!(Balance::new(holders(), false).is_none());
    assert!(Balance::new(holders(), true).is_some());
    assert!(Balance::new(vec![holder(1, 1000, 409), holder(2, 1000, 400)], true).is_none());
    assert!(Balance::new(vec![holder(1, 1000, 900)], false).is_none());
    assert!(Balance::new(Vec::new(), false).is_none());
}

#[test]
fn who_takes_nothing_gets_nothing() {
    let idle = |id| Holder { takes: false, ..holder(id, 1000, 0) };
    assert!(Balance::new(vec![holder(1, 1000, 500), idle(2)], false).is_none());
    let mut balance = Balance::new(vec![holder(1, 1000, 500), idle(2), holder(3, 1000, 0)], false).unwrap();
    let mut all: Vec<_> = (0..50).map(|_| pieces(&[1], 10)).collect();
    assert!(round(&mut balance, &mut all, 1).iter().all(|one| one.to == DataServerId(3)));
}

#[test]
fn two_of_a_group_do_not_meet_and_domains_are_kept() {
    let mut holders = vec![holder(1, 1000, 500), holder(2, 1000, 500), holder(3, 1000, 0)];
    let mut balance = Balance::new(holders.clone(), false).unwrap();
    let all = pieces(&[1, 2, 3], 10);
    assert_eq!(balance.step(&Holding { pieces: &all, together: 1 }), None, "each has one");
    holders[2].labels.host = "h2".to_owned();
    let mut balance = Balance::new(holders.clone(), false).unwrap();
    let both = pieces(&[1, 2], 10);
    let one = balance.step(&Holding { pieces: &both, together: 1 }).unwrap();
    assert_eq!((one.from, one.to), (DataServerId(2), DataServerId(3)), "within its host");
    let mut balance = Balance::new(holders, false).unwrap();
    let fixed = [Piece { moves: false, ..both[1] }, both[0]];
    assert_eq!(balance.step(&Holding { pieces: &fixed, together: 1 }), None, "two of a host could be lost");
    assert!(balance.step(&Holding { pieces: &fixed, together: 2 }).is_some());
}

/// Servers, and groups of three of the first `old` of them.
fn clusters() -> impl Strategy<Value = (Vec<Holder>, Vec<Vec<Piece>>)> {
    let servers = proptest::collection::vec((1_000..9_000_u64, 0..4_u8), 4..10);
    (servers, 3..6_usize, any::<u64>(), 1..300_usize).prop_map(|(servers, old, seed, groups)| {
        let old = old.min(servers.len());
        let mut state = seed | 1;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let mut all = Vec::new();
        for _ in 0..groups {
            let first = random(old);
            let on: Vec<u32> = (0..3).map(|turn| ((first + turn) % old) as u32 + 1).collect();
            all.push(pieces(&on, 1 + random(64) as u64));
        }
        let holders = servers.iter().enumerate().map(|(at, (capacity_mib, rack))| {
            let id = at as u32 + 1;
            let mine = all.iter().flatten().filter(|piece: &&Piece| piece.on.0 == id);
            let held_bytes = mine.map(|piece| piece.bytes).sum();
            let mut one = holder(id, *capacity_mib, 0);
            one.labels.rack = format!("r{rack}");
            Holder { held_bytes, ..one }
        });
        (holders.collect(), all)
    })
}

fn spread(holders: &[Holder], pieces: &[Piece]) -> Spread {
    let of = |piece: &Piece| &holders.iter().find(|one| one.id == piece.on).unwrap().labels;
    Spread::of(pieces.iter().map(of))
}

proptest! {
    /// Whatever the cluster looks like: rounds end, no server gets more than its share, no more is
    /// moved than that the first difference calls for, groups stay as far apart as they were, and a
    /// second look finds nothing to do.
    #[test]
    fn it_ends_and_breaks_nothing((holders, groups) in clusters()) {
        let (mut now, mut moved, mut after) = (holders.clone(), 0, groups.clone());
        let mut begun = false;
        let away = |balance: &Balance| -> u64 {
            balance.holders.iter().zip(&balance.shares).map(|(one, share)| one.held_bytes.abs_diff(*share)).sum()
        };
        let mut first_away = None;
        for looks in 0.. {
            prop_assert!(looks < 400, "it does not end");
            let Some(mut balance) = Balance::new(now.clone(), begun) else { break };
            let first_away = *first_away.get_or_insert_with(|| away(&balance));
            let before = balance.clone();
            let moves = round(&mut balance, &mut after, 1);
            moved += moves.iter().map(|one| one.bytes).sum::<u64>();
            prop_assert!(moved <= first_away, "{moved} of {first_away}");
            for (at, one) in balance.holders.iter().enumerate() {
                let got = before.holders[at].held_bytes < one.held_bytes;
                prop_assert!(!got || one.held_bytes <= balance.shares[at]);
                prop_assert!(!moves.iter().any(|a| a.to == one.id && moves.iter().any(|b| b.from == a.to)));
            }
            now = balance.holders;
            begun = true;
            if moves.is_empty() {
                break;
            }
        }
        for (group, was) in after.iter().zip(&groups) {
            let on: BTreeSet<_> = group.iter().map(|piece| piece.on).collect();
            prop_assert_eq!(on.len(), group.len());
            let (group, was) = (spread(&holders, group), spread(&holders, was));
            prop_assert!(group.zone <= was.zone.max(1) && group.rack <= was.rack.max(1) && group.host <= was.host.max(1));
        }
        // Looked at again, from what each really holds.
        if let Some(mut again) = Balance::new(now, begun) {
            prop_assert_eq!(round(&mut again, &mut after, 1), vec![]);
        }
    }

    /// Without racks to mind, what cannot be moved further is less than a piece away for each that
    /// gives.
    #[test]
    fn it_comes_near((mut holders, mut groups) in clusters()) {
        for one in &mut holders {
            one.labels.rack = String::new();
        }
        let mut now = holders;
        let mut begun = false;
        while let Some(mut balance) = Balance::new(now, begun) {
            let moves = round(&mut balance, &mut groups, 1);
            begun = true;
            now = balance.holders.clone();
            if moves.is_empty() {
                for (one, share) in balance.holders.iter().zip(&balance.shares) {
                    let Some(least) = groups.iter().flatten().filter(|piece| piece.on == one.id).map(|piece| piece.bytes).min() else { continue };
                    let far = share + least.div_ceil(2) <= one.held_bytes;
                    let wants = |id: DataServerId| {
                        let at = balance.find(id).unwrap();
                        balance.holders[at].held_bytes + least <= balance.shares[at]
                    };
                    // A server could have the smallest piece, and it stays only if its group is
                    // there already.
                    let blocked = |id: DataServerId| groups.iter().filter(|group| group.iter().any(|piece| piece.on == one.id && piece.bytes == least)).all(|group| group.iter().any(|piece| piece.on == id));
                    let could = balance.holders.iter().any(|other| wants(other.id) && !blocked(other.id));
                    prop_assert!(!far || !could);
                }
                break;
            }
        }
    }
}
