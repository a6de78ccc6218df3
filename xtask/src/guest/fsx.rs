//! The file-system exerciser: random operations from a seed on one file after another, each
//! compared with a model.
//!
//! The operations follow from the seed alone, so a difference is found again by the seed it is
//! reported with. File N of a run with seed S has seed S + N. Two guests draw the same operations
//! and take turns.

mod difference;
mod history;
mod mapped;
mod model;
mod neighbours;
mod operation;
mod pattern;
mod subject;
mod turns;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use self::history::History;
use self::model::Model;
pub(crate) use self::model::Plant;
use self::neighbours::Street;
use self::operation::{Generator, Guests, Operation, Step, Weights};
use self::subject::Subject;
use self::turns::Turns;

/// How often the watch looks for an operation that does not end.
const WATCH: Duration = Duration::from_millis(500);

/// How two guests share the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Sharing {
    /// Both have it open, and each operation is under a lock of the whole file.
    Locks,
    /// One closes it before the other opens it.
    HandOver,
}

/// What to exercise, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fsx {
    /// The files are made here.
    dir: PathBuf,
    #[arg(long)]
    seed: u64,
    /// No file is begun after this, and one guest alone ends the file it has.
    #[arg(long)]
    seconds: u64,
    /// So many operations at most, the ending of the last file not counted.
    #[arg(long)]
    operations: Option<u64>,
    /// KIND=NUMBER: how often a kind of operation is drawn.
    #[arg(long, value_delimiter = ',')]
    weights: Vec<String>,
    /// Threads that open and close the file all the time.
    #[arg(long, default_value_t = 0)]
    neighbours: u64,
    /// fsync before each O_DIRECT operation: data servers die meanwhile.
    #[arg(long)]
    sync_before_direct: bool,
    /// Two guests: how they share the file.
    #[arg(long, value_enum, requires = "turn")]
    sharing: Option<Sharing>,
    #[command(flatten)]
    turn: Turn,
    /// Every operation of the current file, for a report.
    #[arg(long)]
    log: Option<PathBuf>,
    /// A lie of the model, to prove that it is found.
    #[arg(long, value_enum)]
    plant: Option<Plant>,
}

/// Where the other guest is.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "turn", multiple = false)]
struct Turn {
    /// This is guest 1, and waits for guest 0 here.
    #[arg(long, requires = "sharing")]
    listen: Option<SocketAddr>,
    /// This is guest 0, and guest 1 is there.
    #[arg(long, requires = "sharing")]
    connect: Option<SocketAddr>,
}

impl Fsx {
    /// Exercises until the time is over; prints how many operations on how many files.
    ///
    /// # Errors
    /// When the file system refuses an operation or differs from the model.
    pub(super) fn run(&self) -> Result<()> {
        let weights = Weights::parse(&self.weights)?;
        let (history, street) = (History::new(self.log.as_deref())?, Street::new(&self.dir));
        let (done, files) = std::thread::scope(|scope| {
            let neighbours: Vec<_> = (1..=self.neighbours)
                .map(|number| {
                    scope.spawn({
                        let street = &street;
                        move || street.live(number)
                    })
                })
                .collect();
            let watch = scope.spawn(|| watch(&history, &street));
            let ended = self.exercise(&weights, &history, &street);
            street.clear();
            let joined = neighbours.into_iter().chain([watch]);
            let joined: Vec<Result<()>> =
                joined.map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))).collect();
            ended.and_then(|counts| joined.into_iter().collect::<Result<()>>().map(|()| counts))
        })?;
        println!("{done} operations on {files} files");
        Ok(())
    }

    /// One file after another; how many operations this guest performed, and on how many files.
    fn exercise(&self, weights: &Weights, history: &History, street: &Street) -> Result<(u64, u64)> {
        let (began, mut turns) = (Instant::now(), self.turns()?);
        let (mut drawn, mut performed, mut files) = (0, 0, 0);
        loop {
            let left = self.operations.map_or(u64::MAX, |most| most.saturating_sub(drawn));
            let mut one = OneFile {
                seed: self.seed.wrapping_add(files),
                sharing: self.sharing,
                model: Model::new(self.seed.wrapping_add(files), self.plant),
                subject: Subject::new(
                    self.dir.join(format!("fsx-{}", self.seed.wrapping_add(files))),
                    self.sync_before_direct,
                ),
                history,
            };
            street.show(&self.dir.join(format!("fsx-{}", one.seed)));
            let mut generator = Generator::new(one.seed, weights, self.guests(), left);
            let in_time = || began.elapsed() < Duration::from_secs(self.seconds);
            performed += one.play(&mut generator, &mut turns, &in_time)?;
            (drawn, files) = (drawn + generator.drawn(), files + 1);
            let more = || in_time() && self.operations.is_none_or(|most| drawn < most);
            if !turns.agree(more)? {
                return Ok((performed, files));
            }
        }
    }

    fn guests(&self) -> Guests {
        match self.sharing {
            None => Guests::One,
            Some(Sharing::Locks) => Guests::MIXED,
            Some(Sharing::HandOver) => Guests::IN_TURNS,
        }
    }

    fn turns(&self) -> Result<Turns> {
        match (self.turn.listen, self.turn.connect) {
            (Some(address), _) => Turns::listen(address),
            (_, Some(address)) => Turns::connect(address),
            (None, None) => Ok(Turns::alone()),
        }
    }
}

/// A file from its creation to its removal.
struct OneFile<'a> {
    seed: u64,
    sharing: Option<Sharing>,
    model: Model,
    subject: Subject,
    history: &'a History,
}

impl OneFile<'_> {
    /// Performs what is this guest's; returns how many operations that were.
    fn play(
        &mut self,
        generator: &mut Generator,
        turns: &mut Turns,
        in_time: &dyn Fn() -> bool,
    ) -> Result<u64> {
        self.history.restart(&format!("seed {}", self.seed))?;
        let mut performed = 0;
        while let Some(step) = generator.next(self.model.size()) {
            let is_own = step.guest == turns.guest;
            let mut is_first = false;
            if is_own {
                is_first = turns.take()?;
                performed += 1;
            } else if turns.is_holding() {
                if self.sharing == Some(Sharing::HandOver) {
                    self.subject.close()?;
                }
                turns.give()?;
            }
            self.history.begin(&step, self.model.size(), is_own)?;
            if is_own {
                self.perform(&step, is_first)
                    .map_err(|error| self.explain(&step, generator.drawn(), &error))?;
                self.history.end();
            }
            self.model.apply(step.operation, step.number);
            // Two guests would have to agree on that.
            if self.sharing.is_none() && !in_time() {
                generator.end();
            }
        }
        // The other guest may have removed the file by now.
        let _ = self.subject.close();
        Ok(performed)
    }

    /// Performs an operation, the first of this guest's turn or another one.
    fn perform(&mut self, step: &Step, is_first: bool) -> Result<()> {
        match self.sharing {
            _ if matches!(step.operation, Operation::Create | Operation::Remove) => {
                self.subject.carry_out(step, &self.model)
            }
            None => self.subject.carry_out(step, &self.model),
            Some(Sharing::HandOver) => {
                self.subject.open()?;
                self.subject.carry_out(step, &self.model)
            }
            Some(Sharing::Locks) => {
                self.subject.lock()?;
                // QUIRK(linux): a truncation to the size that the client remembers is not sent, and
                // a lock only marks what is remembered as old. knfsd shows it, too: `fsx-locks`
                // found it there.
                let cuts = matches!(step.operation, Operation::Truncate(_) | Operation::TruncatePath(_));
                if is_first && cuts {
                    self.subject.learn_size()?;
                }
                self.subject.carry_out(step, &self.model)?;
                self.subject.unlock()
            }
        }
    }

    fn explain(&mut self, step: &Step, drawn: u64, error: &anyhow::Error) -> anyhow::Error {
        anyhow!(
            "seed {}, operation {}, {}: {error:#}\n{}the last operations:\n{}again: --seed {} --operations {drawn}",
            self.seed,
            step.number,
            step.operation,
            self.subject.describe(&self.model),
            self.history.report(),
            self.seed
        )
    }
}

/// Ends the program when an operation does not end.
fn watch(history: &History, street: &Street) -> Result<()> {
    while !street.is_clear() {
        std::thread::sleep(WATCH);
        if history.is_stuck() {
            println!("STUCK: the last operation does not end\n{}", history.report());
            std::process::exit(3);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
