//! One seed in a process of its own, and what it says of itself.
//!
//! INVARIANT: a run that says nothing, says too much or does not end is one that did not hold, and
//! holds nothing up.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::ledger::Outcome;
use super::series::Played;
use crate::process;

/// What is kept of what a run prints: as much of its beginning, and of its end.
const KEPT_BYTES: usize = 32 << 10;
/// Lines shown of what a run that failed said on its error output.
const SHOWN_LINES: usize = 20;
const READ_BYTES: usize = 16 << 10;

/// Runs one seed; `again` is the command that repeats it.
pub(super) fn play(command: &mut Command, seed: u64, time_max: Duration, again: &str) -> Played {
    let text = match printed(command, time_max) {
        Ok(text) => text,
        Err(error) => format!("seed {seed}: {error}"),
    };
    let outcome = outcome_of(&text);
    let is_told = outcome.held || text.contains("again: ");
    let text = if is_told { text } else { format!("{}\n  again: {again}", text.trim_end()) };
    Played { outcome, text }
}

fn printed(command: &mut Command, time_max: Duration) -> Result<String, String> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| error.to_string())?;
    let (from_out, from_err) = (child.stdout.take(), child.stderr.take());
    let (end, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        let also = end.clone();
        let out = scope.spawn(move || (kept(from_out), drop(end)).0);
        let err = scope.spawn(move || (kept(from_err), drop(also)).0);
        // Nothing is sent: both ends are dropped when both outputs have ended.
        let is_late = ended.recv_timeout(time_max) == Err::<(), _>(mpsc::RecvTimeoutError::Timeout);
        let late = if is_late {
            // It is a child of ours and there is nothing it could leave behind.
            drop(child.kill());
            format!("no end after {} s\n", time_max.as_secs())
        } else {
            String::new()
        };
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        let is_good = succeeded(&mut child)? && !is_late;
        Ok(if is_good { out } else { format!("{late}{out}{}", process::last_lines(&err, SHOWN_LINES)) })
    })
}

fn succeeded(child: &mut Child) -> Result<bool, String> {
    child.wait().map(|status| status.success()).map_err(|error| error.to_string())
}

/// Reads to the end, and keeps the beginning and the end of what is long.
fn kept(from: Option<impl Read>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let room = (KEPT_BYTES - first.len()).min(count);
        first.extend_from_slice(&buffer[..room]);
        last.extend_from_slice(&buffer[room..count]);
        if 2 * KEPT_BYTES < last.len() {
            last.drain(..last.len() - KEPT_BYTES);
        }
    }
    first.extend_from_slice(&last);
    String::from_utf8_lossy(&first).into_owned()
}

/// What the line of a run says.
fn outcome_of(text: &str) -> Outcome {
    let line = text.lines().find(|line| line.starts_with("seed ")).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let behind = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    };
    let number = |name: &str| behind(name).and_then(|word| word.parse().ok()).unwrap_or(0);
    Outcome {
        held: words.get(2) == Some(&"held"),
        simulated_s: number("simulated_s"),
        acts: number("acts"),
        undecided: number("undecided"),
        digest: behind("digest").unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play_script(script: &str, time_max: Duration) -> Played {
        play(Command::new("sh").args(["-c", script]), 7, time_max, "that command")
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_that_holds_is_read() {
        let line = "seed 7: held simulated_s 351 events 9 acts 40 undecided 2 digest 00ff";
        let outcome = play_script(&format!("echo '{line}'"), LONG).outcome;
        let digest = "00ff".to_owned();
        assert_eq!(outcome, Outcome { held: true, simulated_s: 351, acts: 40, undecided: 2, digest });
    }

    /// Far more than a pipe holds, on both outputs.
    #[test]
    fn one_that_prints_much_ends_and_its_end_is_kept() {
        let script = "echo begin; i=0; while [ $i -lt 20000 ]; do echo line $i of many; echo error $i >&2; i=$((i+1)); done; exit 1";
        let Played { outcome, text } = play_script(script, LONG);
        assert!(!outcome.held);
        assert!(text.starts_with("begin\n"), "{text}");
        assert!(text.contains("line 19999 of many") && text.contains("error 19999"), "{text}");
        assert!(text.len() < 4 * KEPT_BYTES, "{}", text.len());
        assert!(text.ends_with("again: that command"), "{text}");
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let Played { outcome, text } = play_script("exec sleep 600", Duration::from_millis(50));
        assert!(!outcome.held);
        assert!(text.starts_with("no end after"), "{text}");
    }

    #[test]
    fn one_that_cannot_be_started_did_not_hold() {
        let played = play(&mut Command::new("/nowhere/at/all"), 7, LONG, "that command");
        assert!(!played.outcome.held);
        assert!(played.text.starts_with("seed 7: ") && played.text.contains("again: that command"));
    }

    #[test]
    fn the_simulators_own_word_on_how_to_repeat_is_left_alone() {
        let text = "seed 7: BROKEN simulated_s 1\n  again: its own words\n";
        let played = play_script(&format!("printf '{text}'; exit 1"), LONG);
        assert!(played.text.contains("its own words") && !played.text.contains("that command"));
    }
}
