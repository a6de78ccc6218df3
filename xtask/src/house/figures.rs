//! Lines, functions and asserts of each crate.

use std::collections::BTreeMap;

use comfy_table::Table;

use super::read::House;

/// What is counted of a crate.
#[derive(Default)]
pub(crate) struct Figures {
    files: usize,
    lines: usize,
    asserts: usize,
    functions: Vec<usize>,
}

impl Figures {
    /// Asserts per 100 functions.
    pub(crate) fn assert_density(&self) -> usize {
        (self.asserts * 100).checked_div(self.functions.len()).unwrap_or(0)
    }
}

/// The figures of each crate, by its folder.
pub(crate) fn by_crate(house: &House) -> BTreeMap<&str, Figures> {
    let mut crates: BTreeMap<&str, Figures> = BTreeMap::new();
    for file in &house.files {
        let figures = crates.entry(&file.crate_name).or_default();
        figures.files += 1;
        figures.lines += file.lines;
        figures.asserts += file.asserts;
        figures.functions.extend(&file.functions);
    }
    crates
}

/// A table, a line for each crate.
pub(crate) fn table(house: &House) -> Table {
    let mut table = Table::new();
    table.set_header([
        "crate",
        "files",
        "lines of code",
        "functions",
        "median",
        "longest",
        "asserts per 100",
    ]);
    for (name, mut figures) in by_crate(house) {
        figures.functions.sort_unstable();
        let count = figures.functions.len();
        let median = figures.functions.get(count / 2).copied().unwrap_or(0);
        let longest = figures.functions.last().copied().unwrap_or(0);
        let cells = [figures.files, figures.lines, count, median, longest, figures.assert_density()];
        table.add_row(std::iter::once(name.to_owned()).chain(cells.map(|cell| cell.to_string())));
    }
    table
}
