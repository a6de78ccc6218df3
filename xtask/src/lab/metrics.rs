//! Prometheus text, as far as the lab asks it questions: sums of a counter over the labels that
//! match.

/// One reading of a server's counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    samples: Vec<(String, f64)>,
}

impl Metrics {
    /// Reads the text format; lines it does not understand are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.trim().to_owned(), value.parse().ok()?))
        };
        Self { samples: text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect() }
    }

    /// The series of a name: what stands between their braces, and their values.
    pub(crate) fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.samples.iter().filter_map(move |(series, value)| {
            let (own, labels) = series.split_once('{')?;
            (own == name).then_some((labels.trim_end_matches('}'), *value))
        })
    }

    /// The sum of a counter over all series that hold every one of `labels` (each as
    /// `key="value"`).
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = |series: &str| {
            let own = series.split('{').next().unwrap_or_default();
            own == name && labels.iter().all(|label| series.contains(label))
        };
        self.samples.iter().filter(|(series, _)| of_name(series)).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn sums_over_the_labels_that_match() {
        let text = "# TYPE b counter\nb_total{role=\"mds\",direction=\"read\"} 5\nb_total{role=\"ds\"} 7\nbb_total 9\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("b_total", &["role=\"mds\""]), 5.0);
        assert_eq!(metrics.sum("b_total", &[]), 12.0);
    }
}
