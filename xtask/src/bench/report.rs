//! What the contest found: figures by server and phase, their medians, the table.

use comfy_table::Table;
use comfy_table::presets;
use serde::{Deserialize, Serialize};

use super::round_trips::RoundTrips;
use super::spent::Spent;

/// One measurement.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Figure {
    pub(super) value: f64,
    /// Processor seconds of all the server's processes meanwhile.
    pub(super) server_cpu_s: f64,
    /// Flushes of the whole disk meanwhile.
    pub(super) disk_flushes: Option<u64>,
    /// Those of its data servers by their own count, where they tell.
    #[serde(default)]
    pub(super) own_flushes: Option<u64>,
    /// What reached the disk of it, and of other processes that write there.
    #[serde(default)]
    pub(super) disk_mib: Option<f64>,
    /// Largest resident memory of a server process so far.
    pub(super) server_peak_mib: Option<u64>,
    /// What the server's own clocks say, where it has any.
    #[serde(default)]
    pub(super) spent: Vec<Spent>,
    /// The same as the client saw it, on the way included.
    #[serde(default)]
    pub(super) round_trips: Vec<RoundTrips>,
}

/// All figures of one server in one phase, a round each.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Series {
    pub(super) server: String,
    pub(super) phase: String,
    pub(super) unit: String,
    pub(super) rounds: Vec<Figure>,
}

/// Everything, as it is written to JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Report {
    /// How to read it.
    pub(super) about: String,
    pub(super) client_kernel: String,
    pub(super) processors: usize,
    pub(super) rounds: usize,
    pub(super) large_file_mib: u64,
    pub(super) small_files: u64,
    pub(super) series: Vec<Series>,
}

const ABOUT: &str = "One client guest (user-mode Linux), all servers on the same machine and disk, in interleaved \
     rounds. Flushes are counted on the whole disk: they say what each server's answers were worth. knfsd serves from a \
     guest of its own over ext4 on a file: it pays for that guest's emulated processor, but flushes of its emulated disk \
     end in this machine's page cache, so none of its answers is durable.";

impl Report {
    pub(super) fn new(client_kernel: String, rounds: usize, large_file_mib: u64, small_files: u64) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let about = ABOUT.to_owned();
        Self { about, client_kernel, processors, rounds, large_file_mib, small_files, series: Vec::new() }
    }

    pub(super) fn add(&mut self, server: &str, phase: &str, unit: &str, figure: Figure) {
        let own = |series: &&mut Series| series.server == server && series.phase == phase;
        if let Some(series) = self.series.iter_mut().find(own) {
            series.rounds.push(figure);
            return;
        }
        let text = str::to_owned;
        let series =
            Series { server: text(server), phase: text(phase), unit: text(unit), rounds: vec![figure] };
        self.series.push(series);
    }

    /// In the order they first appear.
    pub(super) fn phases(&self) -> Vec<&Series> {
        let mut seen: Vec<&Series> = Vec::new();
        for series in &self.series {
            if seen.iter().all(|other| other.phase != series.phase) {
                seen.push(series);
            }
        }
        seen
    }

    /// Sorted by name, ours first.
    pub(super) fn servers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.series.iter().map(|series| series.server.as_str()).collect();
        names.sort_by_key(|name| (!is_ours(name), *name));
        names.dedup();
        names
    }

    pub(super) fn find(&self, server: &str, phase: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.server == server && series.phase == phase)
    }

    /// Medians, processor seconds and flushes, and how each of ours compares with each rival.
    pub(super) fn table(&self) -> String {
        let servers = self.servers();
        let mut header = vec!["phase".to_owned()];
        header.extend(servers.iter().map(|name| (*name).to_owned()));
        header.extend(servers.iter().map(|name| format!("CPU s {name}")));
        header.extend(servers.iter().map(|name| format!("flushes {name}")));
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header);
        for phase in self.phases() {
            let medians: Vec<Option<Figure>> =
                servers.iter().map(|server| self.find(server, &phase.phase).map(Series::median)).collect();
            let mut row = vec![format!("{} ({})", phase.phase, phase.unit)];
            let mut cells = |told: &dyn Fn(&Figure) -> Option<String>| {
                row.extend(medians.iter().map(|median| or_dash(median.as_ref().and_then(told))));
            };
            cells(&|median| Some(format!("{:.0}", median.value)));
            cells(&|median| Some(format!("{:.2}", median.server_cpu_s)));
            cells(&|median| median.disk_flushes.map(|flushes| flushes.to_string()));
            table.add_row(row);
        }
        let ratios = self.ratios(&servers);
        let rounds = format!("medians of {}, client kernel {}", self.rounds, self.client_kernel);
        format!(
            "{table}\n\n{ratios}\n\n{rounds}; the large file has {} MiB\n{}",
            self.large_file_mib, self.about
        )
    }

    fn ratios(&self, servers: &[&str]) -> Table {
        let (ours, rivals): (Vec<&str>, Vec<&str>) = servers.iter().copied().partition(|name| is_ours(name));
        let pairs: Vec<(&str, &str)> =
            ours.iter().flat_map(|one| rivals.iter().map(move |rival| (*one, *rival))).collect();
        let mut table = Table::new();
        let named = pairs.iter().map(|(one, rival)| format!("{one} / {rival}"));
        table.load_style(presets::NOTHING).set_header(std::iter::once("ratio".to_owned()).chain(named));
        for phase in self.phases() {
            let of = |server: &str| Some(self.find(server, &phase.phase)?.median().value);
            let ratio = |(one, rival): &(&str, &str)| Some(format!("{:.2}", of(one)? / of(rival)?));
            let cells = pairs.iter().map(|pair| or_dash(ratio(pair)));
            table.add_row(std::iter::once(phase.phase.clone()).chain(cells));
        }
        table
    }
}

fn is_ours(server: &str) -> bool {
    server.starts_with("shoal")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

impl Series {
    /// The median of each figure by itself.
    pub(super) fn median(&self) -> Figure {
        let of = |pick: fn(&Figure) -> f64| middle(self.rounds.iter().map(pick).collect());
        let count = |pick: fn(&Figure) -> Option<u64>| {
            let mut counts: Vec<u64> = self.rounds.iter().filter_map(pick).collect();
            counts.sort_unstable();
            counts.get(counts.len() / 2).copied()
        };
        let disk_flushes = count(|figure| figure.disk_flushes);
        let own_flushes = count(|figure| figure.own_flushes);
        let written = self.rounds.iter().filter_map(|figure| figure.disk_mib).collect();
        let disk_mib = Some(middle(written)).filter(|mib| mib.is_finite());
        let server_peak_mib = self.rounds.iter().filter_map(|figure| figure.server_peak_mib).max();
        let server_cpu_s = of(|figure| figure.server_cpu_s);
        let value = of(|figure| figure.value);
        Figure {
            value,
            server_cpu_s,
            disk_flushes,
            own_flushes,
            disk_mib,
            server_peak_mib,
            spent: Vec::new(),
            round_trips: Vec::new(),
        }
    }
}

/// The median; not a number of nothing.
pub(super) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Report};

    #[test]
    fn medians_and_ratios() {
        let mut report = Report::new("k".to_owned(), 3, 1, 1);
        for (server, values) in [("knfsd", [1.0, 9.0, 2.0]), ("shoal", [4.0, 3.0, 5.0])] {
            for value in values {
                report.add(
                    server,
                    "p",
                    "1/s",
                    Figure {
                        value,
                        server_cpu_s: 1.0,
                        disk_flushes: None,
                        own_flushes: None,
                        disk_mib: None,
                        server_peak_mib: None,
                        spent: Vec::new(),
                        round_trips: Vec::new(),
                    },
                );
            }
        }
        assert_eq!(report.servers(), ["shoal", "knfsd"]);
        assert_eq!(report.find("knfsd", "p").unwrap().median().value, 2.0);
        assert!(report.table().contains("2.00"));
    }
}
