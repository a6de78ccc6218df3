//! What each test of pynfs is expected to come to, what it came to, and where these differ.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What a test came to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Pass,
    /// It passed, and the suite knows something better.
    Warn,
    Fail,
    /// A test that it depends on did not pass.
    Skip,
}

impl Verdict {
    fn label(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// By the code of the test: its verdict, and what the suite said of it.
pub(super) type Seen = BTreeMap<String, (Verdict, String)>;

#[derive(Debug, Deserialize)]
struct List {
    /// Codes of tests that pass.
    pass: Vec<String>,
    /// All others.
    other: Vec<Other>,
}

#[derive(Debug, Deserialize)]
struct Other {
    code: String,
    result: Verdict,
    reason: String,
}

/// The checked-in list.
#[derive(Debug)]
pub(super) struct Expected(BTreeMap<String, Verdict>);

impl Expected {
    /// Reads the list.
    ///
    /// # Errors
    /// When it is no such list, names a test twice, or gives no reason.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let list: List = toml::from_str(text).context("conformance/lab/pynfs.toml")?;
        let mut all = BTreeMap::new();
        for other in &list.other {
            ensure!(!other.reason.is_empty(), "conformance/lab/pynfs.toml: {} without a reason", other.code);
            ensure!(
                other.result != Verdict::Pass,
                "conformance/lab/pynfs.toml: {} is not in `pass`",
                other.code
            );
        }
        let passes = list.pass.into_iter().map(|code| (code, Verdict::Pass));
        for (code, verdict) in passes.chain(list.other.into_iter().map(|other| (other.code, other.result))) {
            let before = all.insert(code.clone(), verdict);
            ensure!(before.is_none(), "conformance/lab/pynfs.toml: {code} twice");
        }
        Ok(Self(all))
    }

    /// One line for each test that came to something else than is listed. Of a run of the whole
    /// suite, also for each that is listed and did not run.
    pub(super) fn differences(&self, seen: &Seen, whole: bool) -> Vec<String> {
        let other = seen.iter().filter_map(|(code, (verdict, said))| match self.0.get(code) {
            Some(listed) if listed == verdict => None,
            Some(listed) => {
                Some(format!("{code}: {}, listed as {}: {said}", verdict.label(), listed.label()))
            }
            None => Some(format!("{code}: {}, and not listed: {said}", verdict.label())),
        });
        let missing = self.0.keys().filter(|code| whole && !seen.contains_key(*code));
        other.chain(missing.map(|code| format!("{code}: listed, and did not run"))).collect()
    }
}

/// How many there are of each kind.
pub(super) fn counts(seen: &Seen) -> String {
    let of = |wanted| seen.values().filter(|(verdict, _)| *verdict == wanted).count();
    let (pass, warn) = (of(Verdict::Pass), of(Verdict::Warn));
    format!(
        "{} of {} pass, {warn} of them with a warning; {} fail, {} are skipped",
        pass + warn,
        seen.len(),
        of(Verdict::Fail),
        of(Verdict::Skip)
    )
}

/// Reads what the suite printed at its end: a line for each test (code, name, verdict), indented
/// ones below it that say more. Tests that were not asked for are left out.
pub(super) fn read(said: &str) -> Seen {
    let mut seen = Seen::new();
    let mut last = None;
    for line in said.lines() {
        if let Some((code, verdict)) = verdict(line) {
            seen.insert(code.to_owned(), (verdict, String::new()));
            last = Some(code.to_owned());
        } else if !line.starts_with(' ') {
            last = None;
        } else if let Some((code, text)) = last.as_ref().map(|code| (code, line.trim())) {
            // Only the first says what is wrong; it is also where one that was not asked for is
            // told from one that was left out.
            if text.starts_with("Failed runfilter") {
                seen.remove(code);
            } else if let Some((_, said)) = seen.get_mut(code).filter(|(_, said)| said.is_empty()) {
                text.clone_into(said);
            }
        }
    }
    seen
}

fn verdict(line: &str) -> Option<(&str, Verdict)> {
    let (head, word) = line.rsplit_once(" : ")?;
    let mut words = head.split_whitespace();
    let (code, name) = (words.next()?, words.next()?);
    if line.starts_with(' ') || words.next().is_some() || !name.starts_with("st_") {
        return None;
    }
    let verdict = match word.trim() {
        "PASS" => Verdict::Pass,
        "WARNING" => Verdict::Warn,
        "FAILURE" => Verdict::Fail,
        "OMIT" => Verdict::Skip,
        _ => return None,
    };
    Some((code, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "INFO   :rpc.poll:Adding 7
**************************************************
SEQ1     st_sequence.testSupported                                : PASS
SEQ2     st_sequence.testBad                                      : FAILURE
           OP_SEQUENCE should return NFS4_OK, instead got
           NFS4ERR_IO
EID9     st_exchange_id.testOld                                   : WARNING
           could be better
RNM1     st_rename.testDir                                        : OMIT
           Dependency SEQ2 had status FAILURE.
DELEG1   st_delegation.testRead                                   : OMIT
           Failed runfilter
**************************************************
Command line asked for 4 of 265 tests
";

    fn differences(list: &str, whole: bool) -> Vec<String> {
        Expected::parse(list).unwrap().differences(&read(SAID), whole)
    }

    #[test]
    fn each_test_that_was_asked_for_has_its_verdict() {
        let seen = read(SAID);
        let verdicts: Vec<_> = seen.iter().map(|(code, (verdict, _))| (code.as_str(), *verdict)).collect();
        let expected = [
            ("EID9", Verdict::Warn),
            ("RNM1", Verdict::Skip),
            ("SEQ1", Verdict::Pass),
            ("SEQ2", Verdict::Fail),
        ];
        assert_eq!(verdicts, expected);
        assert_eq!(seen["SEQ2"].1, "OP_SEQUENCE should return NFS4_OK, instead got");
        assert_eq!(counts(&seen), "2 of 4 pass, 1 of them with a warning; 1 fail, 1 are skipped");
    }

    #[test]
    fn a_difference_in_either_direction_is_told() {
        let others = |seq2: &str| {
            format!(
                "other = [{{ code = 'EID9', result = 'warn', reason = 'r' }}, {{ code = 'SEQ2', result = '{seq2}', reason = 'r' }}, \
                 {{ code = 'RNM1', result = 'skip', reason = 'r' }}]"
            )
        };
        assert!(differences(&format!("pass = ['SEQ1']\n{}", others("fail")), true).is_empty());
        let cured = differences(&format!("pass = []\n{}", others("warn")), true);
        assert_eq!(cured.len(), 2, "{cured:?}");
        let gone = format!("pass = ['SEQ1', 'SEQ7']\n{}", others("fail"));
        assert_eq!(differences(&gone, true), ["SEQ7: listed, and did not run"]);
        assert!(differences(&gone, false).is_empty(), "not all were asked for");
    }

    #[test]
    fn a_list_that_contradicts_itself_is_refused() {
        let other = |result: &str, reason: &str| {
            format!("pass = ['A']\nother = [{{ code = 'B', result = '{result}', reason = '{reason}' }}]")
        };
        assert!(Expected::parse(&other("fail", "r")).is_ok());
        assert!(Expected::parse(&other("fail", "")).is_err());
        assert!(Expected::parse(&other("pass", "r")).is_err());
        assert!(Expected::parse("pass = ['A', 'A']\nother = []").is_err());
    }
}
