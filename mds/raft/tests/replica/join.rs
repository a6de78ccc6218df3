//! A fourth node joins three, and shards move to it; it, and others, lose their disks.

use mds_raft::ReadmitError;

use crate::many::{Cluster, MEMBERS, SHARDS, formatted, leader_of, names};

/// Numbers of the intended voters, by shard: three in a row from the preferred leader, with shard 0
/// where it was made.
const VOTERS: [[u64; 3]; SHARDS] =
    [[1, 2, 3], [2, 3, 4], [1, 3, 4], [1, 2, 4], [1, 3, 4], [1, 2, 4], [1, 2, 3], [2, 3, 4]];

/// Waits until every node has every shard at its intended voters.
fn wait_until_moved(cluster: &Cluster) {
    cluster.wait_until("shards have moved", |cluster| {
        cluster.up().into_iter().all(|at| {
            let shards = cluster.node(at).shards();
            shards.iter().zip(VOTERS).all(|(shard, voters)| shard.status().voters == voters)
        })
    });
}

#[test]
fn a_node_joins_and_shards_move_to_it() {
    let mut cluster = formatted();
    let mut all = names("before");
    cluster.create(&all);
    let fourth = cluster.add();
    let more = names("meanwhile");
    cluster.create(&more);
    all.extend(more);
    wait_until_moved(&cluster);
    cluster.wait_until("it leads what it should", |cluster| cluster.node(fourth).status().led == 2);
    let more = names("moved");
    cluster.create(&more);
    all.extend(more);
    cluster.assert_alike(&all);
    // One of each shard's three voters may die, on whichever node.
    for at in 0..4 {
        cluster.kill(at);
        let more = names(&format!("without-{at}"));
        cluster.create(&more);
        all.extend(more);
        cluster.start(at);
        cluster.wait_until("it is back", |cluster| cluster.node(at).status().leaderless == 0);
    }
    cluster.assert_alike(&all);
}

#[test]
fn nodes_lose_their_disks_and_are_readmitted() {
    let mut cluster = formatted();
    let fourth = cluster.add();
    wait_until_moved(&cluster);
    let mut all = names("before");
    cluster.create(&all);
    for at in [fourth, 0, 2] {
        cluster.lose_disk(at);
        let more = names(&format!("without-{at}"));
        cluster.create(&more);
        all.extend(more);
        assert!(!cluster.node(at).status().takes_part);
        cluster.readmit(at);
    }
    wait_until_moved(&cluster);
    cluster.assert_alike(&all);
}

#[test]
fn a_node_that_is_down_unknown_or_of_another_cluster_is_not_readmitted() {
    let mut cluster = formatted();
    cluster.lose_disk_and_start_with(2, 1);
    cluster.wait_until("it is refused", |cluster| {
        cluster.request_readmission(2) == Some(Err(ReadmitError::Shards { number: 3, has: 1, all: 8 }))
    });
    cluster.kill(2);
    cluster.wait_until("it does not answer", |cluster| {
        cluster.request_readmission(2) == Some(Err(ReadmitError::Unreachable(3)))
    });
    cluster.wait_until("there is none", |cluster| {
        cluster.request_readmission(7) == Some(Err(ReadmitError::Unknown(8)))
    });
}

/// A node gives an address where no node or another node is: it is not admitted before it gives its
/// own.
#[test]
fn a_node_that_does_not_answer_at_its_address_is_not_admitted() {
    for says in ["10.0.0.9:1", "10.0.0.1:1", "0.0.0.0:1"] {
        let mut cluster = formatted();
        let fourth = cluster.add_at(says.parse().ok());
        // Longer than an admission takes.
        cluster.rest(2_000);
        assert!(cluster.node(0).members().iter().all(|(number, _)| *number != 4), "{says}");
        cluster.kill(fourth);
        cluster.give_own_address(fourth);
        cluster.start(fourth);
        wait_until_moved(&cluster);
        let all = names("joined");
        cluster.create(&all);
        cluster.assert_alike(&all);
    }
}

/// The leader that admits it dies before it has replicated that: the node sends its request again.
/// Seed 7012 of the simulator, with four nodes.
#[test]
fn a_node_that_only_a_dead_leader_knew_is_admitted() {
    let mut cluster = formatted();
    let leader = leader_of(&cluster, 0);
    let others: Vec<usize> = (0..MEMBERS).filter(|at| *at != leader).collect();
    cluster.isolate(&others);
    let fourth = cluster.add();
    cluster.wait_until("the leader has told it", |cluster| cluster.node(fourth).status().takes_part);
    cluster.kill(leader);
    cluster.isolate(&[]);
    leader_of(&cluster, 0);
    let mut all = names("without");
    cluster.create(&all);
    cluster.start(leader);
    wait_until_moved(&cluster);
    let more = names("moved");
    cluster.create(&more);
    all.extend(more);
    cluster.assert_alike(&all);
}

/// An intended voter is dead, and had all entries when it died: it gets no vote before it is back.
/// Else a shard would replace a live member by a dead one, and might have no majority.
#[test]
fn a_dead_node_gets_no_vote() {
    let mut cluster = formatted();
    cluster.add();
    wait_until_moved(&cluster);
    let mut all = names("before");
    cluster.create(&all);
    cluster.kill(2);
    // By then it counts as dead.
    cluster.rest(1_500);
    let fifth = cluster.add();
    let voters = |cluster: &Cluster| -> Vec<Vec<u64>> {
        cluster.node(fifth).shards().iter().map(|shard| shard.status().voters).collect()
    };
    cluster.wait_until("the fifth has votes", |cluster| {
        voters(cluster).iter().filter(|voters| voters.contains(&5)).count() >= 2
    });
    cluster.rest(3_000);
    for (shard, (now, before)) in voters(&cluster).iter().zip(VOTERS).enumerate() {
        assert!(before.contains(&3) || !now.contains(&3), "shard {shard}: {before:?}, {now:?}");
    }
    let more = names("without");
    cluster.create(&more);
    all.extend(more);
    cluster.start(2);
    cluster.wait_until("it votes where it did not", |cluster| {
        voters(cluster).iter().zip(VOTERS).any(|(now, before)| now.contains(&3) && !before.contains(&3))
    });
    cluster.assert_alike(&all);
}

/// A readmitted node dies before it votes: the shards that should move from it to one that joins do
/// not wait for it.
#[test]
fn a_node_that_stays_down_keeps_no_shard_from_moving() {
    let mut cluster = formatted();
    cluster.add();
    wait_until_moved(&cluster);
    let mut all = names("before");
    cluster.create(&all);
    cluster.lose_disk(1);
    cluster.wait_until("it is to be taken in again", |cluster| {
        matches!(cluster.request_readmission(1), Some(Ok(_)))
    });
    cluster.kill(1);
    // By then it counts as dead.
    cluster.rest(1_500);
    let fifth = cluster.add();
    let voters = |cluster: &Cluster, shard: usize| cluster.node(fifth).shards()[shard].status().voters;
    assert_eq!(VOTERS[3], [1, 2, 4]);
    cluster.wait_until("the fifth votes for it", |cluster| voters(cluster, 3) == [1, 4, 5]);
    let more = names("without");
    cluster.create(&more);
    all.extend(more);
    cluster.start(1);
    cluster.readmit(1);
    cluster.assert_alike(&all);
}
