//! A line of the group `shell`: its name, its scripts, and what they print.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

const NAME_CHARS_MAX: usize = 40;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    line: Vec<Line>,
}

/// One entry of a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) name: String,
    /// Played by bash in the first guest, in an empty folder of the mount.
    pub(super) run: String,
    /// Played in the same folder by the second guest afterwards.
    pub(super) other: Option<String>,
    /// Played in the same folder by the first guest again after that.
    pub(super) again: Option<String>,
    /// The expected standard output of all of them. The newline at its end may be left out.
    pub(super) says: String,
    /// The expected exit code of the last of them.
    #[serde(default)]
    pub(super) exit: i32,
    /// Why knfsd does something else than the table says, on at least one kernel: it is not the
    /// reference of this line.
    pub(super) knfsd_differs: Option<String>,
}

impl Line {
    /// The scripts in the order they are played, with the number of the guest.
    pub(super) fn steps(&self) -> impl Iterator<Item = (usize, &str)> {
        let steps = [(0, Some(&self.run)), (1, self.other.as_ref()), (0, self.again.as_ref())];
        steps.into_iter().filter_map(|(guest, script)| script.map(|script| (guest, script.as_str())))
    }
}

/// Reads a table.
///
/// # Errors
/// When it is no such table, or a line breaks one of the rules; the error names the line.
pub(super) fn parse(table: &str) -> Result<Vec<Line>> {
    let lines = toml::from_str::<Table>(table).context("a table of conformance/lab/shell")?.line;
    for line in &lines {
        check(line).with_context(|| format!("line {:?}", line.name))?;
    }
    Ok(lines)
}

fn check(line: &Line) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    // The name is a folder on both mounts and a word of --only.
    ensure!((1..=NAME_CHARS_MAX).contains(&line.name.len()), "a name has 1 to {NAME_CHARS_MAX} characters");
    ensure!(line.name.chars().all(plain), "a name is made of a to z, 0 to 9 and -");
    for (_, script) in line.steps() {
        ensure!(!script.trim().is_empty(), "an empty script");
        ensure!(!script.contains("/mnt/"), "a script names no mount: it starts in its own folder");
    }
    ensure!(!matches!(line.knfsd_differs.as_deref(), Some("")), "knfsd_differs is the reason");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "[[line]]\nname = 'a-1'\nrun = 'x'\nother = 'y'\nagain = 'z'\nsays = 's'\nexit = 2\n";

    #[test]
    fn steps_alternate_between_the_guests() {
        let lines = parse(WHOLE).unwrap();
        assert_eq!(lines[0].steps().collect::<Vec<_>>(), [(0, "x"), (1, "y"), (0, "z")]);
        assert_eq!(lines[0].exit, 2);
        let short = parse("[[line]]\nname = 'a'\nrun = 'x'\nagain = 'z'\nsays = ''\n").unwrap();
        assert_eq!(short[0].steps().collect::<Vec<_>>(), [(0, "x"), (0, "z")]);
    }

    #[test]
    fn bad_lines_are_refused_by_name() {
        let refused = |table: &str, words: &str| {
            let error = format!("{:#}", parse(table).unwrap_err());
            assert!(error.contains(words), "{error}");
        };
        refused("[[line]]\nname = 'A b'\nrun = 'x'\nsays = ''\n", "\"A b\": a name is made");
        refused("[[line]]\nname = ''\nrun = 'x'\nsays = ''\n", "1 to 40");
        refused("[[line]]\nname = 'a'\nrun = ' '\nsays = ''\n", "an empty script");
        refused("[[line]]\nname = 'a'\nrun = 'ls /mnt/c'\nsays = ''\n", "names no mount");
        refused("[[line]]\nname = 'a'\nrun = 'x'\nsays = ''\nknfsd_differs = ''\n", "the reason");
        refused("[[line]]\nname = 'a'\nrun = 'x'\n", "says");
        refused("[[line]]\nname = 'a'\nrun = 'x'\nsays = ''\nsay = ''\n", "say");
    }
}
