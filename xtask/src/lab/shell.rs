//! The group `shell`: small programs of every day, line by line, on the server under test and on
//! knfsd.
//!
//! Both servers are mounted in both guests. A line is played on both mounts at the same time, by
//! guests of the same kernel; what it prints, its exit codes and the files it leaves, seen from
//! both guests, must be alike, and what it prints must be what its table says. The tables are
//! `conformance/lab/shell/*.toml`, a topic each (`line`); the comparison is `verdict`.
//!
//! INVARIANT: a line names no absolute path of a mount: nothing but the server differs between its
//! two plays.

mod line;
mod player;
mod verdict;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use self::line::Line;
use self::player::{Mounted, Player};
use self::verdict::Outcome;
use super::scenario::{Needs, Scenario};
use super::stage::Stage;

/// A table of lines, and what is known when all of them agree.
struct Topic {
    name: &'static str,
    proves: &'static str,
    table: &'static str,
}

macro_rules! topic {
    ($name:literal, $proves:literal) => {
        Topic {
            name: concat!("shell-", $name),
            proves: $proves,
            table: include_str!(concat!("../../../conformance/lab/shell/", $name, ".toml")),
        }
    };
}

const APPEND: Topic =
    topic!("append", "no record is lost, in one guest or in two, however a file is opened to append");
const ATTRIBUTES: Topic = topic!("attributes", "modes, times and sizes are those that programs set");
const COPY: Topic = topic!("copy", "cp, tar, rsync, split and gzip copy every byte, hole and time");
const DD: Topic = topic!("dd", "dd with each of its flags writes those bytes and no others");
const EDIT: Topic = topic!("edit", "what editors, sed -i, patch and sort -o save is there whole");
const GUESTS: Topic =
    topic!("guests", "what one guest wrote, cut or replaced the other reads, and back again");
const LOGS: Topic =
    topic!("logs", "logs that are followed, rotated and cut under their writers lose and repeat nothing");
const NAMES: Topic = topic!("names", "names come, move and go, also of files that are open");
const PROGRAMS: Topic =
    topic!("programs", "sqlite3, flock, mappings and parallel writers find their bytes again");
const READ: Topic =
    topic!("read", "readers see all bytes of files, of holes and of files that grow under them");
const REDIRECT: Topic =
    topic!("redirect", "redirections and descriptors of the shell write where they point");
const TRUNCATE: Topic = topic!("truncate", "a file ends where it was cut, and no cut byte comes back");

const TOPICS: [&Topic; 12] =
    [&REDIRECT, &TRUNCATE, &APPEND, &LOGS, &EDIT, &DD, &COPY, &ATTRIBUTES, &NAMES, &READ, &PROGRAMS, &GUESTS];

const fn row(topic: &Topic, play: fn(&mut Stage) -> Result<()>) -> Scenario {
    Scenario { group: "shell", name: topic.name, proves: topic.proves, needs: Needs::Mount, play }
}

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    row(&REDIRECT, |stage| play(stage, &REDIRECT)),
    row(&TRUNCATE, |stage| play(stage, &TRUNCATE)),
    row(&APPEND, |stage| play(stage, &APPEND)),
    row(&LOGS, |stage| play(stage, &LOGS)),
    row(&EDIT, |stage| play(stage, &EDIT)),
    row(&DD, |stage| play(stage, &DD)),
    row(&COPY, |stage| play(stage, &COPY)),
    row(&ATTRIBUTES, |stage| play(stage, &ATTRIBUTES)),
    row(&NAMES, |stage| play(stage, &NAMES)),
    row(&READ, |stage| play(stage, &READ)),
    row(&PROGRAMS, |stage| play(stage, &PROGRAMS)),
    row(&GUESTS, |stage| play(stage, &GUESTS)),
];

/// The names of a scenario's lines; none for a scenario of another group.
pub(super) fn line_names(scenario: &Scenario) -> Vec<String> {
    let topic = TOPICS.iter().find(|topic| scenario.group == "shell" && topic.name == scenario.name);
    topic.map_or_else(Vec::new, |topic| {
        line::parse(topic.table).unwrap_or_default().into_iter().map(|line| line.name).collect()
    })
}

fn play(stage: &mut Stage, topic: &Topic) -> Result<()> {
    let whole = stage.only.is_empty() || stage.only.iter().any(|part| topic.name.contains(part.as_str()));
    let wanted = |line: &Line| whole || stage.only.iter().any(|part| line.name.contains(part.as_str()));
    let lines: Vec<Line> = line::parse(topic.table)?.into_iter().filter(wanted).collect();
    stage.mount_reference().context("knfsd, the reference")?;
    let player = Player::prepare(stage, topic.name)?;
    let (mut failed, mut longest) = (Vec::new(), (Duration::ZERO, Duration::ZERO, ""));
    for (number, line) in lines.iter().enumerate() {
        player.write_scripts(line)?;
        let (tested, reference) = std::thread::scope(|scope| {
            let reference = scope.spawn(|| timed(&player, line, Mounted::Reference));
            (timed(&player, line, Mounted::Tested), reference.join())
        });
        let reference = reference.map_err(|_| anyhow!("the reference's play panicked"))?;
        let ((tested, took), (reference, knfsd)) = (tested?, reference?);
        longest = longest.max((took, knfsd, line.name.as_str()));
        let faults = verdict::compare(line, &tested, &reference);
        if !faults.is_empty() {
            println!("  {} {}: {}", stage.a.kernel.name, line.name, faults.join("\n      "));
            for difference in player.differing_bytes(line) {
                println!("      {difference}");
            }
            failed.push(line.name.as_str());
        }
        if tested.is_stuck() || reference.is_stuck() {
            bail!("{} is stuck; {} lines after it were not played", line.name, lines.len() - number - 1);
        }
    }
    player.clear();
    let (took, knfsd) = (longest.0.as_secs_f32(), longest.1.as_secs_f32());
    let (agree, name) = (lines.len() - failed.len(), longest.2);
    println!(
        "  {agree} of {} lines agree; {name} took longest, {took:.1} s (knfsd {knfsd:.1} s)",
        lines.len()
    );
    if !failed.is_empty() {
        bail!("{} of {} lines: {}", failed.len(), lines.len(), failed.join(" "));
    }
    Ok(())
}

fn timed(player: &Player<'_>, line: &Line, mounted: Mounted) -> Result<(Outcome, Duration)> {
    let started = Instant::now();
    let outcome = player.play(line, mounted)?;
    Ok((outcome, started.elapsed()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_tables_parse_and_hold_a_hundred_names() {
        let lines: Vec<Line> = TOPICS.iter().flat_map(|topic| line::parse(topic.table).unwrap()).collect();
        let names: BTreeSet<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names.len(), lines.len(), "two lines have one name");
        assert!(100 <= lines.len(), "{} lines", lines.len());
    }

    #[test]
    fn each_topic_is_played_once() {
        let played: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(played, TOPICS.map(|topic| topic.name));
        assert!(SCENARIOS.iter().all(|scenario| !line_names(scenario).is_empty()));
    }

    #[test]
    fn other_groups_have_no_lines() {
        assert!(super::super::programs::SCENARIOS.iter().all(|scenario| line_names(scenario).is_empty()));
    }
}
