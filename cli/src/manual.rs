//! `shoal completions` and `shoal man`: made from the command line's own description.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Arguments;
use crate::output;

/// Prints what a shell needs.
///
/// # Errors
/// If it cannot be printed.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "shoal", &mut text);
    output::print(String::from_utf8_lossy(&text).trim_end())
}

/// Prints the manual page, or writes one for each command into a directory.
///
/// # Errors
/// If it cannot be printed, or the directory not be written.
pub(crate) fn man(dir: Option<&Path>) -> anyhow::Result<()> {
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            clap_mangen::generate_to(Arguments::command(), dir).with_context(|| dir.display().to_string())?;
            output::print(format!("The manual pages are in {}.", dir.display()))
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
            output::print(String::from_utf8_lossy(&page).trim_end())
        }
    }
}
