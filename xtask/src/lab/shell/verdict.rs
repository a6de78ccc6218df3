//! Whether two plays of a line are alike, and whether they are what the table says.

use super::line::Line;

/// What one step of a line came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Said {
    /// Nothing when it had to be ended.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A play of a line on one server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    pub(super) steps: Vec<Said>,
    /// A row for each file: path, kind, mode, owner, size, links, and a row for the sum of its
    /// bytes.
    pub(super) files: String,
    /// The same from the second guest.
    pub(super) files_from_afar: String,
}

impl Outcome {
    /// Whether a step did not end in its time.
    pub(super) fn is_stuck(&self) -> bool {
        self.steps.iter().any(|said| said.code.is_none())
    }

    fn stdout(&self) -> String {
        self.steps.iter().map(|said| said.stdout.as_str()).collect()
    }

    fn stderr(&self) -> String {
        self.steps.iter().map(|said| said.stderr.as_str()).collect()
    }

    fn codes(&self) -> Vec<Option<i32>> {
        self.steps.iter().map(|said| said.code).collect()
    }
}

/// All that is wrong with a line; empty when it agrees. The table outranks knfsd where the line
/// says that knfsd differs.
pub(super) fn compare(line: &Line, tested: &Outcome, reference: &Outcome) -> Vec<String> {
    let mut faults = against_table("", line, tested);
    if line.knfsd_differs.is_none() {
        faults.extend(against_table("knfsd's own ", line, reference));
        faults.extend(against_reference(line, tested, reference));
    }
    if !faults.is_empty() {
        // Often the reason. Of a traceback the last row says it.
        faults.extend(tested.stderr().lines().last().map(|said| format!("on standard error: {}", cut(said))));
    }
    faults
}

fn against_table(whose: &str, line: &Line, outcome: &Outcome) -> Vec<String> {
    let code = match outcome.codes().last() {
        Some(Some(code)) => code.to_string(),
        _ => "none: it did not end".to_owned(),
    };
    let output = first_difference(ended(&line.says), ended(&outcome.stdout()));
    let exit = first_difference(&line.exit.to_string(), &code);
    let output = output.map(|difference| format!("{whose}output, by the table: {difference}"));
    let exit = exit.map(|difference| format!("{whose}exit code, by the table: {difference}"));
    output.into_iter().chain(exit).collect()
}

/// What the reference did otherwise. What the table has said already is not said again.
fn against_reference(line: &Line, tested: &Outcome, reference: &Outcome) -> Vec<String> {
    let codes = |outcome: &Outcome| format!("{:?}", outcome.codes());
    let by_table =
        against_table("", line, reference).is_empty() && !against_table("", line, tested).is_empty();
    let mut pairs = vec![("errors", reference.stderr(), tested.stderr())];
    if !by_table {
        pairs.push(("output", reference.stdout(), tested.stdout()));
        pairs.push(("exit codes", codes(reference), codes(tested)));
    }
    pairs.push(("files", reference.files.clone(), tested.files.clone()));
    if tested.files != tested.files_from_afar || reference.files != reference.files_from_afar {
        let (expected, found) = (reference.files_from_afar.clone(), tested.files_from_afar.clone());
        pairs.push(("files in the second guest", expected, found));
    }
    let differing = pairs.into_iter().filter_map(|(what, expected, found)| {
        first_difference(&expected, &found).map(|difference| format!("{what}, by knfsd: {difference}"))
    });
    let own = first_difference(&reference.files, &reference.files_from_afar);
    let own = own.map(|difference| format!("knfsd's own files in the second guest: {difference}"));
    differing.chain(own).collect()
}

/// A table may leave the newline at the end out; a program may not print one.
fn ended(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

/// The first row in which two texts differ, or nothing when they are the same.
fn first_difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (mut left, mut right) = (expected.split('\n'), found.split('\n'));
    let mut row = 1;
    loop {
        match (left.next(), right.next()) {
            (Some(expected), Some(found)) if expected == found => row += 1,
            (expected, found) => {
                let shown = |text: Option<&str>| text.map_or_else(|| "nothing".to_owned(), cut);
                return Some(format!("row {row} is {} instead of {}", shown(found), shown(expected)));
            }
        }
    }
}

fn cut(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 150;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{:?}… ({} bytes)", &text[..at], text.len()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(says: &str) -> Line {
        let table = format!("[[line]]\nname = 'a'\nrun = 'x'\nsays = '{says}'\n");
        super::super::line::parse(&table).unwrap().remove(0)
    }

    fn outcome(stdout: &str) -> Outcome {
        let said = Said { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() };
        Outcome {
            steps: vec![said],
            files: "./f f 644\n".to_owned(),
            files_from_afar: "./f f 644\n".to_owned(),
        }
    }

    #[test]
    fn alike_and_as_the_table_says_has_no_faults() {
        assert!(compare(&line("ok"), &outcome("ok\n"), &outcome("ok\n")).is_empty());
        assert!(compare(&line("ok"), &outcome("ok"), &outcome("ok")).is_empty());
    }

    #[test]
    fn a_wrong_table_is_a_fault_though_both_are_alike() {
        let faults = compare(&line("60000"), &outcome("5000\n"), &outcome("5000\n"));
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(faults[0], "output, by the table: row 1 is \"5000\" instead of \"60000\"");
    }

    #[test]
    fn a_newline_more_than_the_reference_has_is_a_fault() {
        let faults = compare(&line("ok"), &outcome("ok"), &outcome("ok\n"));
        assert_eq!(faults, ["output, by knfsd: row 2 is nothing instead of \"\""]);
    }

    #[test]
    fn each_piece_is_compared() {
        let good = outcome("ok\n");
        let spoilt = |spoil: fn(&mut Outcome)| {
            let mut bad = good.clone();
            spoil(&mut bad);
            compare(&line("ok"), &bad, &good)
        };
        assert!(spoilt(|bad| bad.steps[0].stderr.push_str("dd: I/O error"))[0].starts_with("errors, by"));
        assert!(spoilt(|bad| bad.files.push_str("./g"))[0].starts_with("files, by"));
        assert!(spoilt(|bad| bad.files_from_afar.clear())[0].starts_with("files in the second guest"));
        assert_eq!(spoilt(|bad| bad.steps[0].code = Some(1)).len(), 1);
        let stuck = spoilt(|bad| bad.steps[0].code = None);
        assert!(stuck[0].contains("did not end"), "{stuck:?}");
    }

    #[test]
    fn what_both_guests_see_alike_is_said_once() {
        let good = outcome("ok\n");
        let mut bad = outcome("other\n");
        bad.files = "./f f 600\n".to_owned();
        bad.files_from_afar.clone_from(&bad.files);
        let faults = compare(&line("ok"), &bad, &good);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("output, by the table") && faults[1].starts_with("files, by knfsd"));
    }

    #[test]
    fn exit_codes_of_all_steps_are_compared() {
        let mut good = outcome("");
        good.steps.push(good.steps[0].clone());
        let mut bad = good.clone();
        bad.steps[0].code = Some(3);
        let faults = compare(&line(""), &bad, &good);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("exit codes, by knfsd"));
    }

    #[test]
    fn where_knfsd_differs_the_table_alone_counts() {
        let mut line = line("ok");
        line.knfsd_differs = Some("7.2 takes the time back".to_owned());
        assert!(compare(&line, &outcome("ok\n"), &outcome("other\n")).is_empty());
        assert_eq!(compare(&line, &outcome("other\n"), &outcome("other\n")).len(), 1);
    }

    #[test]
    fn long_rows_are_cut() {
        let difference = first_difference("", &"é".repeat(1000)).unwrap();
        assert!(difference.len() < 400 && difference.contains("(2000 bytes)"), "{difference}");
    }
}
