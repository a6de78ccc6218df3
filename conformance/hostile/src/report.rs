//! What playing an attack came to: the figures, the verdict, and both as a line.

use serde::Serialize;

use crate::attack::{Attack, Evidence, Play};
use crate::meter::{Latency, STALLED_US};
use crate::process::Use;

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// Another suite plays it.
    Covered,
    /// It needs root, and this run has not.
    LeftOut,
}

/// What an attack came to.
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) line: u8,
    pub(crate) verdict: Verdict,
    pub(crate) latency: Latency,
    pub(crate) latency_is_judged: bool,
    pub(crate) operations: u64,
    pub(crate) wrong: Vec<String>,
    pub(crate) evidence: Evidence,
    pub(crate) used: Use,
    covered_by: String,
    faults: Vec<String>,
}

/// Tests, each by its name and behind its file.
pub(crate) fn named(tests: &[(&str, &str)]) -> String {
    let names: Vec<String> = tests.iter().map(|(file, test)| format!("{file} {test}")).collect();
    names.join(", ")
}

/// As `--json` prints it.
#[derive(Serialize)]
struct Printed<'a> {
    attack: &'a str,
    line: u8,
    verdict: Verdict,
    wrong: usize,
    rights_exceeded: usize,
    p99_quiet_us: Option<u64>,
    p99_attack_us: Option<u64>,
    longest_us: u64,
    rss_bytes_max: u64,
    descriptors_max: u64,
    operations: u64,
    faults: Vec<&'a str>,
    notes: &'a [String],
}

impl Report {
    /// Nothing was played yet.
    pub(crate) fn new(attack: &Attack) -> Self {
        let covered_by = match attack.play {
            Play::CoveredBy(tests) => named(tests),
            _ => String::new(),
        };
        Self {
            name: attack.name,
            line: attack.line,
            verdict: Verdict::Covered,
            latency: Latency::default(),
            latency_is_judged: false,
            operations: 0,
            wrong: Vec::new(),
            evidence: Evidence::default(),
            used: Use::default(),
            covered_by,
            faults: Vec::new(),
        }
    }

    /// It needs root.
    pub(crate) fn left_out(&mut self) {
        self.verdict = Verdict::LeftOut;
    }

    /// Something did not hold; the same is said once.
    pub(crate) fn fault(&mut self, text: String) {
        if !self.faults.contains(&text) {
            self.faults.push(text);
        }
    }

    /// Decides, when everything is known.
    pub(crate) fn judge(&mut self, slack_us: u64) {
        let latency_holds = !self.latency_is_judged || self.latency.holds(slack_us);
        if !latency_holds {
            self.fault("the honest client's p99 grew by more than allowed".to_owned());
        }
        self.verdict = if self.all_faults().is_empty() { Verdict::Passed } else { Verdict::Failed };
    }

    fn all_faults(&self) -> Vec<&str> {
        let evidence = self.evidence.exceeded.iter().chain(&self.evidence.broken);
        self.wrong.iter().chain(evidence).chain(&self.faults).map(String::as_str).collect()
    }

    /// For people: one line, and one more for each fault.
    pub(crate) fn line_of_text(&self) -> String {
        if self.verdict == Verdict::Covered {
            return format!("{:>2} {:24} covered by {}", self.line, self.name, self.covered_by);
        }
        if self.verdict == Verdict::LeftOut {
            return format!("{:>2} {:24} not played: needs root", self.line, self.name);
        }
        let ms = |us: Option<u64>| match us {
            None => "-".to_owned(),
            Some(STALLED_US) => "stalled".to_owned(),
            Some(us) => format!("{:.1}", us as f64 / 1000.0),
        };
        let ratio = self.latency.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let mut text = format!(
            "{:>2} {:24} {} wrong {} exceeded {} p99 {} -> {} ms (x{ratio}{}) longest {} ms rss {} MiB fds {}",
            self.line,
            self.name,
            if self.verdict == Verdict::Passed { "ok    " } else { "FAILED" },
            self.wrong.len(),
            self.evidence.exceeded.len(),
            ms(self.latency.quiet_us),
            ms(self.latency.attack_us),
            if self.latency_is_judged { "" } else { ", not judged" },
            ms(Some(self.latency.longest_us)),
            self.used.rss_bytes >> 20,
            self.used.descriptors,
        );
        let notes = self.evidence.notes.iter().map(|note| format!("\n     note: {note}"));
        // A fault that comes again and again is said a few times.
        const SHOWN: usize = 8;
        let faults = self.all_faults();
        let more = faults.len().saturating_sub(SHOWN);
        let faults = faults.into_iter().take(SHOWN).map(|fault| format!("\n     {fault}"));
        text.extend(notes.chain(faults));
        if 0 < more {
            text += &format!("\n     and {more} more");
        }
        text
    }

    /// For programs.
    pub(crate) fn line_of_json(&self) -> String {
        let printed = Printed {
            attack: self.name,
            line: self.line,
            verdict: self.verdict,
            wrong: self.wrong.len(),
            rights_exceeded: self.evidence.exceeded.len(),
            p99_quiet_us: self.latency.quiet_us,
            p99_attack_us: self.latency.attack_us,
            longest_us: self.latency.longest_us,
            rss_bytes_max: self.used.rss_bytes,
            descriptors_max: self.used.descriptors,
            operations: self.operations,
            faults: self.all_faults(),
            notes: &self.evidence.notes,
        };
        serde_json::to_string(&printed).unwrap_or_default()
    }
}
