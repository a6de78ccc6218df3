//! The look that the tables of all admin commands share.

use comfy_table::{Table, presets};

/// A table without rows.
pub(super) fn empty_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}
