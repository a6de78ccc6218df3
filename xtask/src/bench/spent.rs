//! Where a phase's time went: what the server's own clocks say of each operation, so that the rest
//! is the client's and the way between them.

use serde::{Deserialize, Serialize};

use crate::lab::bench_parts::Metrics;

const SECONDS: &str = "shoal_nfs_request_seconds_sum";
const COUNT: &str = "shoal_nfs_request_seconds_count";

/// One operation during one phase.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Spent {
    /// `mds` or `ds`, and the operation.
    pub(super) op: String,
    pub(super) count: u64,
    /// From the decoded request to the answer, flushes included, summed over all of them.
    pub(super) seconds: f64,
}

/// Operations between two readings, the longest first; without those that took less than a
/// hundredth of the longest.
pub(super) fn between(before: &Metrics, after: &Metrics) -> Vec<Spent> {
    let earlier = sums(before);
    let mut spent = sums(after);
    for op in &mut spent {
        if let Some(then) = earlier.iter().find(|then| then.op == op.op) {
            op.count = op.count.saturating_sub(then.count);
            op.seconds -= then.seconds;
        }
    }
    spent.retain(|op| 0 < op.count);
    spent.sort_by(|a: &Spent, b| b.seconds.total_cmp(&a.seconds));
    let least = spent.first().map_or(0.0, |longest| longest.seconds / 100.0);
    spent.retain(|op| least <= op.seconds);
    spent
}

/// Several data servers have the same operations; as processes of their own, under the same labels.
fn sums(metrics: &Metrics) -> Vec<Spent> {
    let mut sums: Vec<Spent> = Vec::new();
    let counts = metrics.series(COUNT).map(|(labels, count)| (operation(labels), count as u64, 0.0));
    let times = metrics.series(SECONDS).map(|(labels, seconds)| (operation(labels), 0, seconds));
    for (op, count, seconds) in counts.chain(times) {
        match sums.iter_mut().find(|known| known.op == op) {
            Some(known) => {
                known.count += count;
                known.seconds += seconds;
            }
            None => sums.push(Spent { op, count, seconds }),
        }
    }
    sums
}

fn operation(labels: &str) -> String {
    let label = |key: &str| {
        let from = labels.find(&format!("{key}=\""))? + key.len() + 2;
        labels[from..].split('"').next()
    };
    format!("{} {}", label("role").unwrap_or("?"), label("op").unwrap_or("?"))
}

/// One line for a reader.
pub(super) fn line(spent: &[Spent]) -> String {
    let op = |op: &Spent| {
        let mean_us = op.seconds * 1e6 / op.count as f64;
        format!("{} {} x {mean_us:.0} us", op.op, op.count)
    };
    spent.iter().map(op).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_by_operation() {
        let text = |count: u32, seconds: f64| {
            format!(
                "{COUNT}{{role=\"mds\",op=\"OPEN\"}} {count}\n{SECONDS}{{role=\"mds\",op=\"OPEN\"}} {seconds}\n\
                 {COUNT}{{server=\"1\",role=\"ds\",op=\"WRITE\"}} 2\n{SECONDS}{{server=\"1\",role=\"ds\",op=\"WRITE\"}} 8\n\
                 {COUNT}{{server=\"2\",role=\"ds\",op=\"WRITE\"}} {count}\n{SECONDS}{{server=\"2\",role=\"ds\",op=\"WRITE\"}} 4\n"
            )
        };
        let (before, after) = (Metrics::parse(&text(3, 1.0)), Metrics::parse(&text(7, 3.0)));
        let spent = between(&before, &after);
        assert_eq!(spent[0], Spent { op: "mds OPEN".to_owned(), count: 4, seconds: 2.0 });
        assert_eq!(line(&spent), "mds OPEN 4 x 500000 us");
        let all = between(&Metrics::default(), &after);
        assert_eq!(all[0], Spent { op: "ds WRITE".to_owned(), count: 9, seconds: 12.0 });
        let same = |count: u32| {
            let one = format!("{COUNT}{{role=\"ds\"}} {count}\n{SECONDS}{{role=\"ds\"}} {count}\n");
            Metrics::parse(&one.repeat(2))
        };
        assert_eq!(between(&same(2), &same(5)), [Spent { op: "ds ?".to_owned(), count: 6, seconds: 6.0 }]);
    }
}
