//! `cargo xtask tidy`: the rules of STYLE.md that a reader of files can check.
//!
//! Looks at what git knows or would add. Each finding says the file, the line and what to do.

mod ratchet;
mod words;

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::house::read::House;
use crate::house::{circles, figures, whole};
use crate::{process, unsafe_code};
use ratchet::Counts;

const CODE_LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;
/// A struct of many parts is taken whole by so many files.
const TAKEN_BY_MAX: usize = 10;
/// These name what is forbidden.
const WORDS_FREE: [&str; 2] = ["xtask/src/tidy/words.rs", "STYLE.md"];
const BANNED_STEMS: [&str; 8] = ["utils", "util", "helpers", "helper", "common", "types", "manager", "misc"];
/// Files of a protocol name the sections they follow.
const SPEC_FOLDERS: [&str; 2] = ["wire/", "layout/"];
/// These say how a crate hangs together, not what a standard wants.
const SPEC_FREE: [&str; 5] = ["lib.rs", "limits.rs", "error.rs", "mod.rs", "tests.rs"];
/// Files over the limit, with their own: the list may only shrink.
const OVER_LIMIT: &[(&str, usize)] = &[];

/// What `tidy` does beside checking.
#[derive(Debug, Default, Args)]
pub(crate) struct Tidy {
    /// Writes `xtask/ratchet.toml` again, where it got better.
    #[arg(long)]
    ratchet: bool,
    /// Prints each line that the ratchet counts of a crate.
    #[arg(long, value_name = "CRATE")]
    counted: Option<String>,
}

impl Tidy {
    /// Checks every file.
    ///
    /// # Errors
    /// When there is a finding; the error holds all of them.
    pub(crate) fn run(&self) -> Result<()> {
        let root = process::workspace();
        let mut findings = check_tree(&root)?;
        let (counts, lines) = count(&root)?;
        let allowed = Counts::read(&root)?;
        if let Some(place) = &self.counted {
            lines.iter().filter(|(of, _)| of == place).for_each(|(_, line)| println!("{line}"));
        }
        if self.ratchet {
            counts.write(&allowed, &root)?;
        } else {
            findings.extend(counts.compare(&allowed).into_iter().map(|(text, _)| text));
        }
        if !findings.is_empty() {
            bail!("{}\n{} findings", findings.join("\n"), findings.len());
        }
        Ok(())
    }
}

/// What the ratchet counts, and the lines that it counts, each with its crate.
fn count(root: &Path) -> Result<(Counts, Vec<(String, String)>)> {
    let (house, mut counts, mut lines) = (House::read(root)?, Counts::default(), Vec::new());
    for name in tracked(root)? {
        let Ok(text) = std::fs::read_to_string(root.join(&name)) else { continue };
        let place = place_of(&name);
        if !WORDS_FREE.contains(&name.as_str()) && (name.ends_with(".rs") || name.ends_with(".md")) {
            let banned = words::banned(&text);
            counts.add(ratchet::WORDS, &place, banned.len());
            lines
                .extend(banned.into_iter().map(|(at, what)| (place.clone(), format!("{name}:{at}: {what}"))));
        }
        if name.ends_with(".rs") {
            let long = text.lines().filter(|line| COLUMNS_MAX < line.chars().count()).count();
            counts.add(ratchet::COLUMNS, &place, long);
        }
    }
    for circle in circles::find(&house) {
        for file in circle.files {
            counts.add(ratchet::CIRCLES, &house.files[file].crate_name, 1);
        }
    }
    for file in &house.files {
        for function in file.seen_functions.iter().filter(|name| words::is_bare(name)) {
            counts.add(ratchet::VERBS, &file.crate_name, 1);
            lines.push((
                file.crate_name.clone(),
                format!("{}: fn {function}: an object is missing", file.name),
            ));
        }
    }
    for taken in whole::find(&house).iter().filter(|taken| TAKEN_BY_MAX < taken.by.len()) {
        counts.add(
            ratchet::WHOLE,
            &format!("{}::{}", house.files[taken.file].name, taken.name),
            taken.by.len(),
        );
    }
    for (place, figures) in figures::by_crate(&house) {
        counts.add(ratchet::ASSERTS, place, figures.assert_density());
    }
    Ok((counts, lines))
}

/// The folder of a file's crate, or its top folder.
fn place_of(name: &str) -> String {
    let inside = ["/src/", "/tests/", "/benches/"].iter().find_map(|folder| name.split_once(folder));
    let top = || name.split_once('/').map_or("top", |(top, _)| top);
    inside.map_or_else(top, |(place, _)| place).to_owned()
}

fn tracked(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    Ok(process::output(&mut git)?.lines().map(str::to_owned).collect())
}

fn check_tree(root: &Path) -> Result<Vec<String>> {
    let listed = tracked(root)?;
    let mut findings = Vec::new();
    let mut count = 0;
    for name in &listed {
        // Deleted but not yet committed, or not text: nothing to read.
        let Ok(text) = std::fs::read_to_string(root.join(name)) else { continue };
        count += 1;
        findings.extend(check(name, &text));
    }
    findings.extend(check_request_page(root));
    findings.extend(unsafe_code::gone(&listed.iter().map(String::as_str).collect::<Vec<_>>()));
    println!("tidy: {count} files");
    Ok(findings)
}

fn check(name: &str, text: &str) -> Vec<String> {
    let mut findings = check_words(name, text);
    if !name.ends_with(".rs") {
        return findings;
    }
    findings.extend(unsafe_code::check(name, text));
    let mut say = |what: String| findings.push(format!("tidy: {name}: {what}"));
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.trim_end_matches(".rs");
    if BANNED_STEMS.contains(&stem) {
        say(format!("{stem} names no subject; see STYLE 7"));
    }
    if !text.starts_with("//!") {
        say("the first line must be `//!`: what the file is; see STYLE 9".to_owned());
    }
    let limit = OVER_LIMIT.iter().find(|(over, _)| *over == name).map_or(CODE_LINES_MAX, |(_, limit)| *limit);
    let lines = code_lines(name, text);
    if limit < lines {
        say(format!("{lines} lines of code (limit {limit}): a noun is missing; see STYLE 7"));
    }
    if needs_spec(name, file) && !doc_of(text).contains("Spec:") {
        say("a `Spec:` line in the `//!` part must name the sections it follows; see STYLE 9".to_owned());
    }
    findings
}

fn check_words(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let rust = name.ends_with(".rs");
    let machine_paths = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let in_tests = is_test_file(name);
    for (number, line) in text.lines().enumerate() {
        let mut say = |what: &str| findings.push(format!("tidy: {name}:{}: {what}", number + 1));
        if machine_paths.iter().any(|path| line.contains(path)) {
            say("a path of one machine");
        }
        if !rust {
            continue;
        }
        if marks.iter().any(|mark| line.contains(mark)) && !line.contains('#') {
            say("name the issue (#n) or do it now; see STYLE 2");
        }
        let code = line.trim_start();
        if code.starts_with(concat!("#[ig", "nore")) {
            say("an ignored test proves nothing; see STYLE 6");
        }
        // A method of somebody else's trait has no `pub`, and its name is not ours to choose.
        if code.starts_with("pub") && code.contains(concat!("fn ge", "t_")) && !in_tests {
            say("no get_ in names; see STYLE 1");
        }
    }
    findings
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("/tests.rs") || ["/tests/", "/benches/"].iter().any(|folder| name.contains(folder))
}

/// Lines up to the test module at the file's end; none in a file of tests.
fn code_lines(name: &str, text: &str) -> usize {
    if is_test_file(name) {
        return 0;
    }
    let lines: Vec<&str> = text.lines().collect();
    let opens = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod tests {");
    lines.windows(2).position(opens).unwrap_or(lines.len())
}

fn needs_spec(name: &str, file: &str) -> bool {
    let sources = name.contains("/src/") && !is_test_file(name) && !SPEC_FREE.contains(&file);
    let protocol = SPEC_FOLDERS.iter().any(|folder| name.starts_with(folder));
    sources && (protocol || name.starts_with("mds/server/src/op/") || name.starts_with("ds/server/src/proc/"))
}

fn doc_of(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
}

/// The life of a request names files: they must exist.
fn check_request_page(root: &Path) -> Vec<String> {
    let page = "docs/request.md";
    let Ok(text) = std::fs::read_to_string(root.join(page)) else { return Vec::new() };
    let named = text.split('`').skip(1).step_by(2).filter(|word| word.ends_with(".rs") && word.contains('/'));
    let gone = named.filter(|path| !root.join(path).is_file());
    gone.map(|path| format!("tidy: {page}: {path} does not exist")).collect()
}

#[cfg(test)]
mod tests {
    use super::{check, code_lines};

    #[test]
    fn a_good_file_has_no_findings() {
        assert!(check("env/src/clock.rs", "//! The clock.\n\nfn now() {}\n").is_empty());
        assert!(check("wire/xdr/src/read.rs", "//! Reads.\n//! Spec: RFC 4506 §4.\n").is_empty());
    }

    #[test]
    fn each_rule_finds_its_break() {
        assert_eq!(check("env/src/clock.rs", "fn now() {}\n").len(), 1);
        assert_eq!(check("env/src/utils.rs", "//! Odds and ends.\n").len(), 1);
        assert_eq!(check("wire/xdr/src/read.rs", "//! Reads.\n").len(), 1);
        assert_eq!(check("env/src/a.rs", &format!("//! A.\n{}", "fn a() {}\n".repeat(600))).len(), 1);
        assert_eq!(check("docs/lab.md", concat!("see /wo", "rk/x")).len(), 1);
        assert_eq!(check("env/src/a.rs", concat!("//! A.\n// TO", "DO later\n")).len(), 1);
    }

    #[test]
    fn tests_do_not_count_as_code() {
        let text = "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(code_lines("env/src/a.rs", text), 2);
        assert_eq!(code_lines("env/src/a/tests.rs", text), 0);
    }
}
