//! `shoal check-config`: every fault of a configuration file, each with its line.

use anyhow::{Context, bail};
use serde::Serialize;

use crate::args::CheckConfig;
use crate::config::faults::{self, Fault};
use crate::json;
use crate::output::print;

/// Bytes of a configuration file: more than all exports that a cluster may have.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Serialize)]
struct Checked<'a> {
    file: String,
    ok: bool,
    faults: &'a [Fault],
}

/// Prints the faults.
///
/// # Errors
/// If there are any, after they were printed; if the file cannot be read.
pub(crate) fn check_file(check: &CheckConfig) -> anyhow::Result<()> {
    let file = check.file.display().to_string();
    let bytes = std::fs::metadata(&check.file).with_context(|| format!("{file}: cannot be read"))?.len();
    if FILE_BYTES_MAX < bytes {
        bail!("{file}: {bytes} bytes; a configuration file has {FILE_BYTES_MAX} at most");
    }
    let text = std::fs::read_to_string(&check.file).with_context(|| format!("{file}: cannot be read"))?;
    let faults = faults::find_faults(&text);
    if check.json {
        let checked = Checked { file: file.clone(), ok: faults.is_empty(), faults: &faults };
        print(json::document("check-config", &checked)?)?;
    } else if faults.is_empty() {
        print(format!("{file}: ok"))?;
    } else {
        for Fault { line, message } in &faults {
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            print(format!("{file}{line}: {message}"))?;
        }
    }
    match faults.len() {
        0 => Ok(()),
        1 => bail!("{file}: 1 fault"),
        count => bail!("{file}: {count} faults"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_documented_fields() {
        let faults = [Fault { line: Some(2), message: "hot_copies = 7: expected 1 to 3".to_owned() }];
        let checked = Checked { file: "shoal.toml".to_owned(), ok: false, faults: &faults };
        let text = json::document("check-config", &checked).unwrap() + "\n";
        assert_eq!(text, include_str!("../tests/golden/check-config.json"));
    }
}
