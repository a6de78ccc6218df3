//! The codec: the bench of crate `layout`, which has ours and reed-solomon-simd called directly
//! take turns on the same bytes.

use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::aim::Aim;
use crate::process::{self, workspace};

const RATIO_MIN: f64 = 0.8;
/// The shapes the aim is about.
const PROFILES: [&str; 3] = ["2+1", "4+2", "8+4"];

/// One shape, one size of window, one act; GB/s of data on one thread.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Row {
    profile: String,
    window_bytes: u64,
    act: String,
    theirs_gb_s: f64,
    ours_gb_s: f64,
    /// Ours with all checksums made: what a server does.
    with_sums_gb_s: f64,
    ratio: f64,
}

/// Runs it; it prints its own table.
///
/// # Errors
/// When it does not compile or run.
pub(super) fn measure() -> Result<Vec<Row>> {
    let file = std::env::temp_dir().join(format!("shoal-bench-codec-{}.json", std::process::id()));
    let mut cargo = Command::new("cargo");
    cargo.args(["bench", "--quiet", "--package", "layout", "--bench", "ec", "--", "--json"]).arg(&file);
    let ran = process::run_command(cargo.current_dir(workspace()));
    let text = ran.and_then(|()| std::fs::read_to_string(&file).context("the codec's bench wrote nothing"));
    let _ = std::fs::remove_file(&file);
    Ok(serde_json::from_str(&text?)?)
}

/// The slowest window of each shape and act.
pub(super) fn aims(rows: &[Row]) -> Vec<Aim> {
    let mut aims: Vec<Aim> = Vec::new();
    for row in rows.iter().filter(|row| PROFILES.contains(&&*row.profile)) {
        let what = format!("{} {}, ours / reed-solomon-simd", row.act, row.profile);
        match aims.iter_mut().find(|aim| aim.what == what) {
            Some(known) => known.seen = known.seen.min(row.ratio),
            None => aims.push(Aim::at_least(what, row.ratio, RATIO_MIN)),
        }
    }
    aims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_window_counts() {
        let row = |profile: &str, ratio| Row {
            profile: profile.to_owned(),
            window_bytes: 1,
            act: "encode".to_owned(),
            theirs_gb_s: 1.0,
            ours_gb_s: ratio,
            with_sums_gb_s: 1.0,
            ratio,
        };
        let aims = aims(&[row("4+2", 1.2), row("6+3", 0.1), row("4+2", 0.7)]);
        assert_eq!(aims.len(), 1);
        assert_eq!(aims[0].seen, 0.7);
    }
}
