//! What came out, as medians over the rounds and as ratios.

use comfy_table::{Table, presets};
use serde::Serialize;

use super::flush::Flush;
use crate::bench::load::Measured;

/// One contender in one round.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) create: Measured,
    pub(super) stat: Measured,
    /// User and system time of all its processes.
    pub(super) server_cpu_us_per_create: f64,
    pub(super) server_cpu_us_per_stat: f64,
    /// Of the whole disk.
    pub(super) disk_flushes_per_create: Option<f64>,
    /// Of all nodes' logs; ours only.
    pub(super) log_flushes_per_create: Option<f64>,
}

impl Figures {
    pub(super) fn line(&self) -> String {
        let flushes = self.disk_flushes_per_create.map_or_else(String::new, |count| format!(" {count:.2}"));
        format!(
            "create {:6.0}/s p50 {:6} p99 {:6} us, stat {:6.0}/s p50 {:5} us, CPU {:4.0} and {:4.0} us each, flushes{flushes}",
            self.create.per_second,
            self.create.p50_us,
            self.create.p99_us,
            self.stat.per_second,
            self.stat.p50_us,
            self.server_cpu_us_per_create,
            self.server_cpu_us_per_stat,
        )
    }
}

#[derive(Clone, Debug, Serialize)]
struct Contender {
    label: String,
    rounds: Vec<Figures>,
}

impl Contender {
    fn median(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    match all.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => all[len / 2],
        len => (all[len / 2 - 1] + all[len / 2]) / 2.0,
    }
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    rounds: usize,
    seconds: u64,
    sessions: usize,
    directories: u64,
    processors: usize,
    pub(super) flushes: Vec<Flush>,
    contenders: Vec<Contender>,
}

impl Report {
    pub(super) fn new(rounds: usize, seconds: u64, sessions: usize, directories: u64) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            rounds,
            seconds,
            sessions,
            directories,
            processors,
            flushes: Vec::new(),
            contenders: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, label: String, figures: Figures) {
        match self.contenders.iter_mut().find(|known| known.label == label) {
            Some(known) => known.rounds.push(figures),
            None => self.contenders.push(Contender { label, rounds: vec![figures] }),
        }
    }

    /// Medians, and each contender's rates by every rival's and by the first contender's.
    pub(super) fn tables(&self) -> String {
        let mut all: Vec<&Contender> = self.contenders.iter().collect();
        all.sort_by_key(|one| !one.label.contains("shoal"));
        let mut figures = Table::new();
        figures.load_style(presets::NOTHING).set_header([
            "medians",
            "create 1/s",
            "p50 us",
            "p99 us",
            "stat 1/s",
            "p50 us",
            "p99 us",
            "CPU us/create",
            "CPU us/stat",
            "disk flushes/create",
            "log flushes/create",
        ]);
        for one in &all {
            let whole = |figure: fn(&Figures) -> f64| format!("{:.0}", one.median(figure));
            let part = |figure: fn(&Figures) -> Option<f64>| {
                let value = one.median(|all| figure(all).unwrap_or(f64::NAN));
                if value.is_nan() { String::new() } else { format!("{value:.3}") }
            };
            figures.add_row([
                one.label.clone(),
                whole(|all| all.create.per_second),
                whole(|all| all.create.p50_us as f64),
                whole(|all| all.create.p99_us as f64),
                whole(|all| all.stat.per_second),
                whole(|all| all.stat.p50_us as f64),
                whole(|all| all.stat.p99_us as f64),
                whole(|all| all.server_cpu_us_per_create),
                whole(|all| all.server_cpu_us_per_stat),
                part(|all| all.disk_flushes_per_create),
                part(|all| all.log_flushes_per_create),
            ]);
        }
        let flush =
            |figure: fn(&Flush) -> u64| median(self.flushes.iter().map(|one| figure(one) as f64).collect());
        let (p50, p99) = (flush(|one| one.p50_us), flush(|one| one.p99_us));
        format!(
            "{figures}\n\nthe disk alone, 4 KiB written and flushed: p50 {p50:.0} us, p99 {p99:.0} us\n\n{}",
            self.ratios(&all)
        )
    }

    fn ratios(&self, all: &[&Contender]) -> Table {
        let mut table = Table::new();
        let base = |one: &&&Contender| !one.label.contains("shoal") || one.label == "1 x shoal mds, 1 shards";
        let bases: Vec<&Contender> = all.iter().filter(base).copied().collect();
        let mut header = vec!["create, stat as a ratio to".to_owned()];
        header.extend(bases.iter().map(|base| base.label.clone()));
        table.load_style(presets::NOTHING).set_header(header);
        for one in all.iter().filter(|one| one.label.contains("shoal")) {
            let mut row = vec![one.label.clone()];
            row.extend(bases.iter().map(|base| {
                let ratio = |figure: fn(&Figures) -> f64| one.median(figure) / base.median(figure);
                let (create, stat) = (ratio(|all| all.create.per_second), ratio(|all| all.stat.per_second));
                format!("{create:.2}, {stat:.2}")
            }));
            table.add_row(row);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
