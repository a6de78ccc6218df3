//! Makes one metrics page of several servers in one process: each family once, with the samples of
//! all.
//!
//! Servers register the same families under different labels; the encoder prints a family for each
//! of them, which Prometheus would refuse.
//!
//! Spec: OpenMetrics 1.0, "MetricFamily": all lines of a family stand together, its metadata once.

use std::collections::HashMap;

const END: &str = "# EOF\n";

#[derive(Default)]
struct Family<'a> {
    metadata: Vec<&'a str>,
    samples: Vec<&'a str>,
}

/// Joins families of the same name, in the order in which they first came.
pub(super) fn join_families(page: &str) -> String {
    let mut families: Vec<Family<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut current = None;
    for line in page.lines().filter(|line| *line != END.trim_end()) {
        let Some(name) = metadata_name(line) else {
            if let Some(family) = current.and_then(|at: usize| families.get_mut(at)) {
                family.samples.push(line);
            }
            continue;
        };
        let at = *places.entry(name).or_insert_with(|| {
            families.push(Family::default());
            families.len() - 1
        });
        if !families[at].metadata.contains(&line) {
            families[at].metadata.push(line);
        }
        current = Some(at);
    }
    let mut out = String::with_capacity(page.len());
    for line in families.iter().flat_map(|family| family.metadata.iter().chain(&family.samples)) {
        out.push_str(line);
        out.push('\n');
    }
    out + END
}

/// The family that a line of metadata is about.
fn metadata_name(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("# ")?.split(' ');
    matches!(words.next()?, "HELP" | "TYPE" | "UNIT").then(|| words.next())?
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_family_of_two_servers_appears_once() {
        let mut registry = Registry::default();
        for number in ["1", "2"] {
            let counter: Counter = Counter::default();
            counter.inc();
            let labels = vec![("ds".into(), number.into())];
            registry.sub_registry_with_labels(labels.into_iter()).register("a", "Help", counter);
            registry.register(format!("b{number}"), "Other", Counter::<u64>::default());
        }
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        assert_eq!(page.matches("# TYPE a counter\n").count(), 2, "{page}");
        let joined = join_families(&page);
        assert_eq!(joined.matches("# TYPE a counter\n").count(), 1, "{joined}");
        assert_eq!(joined.matches("# HELP a Help").count(), 1);
        assert!(joined.contains("a_total{ds=\"1\"} 1\na_total{ds=\"2\"} 1\n"), "{joined}");
        assert!(joined.contains("b1_total 0\n") && joined.ends_with("\n# EOF\n"));
        assert_eq!(join_families(&joined), joined);
    }
}
