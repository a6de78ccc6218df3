//! A series of seeds: some at a time, for hours; what is said meanwhile, and what came of it.
//!
//! INVARIANT: a seed that does not hold is said at once, with the command that repeats it, and ends
//! nothing.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Outcome};

/// Between two words on how far it is: the first comes sooner.
const WORD_SECONDS: u64 = 60;
const FIRST_WORD_SECONDS: u64 = 10;
/// Seeds that did not hold and are named at the end.
const NAMED_MAX: usize = 100;

/// What was played, and what it printed.
pub(super) struct Played {
    pub(super) outcome: Outcome,
    pub(super) text: String,
}

/// How far a series is.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// Seeds that held in this series, not those of earlier ones.
    pub(super) held: u64,
    pub(super) broken: u64,
    /// Some of those that did not hold: the first.
    pub(super) named: Vec<u64>,
    pub(super) acts: u64,
    pub(super) undecided: u64,
    pub(super) simulated_s: u64,
    /// What the ledger could not take down.
    pub(super) ledger_error: Option<String>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.acts += outcome.acts;
        self.undecided += outcome.undecided;
        self.simulated_s += outcome.simulated_s;
        if outcome.held {
            self.held += 1;
            return;
        }
        self.broken += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(seed);
        }
    }

    /// A line on how far it is after `seconds`, with `left` seeds to go.
    pub(super) fn word(&self, seconds: f64, left: u64, jobs: usize) -> String {
        let done = self.held + self.broken;
        let rate = self.simulated_s as f64 / 60.0 / seconds.max(0.001);
        let to_go = match done {
            0 => "no seed has ended yet".to_owned(),
            _ => format!("{} to go", duration(seconds / done as f64 * left as f64)),
        };
        format!(
            "{done} seeds in {}: {} held, {} did not; {rate:.2} simulated minutes a second ({:.2} a job); {left} seeds left, {to_go}",
            duration(seconds),
            self.held,
            self.broken,
            rate / jobs.max(1) as f64,
        )
    }
}

/// Hours and minutes, or less.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

struct State<'a> {
    next: u64,
    /// Seeds that are not done.
    left: u64,
    running: usize,
    sum: Sum,
    ledger: Option<&'a mut Ledger>,
}

/// Plays all seeds of a range but those to pass over, `jobs` at a time, and says on `say` what
/// there is to say.
pub(super) fn play_seeds(
    seeds: Range<u64>,
    pass_over: &BTreeSet<u64>,
    jobs: usize,
    ledger: Option<&mut Ledger>,
    play: impl Fn(u64) -> Played + Sync,
    say: impl Fn(&str) + Sync,
) -> Sum {
    let left = (seeds.end - seeds.start) - pass_over.range(seeds.clone()).count() as u64;
    let state =
        Mutex::new(State { next: seeds.start, left, running: jobs.max(1), sum: Sum::default(), ledger });
    let (ended, started) = (Condvar::new(), Instant::now());
    let next = || {
        let mut state = lock(&state);
        while state.next < seeds.end && pass_over.contains(&state.next) {
            state.next += 1;
        }
        let seed = state.next;
        state.next += 1;
        (seed < seeds.end).then_some(seed)
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                let _leaves = Leaves { state: &state, ended: &ended };
                while let Some(seed) = next() {
                    let played = play(seed);
                    if !played.outcome.held {
                        say(&played.text);
                    }
                    note(&mut lock(&state), seed, &played.outcome);
                }
            });
        }
        let mut until = started + Duration::from_secs(FIRST_WORD_SECONDS);
        let mut guard = lock(&state);
        while 0 < guard.running {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                say(&guard.sum.word(started.elapsed().as_secs_f64(), guard.left, jobs));
                until = Instant::now() + Duration::from_secs(WORD_SECONDS);
                continue;
            }
            guard = ended.wait_timeout(guard, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    });
    state.into_inner().unwrap_or_else(PoisonError::into_inner).sum
}

/// Says that a job is over, however it ends.
struct Leaves<'a, 'b> {
    state: &'a Mutex<State<'b>>,
    ended: &'a Condvar,
}

impl Drop for Leaves<'_, '_> {
    fn drop(&mut self) {
        lock(self.state).running -= 1;
        self.ended.notify_all();
    }
}

fn lock<'a, 'b>(state: &'a Mutex<State<'b>>) -> MutexGuard<'a, State<'b>> {
    // Counters: a thread that panicked has left them whole.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(state: &mut State<'_>, seed: u64, outcome: &Outcome) {
    state.left -= 1;
    state.sum.add(seed, outcome);
    if let Some(ledger) = &mut state.ledger
        && let Err(error) = ledger.add(seed, outcome)
    {
        // The series goes on: what it finds is worth more than the file.
        state.sum.ledger_error.get_or_insert_with(|| format!("seed {seed}: {error:#}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(seed: u64, held: bool) -> Played {
        let outcome = Outcome { held, simulated_s: 60, acts: seed, undecided: 0, digest: String::new() };
        Played { outcome, text: format!("seed {seed} is said") }
    }

    #[test]
    fn a_seed_that_breaks_is_said_and_the_others_run() {
        let (ran, said) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
        let play = |seed| {
            assert!(ran.lock().unwrap().insert(seed), "{seed} runs once");
            played(seed, seed != 4)
        };
        let say = |text: &str| said.lock().unwrap().push(text.to_owned());
        let sum = play_seeds(1..9, &BTreeSet::from([2, 7, 30]), 3, None, play, say);
        assert_eq!(ran.into_inner().unwrap(), BTreeSet::from([1, 3, 4, 5, 6, 8]));
        assert_eq!((sum.held, sum.broken, sum.named.as_slice()), (5, 1, [4].as_slice()));
        assert_eq!((sum.acts, sum.simulated_s), (27, 360));
        assert_eq!(said.into_inner().unwrap(), ["seed 4 is said"]);
    }

    #[test]
    fn seeds_that_break_are_counted_but_not_all_named() {
        let sum = play_seeds(0..500, &BTreeSet::new(), 2, None, |seed| played(seed, false), |_| {});
        assert_eq!((sum.broken, sum.named.len()), (500, NAMED_MAX));
    }

    #[test]
    fn rate_and_time_left_follow_from_what_was_done() {
        let sum = Sum { held: 9, broken: 1, simulated_s: 3_600, ..Sum::default() };
        let word = sum.word(120.0, 90, 2);
        assert!(word.contains("0.50 simulated minutes a second (0.25 a job)"), "{word}");
        assert!(word.contains("90 seeds left, 18 min 0 s to go"), "{word}");
        assert!(Sum::default().word(10.0, 5, 1).contains("no seed has ended yet"));
        assert_eq!(duration(3_725.4), "1 h 2 min");
        assert_eq!(duration(59.4), "59 s");
    }
}
