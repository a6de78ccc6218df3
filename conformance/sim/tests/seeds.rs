//! A few seeds, short ones; that a seed repeats; and that each checker finds the bug that is
//! planted for it.
//!
//! Each run is a process, as it is for `cargo xtask sim`.

use std::process::Command;

/// What a run printed, and whether it held.
fn run(seed: u64, minutes: &str, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(["--seed", &seed.to_string(), "--minutes", minutes]).args(more);
    let done = command.output().expect("the simulator can be started");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let text = format!("{text}{}", String::from_utf8_lossy(&done.stderr));
    assert!(matches!(done.status.code(), Some(0 | 1)), "seed {seed} did not end: {text}");
    (done.status.success(), text)
}

fn word_behind<'a>(text: &'a str, name: &str) -> &'a str {
    let mut words = text.split_whitespace().skip_while(|word| *word != name);
    words.nth(1).expect("the line has it")
}

#[test]
fn seeds_hold() {
    for (seed, shards) in [(1, "1"), (2, "1"), (1, "4"), (2, "4")] {
        let (held, text) = run(seed, "0.4", &["--shards", shards]);
        assert!(held, "{text}");
        assert!(500 < word_behind(&text, "acts").parse::<u64>().unwrap(), "{text}");
    }
}

/// The leader died before it had written what the others had committed, and led on: replicas
/// differed.
#[test]
fn a_leader_that_restarts_gives_no_place_twice() {
    for seed in [7, 23] {
        let (held, text) = run(seed, "1", &["--shards", "1", "--nodes", "3"]);
        assert!(held, "{text}");
    }
}

/// A new leader gave extents to replicas while their primaries still served, counting leases from
/// before it led; and a replica that had left and come back was called filled though it had been
/// told to forget everything.
#[test]
fn data_survive_that_leaders_and_homes_change() {
    for (seed, minutes) in [(1, "1.5"), (9, "1"), (119, "1.8")] {
        let (held, text) = run(seed, minutes, &["--shards", "1", "--nodes", "3"]);
        assert!(held, "{text}");
    }
}

/// A MKDIR that was begun over two shards was answered with DELAY, and ended by the next governor.
#[test]
fn what_is_delayed_is_not_done() {
    let (held, text) = run(8822, "1.2", &[]);
    assert!(held, "{text}");
}

/// A file was cut while a WRITE to it was on its way to a data server, which cut what it had of it;
/// the WRITE made the file longer again, and was answered.
#[test]
fn what_a_cut_takes_off_a_write_is_written_again() {
    let (held, text) = run(44, "0.4", &["--cuts"]);
    assert!(held, "{text}");
}

/// A data server came back that had missed a cut of an extent with a replica. It could not carry
/// that out before it knew who it is, and was told that only behind it.
#[test]
fn a_data_server_that_missed_a_cut_comes_back() {
    let (held, text) = run(16, "1", &["--cuts"]);
    assert!(held, "{text}");
}

/// When nothing is wrong any more, every image gets into a group; and if none ever does, that is
/// found.
#[test]
fn sealing_ends() {
    let (held, text) = run(3, "0.3", &["--seal", "--shards", "1"]);
    assert!(held, "{text}");
    let (held, text) = run(3, "0.3", &["--seal", "--shards", "1", "--plant", "groups-forgotten"]);
    assert!(!held && text.contains("images wait for a group for 180 s"), "{text}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (first, again) = (run(5, "0.3", &[]).1, run(5, "0.3", &["--trace", "warn", "--counts"]).1);
    let digest = word_behind(&first, "digest");
    assert_eq!(digest, word_behind(&again, "digest"));
    assert_ne!(digest, word_behind(&run(6, "0.3", &[]).1, "digest"));
}

#[test]
fn the_same_seed_is_the_same_run_with_linux_hosts() {
    let (first, again) = (run(5, "0.3", &["--linux"]).1, run(5, "0.3", &["--linux", "--counts"]).1);
    let digest = word_behind(&first, "digest");
    assert_eq!(digest, word_behind(&again, "digest"));
    assert_ne!(digest, word_behind(&run(5, "0.3", &[]).1, "digest"), "the hosts do something");
}

/// Processes that are paused, clocks that are far wrong, disks of data servers that fail, are lost
/// or put back.
#[test]
fn faults_of_machines_are_survived() {
    for seed in [1, 2] {
        let (held, text) = run(seed, "1", &["--faults"]);
        assert!(held, "{text}");
    }
}

#[test]
fn the_same_seed_is_the_same_run_with_faults_of_machines() {
    let (first, again) = (run(5, "0.5", &["--faults"]).1, run(5, "0.5", &["--faults", "--counts"]).1);
    assert_eq!(word_behind(&first, "digest"), word_behind(&again, "digest"));
}

/// What is planted is found, by the checker that it is planted for, with one of these seeds.
fn found(plant: &str, minutes: &str, seeds: std::ops::Range<u64>, by: &str) {
    found_with(plant, minutes, seeds, by, "");
}

/// The same, where several checkers' lines begin with `by`.
fn found_with(plant: &str, minutes: &str, seeds: std::ops::Range<u64>, by: &str, words: &str) {
    let is_it = |line: &str| line.trim_start().starts_with(by) && line.contains(words);
    let mut texts = String::new();
    for seed in seeds {
        let (held, text) = run(seed, minutes, &["--plant", plant]);
        if !held && text.lines().any(is_it) {
            assert!(text.contains(&format!("again: cargo xtask sim --seed {seed}")), "{text}");
            return;
        }
        texts += &text;
    }
    panic!("{plant} was not found:\n{texts}");
}

#[test]
fn stale_views_are_found() {
    found("stale-views", "0.2", 1..6, "names of directory");
}

#[test]
fn a_request_that_runs_twice_is_found() {
    found("runs-twice", "0.2", 1..6, "names of directory");
}

/// A directory is in two places at once, or comes back.
#[test]
fn a_move_that_leaves_something_behind_is_found() {
    found("entry-stays", "0.4", 10..19, "moves in group");
}

/// A RENAME to another directory, a LINK or a REMOVE that is done once more.
#[test]
fn a_move_that_runs_twice_is_found() {
    found("runs-twice", "0.4", 1..9, "moves in group");
}

/// A file that is opened twice by one OPEN.
#[test]
fn an_open_that_is_not_new_is_found() {
    found_with("runs-twice", "0.2", 1..6, "seen: client", "closed and opened again has the stateid");
}

/// What is sent again behind its answer is carried out again, and so has another answer.
#[test]
fn an_answer_that_is_forgotten_is_found() {
    found_with("answers-forgotten", "0.2", 1..6, "seen: client", "had two answers");
}

/// Without records a request that is resent after its server died runs a second time.
#[test]
fn records_that_are_forgotten_are_found() {
    found("records-forgotten", "0.4", 1..9, "names of directory");
}

/// A RENAME, LINK or REMOVE among several directories runs a second time.
#[test]
fn records_of_moves_that_are_forgotten_are_found() {
    found("records-forgotten", "0.4", 1..13, "moves in group");
}

#[test]
fn a_replica_that_forgets_is_found() {
    found("replica-forgets", "0.2", 1..6, "replicas:");
}

#[test]
fn an_entry_that_stays_is_found() {
    found("entry-stays", "0.2", 1..6, "tree of replica");
}

#[test]
fn a_lock_that_is_granted_twice_is_found() {
    found("locks-hidden", "0.2", 1..6, "locks: granted twice");
}

/// It reads alone for much longer than it may.
#[test]
fn a_leader_with_a_slow_clock_is_found() {
    found("slow-clock", "1", 1..9, "names of directory");
}

#[test]
fn a_write_that_is_forgotten_is_found() {
    found("inline-forgotten", "0.2", 1..6, "content of file");
}

/// Only the last look at all can see it: it happens when clients have stopped.
#[test]
fn what_is_lost_when_all_is_quiet_is_found() {
    found("rest-lost", "0.1", 1..6, "content of file");
}

#[test]
fn a_file_without_a_name_that_stays_is_found() {
    found_with("orphans-stay", "0.2", 1..6, "left in shard", "orphans left");
}

/// An act over several shards, of which its shard forgets that it ended.
#[test]
fn an_act_that_stays_is_found() {
    found_with("intents-stay", "0.2", 1..9, "left in shard", "acts that were begun");
}

#[test]
fn state_of_clients_that_stays_is_found() {
    found_with("records-stay", "0.2", 1..6, "left in shard", "records of slots left");
}

/// A server that finds its log damaged does not start.
#[test]
fn a_log_that_rots_is_found() {
    found_with("bit-rots", "0.2", 1..9, "start:", "is damaged");
}

/// In most seeds the engine finds it before any client does.
#[test]
fn a_disk_that_lies_is_found() {
    found("sync-lies", "1", 59..62, "names of directory");
}

/// The leader finds that a follower has forgotten what it said it had: an assertion of the engine.
#[test]
fn a_lost_disk_under_the_old_name_is_found() {
    found("name-kept", "2", 6..7, "panic: ");
}

#[test]
fn a_disk_that_hangs_is_found() {
    found("sync-hangs", "0.2", 1..6, "replicas differ for");
}

#[test]
fn who_waits_for_ever_is_found() {
    found("lives-on", "0.2", 1..6, "clients go on for");
}

/// A size behind what a data server has acknowledged: `i_size` goes back, and the next append lands
/// on acknowledged bytes.
#[test]
fn sizes_that_only_the_log_knows_are_found() {
    found_with("stale-sizes", "0.4", 1..5, "linux: log", "appends are lost");
}

/// It is compared with a size that lags behind the data servers.
#[test]
fn a_truncation_that_cuts_nothing_is_found() {
    found_with("grown-truncation", "0.4", 1..9, "linux: shared file", "a cut is undone");
}

#[test]
fn an_end_of_file_as_old_as_the_layout_is_found() {
    found_with("old-eof", "0.4", 1..5, "linux:", "a direct read ended early");
}

/// Its lease did not run out while it did not run: it reads alone, though others have elected
/// another leader.
#[test]
fn a_paused_leader_whose_lease_goes_on_is_found() {
    found("paused-leases", "1", 1..9, "names of directory");
}

/// Metadata servers that were paused take all data servers for lost.
#[test]
fn a_pause_that_is_not_seen_is_found() {
    found_with("pauses-unseen", "3", 4..7, "seen: client", "had an I/O error");
}

#[test]
fn a_clock_that_is_believed_is_found() {
    found_with("clock-believed", "0.4", 1..6, "seen: a file has a time", "of a clock far wrong");
}

/// A disk was put back to what it was some seconds before, and its data server is believed.
#[test]
fn a_store_that_is_believed_is_found() {
    found("marks-forgotten", "1", 10..17, "content of file");
}

/// A primary was paused, its replica had just lost its disk and became primary all the same: the
/// only copy is the paused one's.
#[test]
fn a_home_that_forgets_before_the_next_one_has_shown_what_it_has_is_found() {
    found("former-dropped", "2", 4..6, "content of file");
}

/// It does not fail, nor does it answer: its data server does not give up.
#[test]
fn a_data_server_that_does_not_give_up_is_found() {
    found_with("disk-silent", "0.4", 1..6, "the last look goes on", "when all is quiet");
}

#[test]
fn a_panic_is_found() {
    found("store-panics", "0.2", 1..6, "panic: ");
}
