//! Updates of the copies of an extent, by handles and by metadata servers.

use layout::DataServerId;

use super::*;

fn told(epoch: u64, replicas: &[(u32, Option<u64>, bool)]) -> SetUpdate {
    let by_metadata = replicas.iter().any(|(_, since, _)| since.is_some());
    let replicas =
        replicas.iter().map(|(server, since, f)| (DataServerId(*server), since.map(Epoch), *f)).collect();
    SetUpdate { epoch: Epoch(epoch), by_metadata, replicas }
}

fn servers(state: &State) -> Vec<u32> {
    state.members.iter().map(|one| one.server.0).collect()
}

fn state() -> State {
    ExtentCopies::new(ExtentId { ino: 1, index: 0 }).state.into_inner()
}

#[test]
fn a_handle_says_nothing_new_at_a_known_epoch() {
    let mut state = state();
    state.apply_update(&told(2, &[(7, None, false)]));
    state.apply_update(&told(1, &[(8, None, false)]));
    state.apply_update(&told(2, &[]));
    assert_eq!((servers(&state), state.epoch), (vec![7], Epoch(2)));
    assert!(!state.raise_due, "nothing was written under it");
}

#[test]
fn a_change_while_writes_go_on_is_put_down_before_anything_is_promised() {
    let mut state = state();
    state.apply_update(&told(2, &[(7, None, false)]));
    state.opened = true;
    state.apply_update(&told(3, &[(7, Some(1), false)]));
    assert!(!state.raise_due, "the same servers");
    state.apply_update(&told(4, &[(8, Some(4), true)]));
    assert!(state.raise_due);
    assert_eq!(state.settled(0), None);
}

#[test]
fn a_replica_that_left_and_came_back_is_another_one() {
    let mut state = state();
    state.apply_update(&told(2, &[(7, Some(1), false)]));
    state.members[0].attach(&member::Found { instance: 5, theirs: 0, ours: 0 });
    state.opened = true;
    state.apply_update(&told(4, &[(7, Some(4), true)]));
    assert_eq!(state.members[0].instance(), None, "nothing it holds is known");
    assert!(state.members[0].filling);
}

#[test]
fn a_replica_that_a_handle_named_and_that_came_back_is_another_one() {
    let mut state = state();
    state.apply_update(&told(1, &[(7, None, false)]));
    state.members[0].attach(&member::Found { instance: 5, theirs: 0, ours: 0 });
    state.opened = true;
    // It left at epoch 2, which no metadata server told.
    state.apply_update(&told(3, &[(7, Some(3), true)]));
    assert_eq!(state.members[0].instance(), None, "nothing it holds is known");
    assert!(state.members[0].filling && state.raise_due);
}

#[test]
fn a_handle_that_calls_a_whole_replica_filling_tells_that_it_came_back() {
    let mut state = state();
    state.apply_update(&told(2, &[(7, Some(2), true)]));
    state.apply_update(&told(3, &[(7, Some(2), false)]));
    state.members[0].attach(&member::Found { instance: 5, theirs: 0, ours: 0 });
    state.opened = true;
    state.apply_update(&told(4, &[(7, None, false)]));
    assert!(!state.members[0].filling && state.members[0].instance().is_some(), "it stayed");
    state.apply_update(&told(6, &[(7, None, true)]));
    assert!(state.members[0].filling && state.members[0].instance().is_none());
}

#[test]
fn without_replicas_nothing_is_remembered() {
    let table = CopyTable::default();
    let extent = ExtentId { ino: 1, index: 0 };
    assert!(table.apply_update(extent, &told(1, &[])).is_none());
    assert!(table.apply_update(extent, &told(1, &[(7, None, false)])).is_some());
    assert!(table.apply_update(extent, &told(2, &[])).is_some_and(|one| one.state.lock().members.is_empty()));
    table.forget(extent);
    assert!(table.find(extent).is_none());
}

#[test]
fn a_request_that_would_wait_for_a_replica_without_room_is_told() {
    let mut state = state();
    state.apply_update(&told(1, &[(7, None, false)]));
    assert_eq!(state.may_begin(), None, "it is asked what it has");
    state.members[0].failed(member::Step::Attach, member::Fault::Full, 0);
    assert_eq!(state.may_begin(), Some(Err(SettleError::NoSpace)));
    assert_eq!(state.settled(0), Some(Err(SettleError::NoSpace)));
    state.opened = true;
    assert_eq!(state.may_begin(), Some(Ok(())), "it may have room when the bytes are there");
}
