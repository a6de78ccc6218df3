//! `shoal admin ds list`: the data servers in a table.

use comfy_table::{CellAlignment, Table};
use mds_server::report::DataServerLine;

use super::empty_table::empty_table;
use crate::output::bytes;

/// All of them.
pub(super) fn table(lines: &[DataServerLine]) -> Table {
    let mut table = empty_table(&[
        "Id",
        "Name",
        "State",
        "Address",
        "Control",
        "Used",
        "Capacity",
        "Full",
        "Share",
        "Journal",
        "Zone/rack/host",
        "Last seen",
    ]);
    let sum = |of: fn(&DataServerLine) -> u64| lines.iter().map(of).sum::<u64>();
    let (used, capacity) = (sum(|line| line.used_bytes), sum(|line| line.capacity_bytes));
    for line in lines {
        let seen = line.silent_ms.map_or_else(
            || "not since start".to_owned(),
            |ms| format!("{}.{} s ago", ms / 1000, ms % 1000 / 100),
        );
        table.add_row([
            line.id.to_string(),
            if line.name.is_empty() { "-".to_owned() } else { line.name.clone() },
            state(line),
            line.addresses.join(", "),
            line.control.clone(),
            bytes(line.used_bytes),
            bytes(line.capacity_bytes),
            percent(line.used_bytes, line.capacity_bytes),
            format!("{} of {}", percent(line.used_bytes, used), percent(line.capacity_bytes, capacity)),
            bytes(line.journal_bytes),
            line.domain.clone(),
            seen,
        ]);
    }
    for column in [0, 5, 6, 7, 8, 9] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// What a part is of a whole, to the nearest.
fn percent(part: u64, whole: u64) -> String {
    format!("{} %", (u128::from(part) * 200 / u128::from(whole.max(1))).div_ceil(2))
}

fn state(line: &DataServerLine) -> String {
    let mut state = match (line.up, line.full) {
        (true, false) => "up",
        (true, true) => "full",
        (false, _) => "DOWN",
    }
    .to_owned();
    if !line.behind.is_empty() {
        return format!("BEHIND: {}", line.behind);
    }
    // A disk that hangs is no failed one: it goes on when it answers.
    if line.failure.starts_with("disk hangs: ") {
        return line.failure.clone();
    }
    if !line.failure.is_empty() {
        return format!("disk failed: {}", line.failure);
    }
    if let Some(by) = line.replaced_by {
        return match (line.extents_left, line.images_left) {
            (Some(extents), Some(images)) => {
                format!("replaced by {by}, {extents} extents and {images} images left")
            }
            _ => format!("replaced by {by}"),
        };
    }
    if line.draining {
        state += match (line.extents_left, line.images_left) {
            (Some(0), Some(0)) => ", empty: may be removed",
            (Some(extents), Some(images)) => {
                return state + &format!(", draining, {extents} extents and {images} images left");
            }
            _ => ", draining",
        };
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_to_the_nearest() {
        assert_eq!(
            [percent(0, 0), percent(1, 3), percent(2, 3), percent(9, 9)],
            ["0 %", "33 %", "67 %", "100 %"]
        );
    }

    #[test]
    fn a_silent_server_stands_out() {
        let line = DataServerLine {
            id: 4,
            name: "rack1-a".into(),
            uuid: String::new(),
            addresses: vec!["127.0.0.1:3049".into()],
            control: "127.0.0.1:3149".into(),
            domain: "-/-/h".into(),
            up: false,
            full: false,
            capacity_bytes: 20 << 30,
            used_bytes: 1536,
            journal_bytes: 0,
            draining: false,
            replaced_by: None,
            extents_left: None,
            images_left: None,
            silent_ms: Some(12_345),
            failure: String::new(),
            behind: String::new(),
        };
        let draining = |extents_left, images_left| {
            let line = DataServerLine { up: true, draining: true, extents_left, images_left, ..line.clone() };
            state(&line)
        };
        assert_eq!(draining(None, Some(1)), "up, draining");
        assert_eq!(draining(Some(3), Some(0)), "up, draining, 3 extents and 0 images left");
        assert_eq!(draining(Some(0), Some(0)), "up, empty: may be removed");
        let text = table(std::slice::from_ref(&line)).to_string();
        for word in ["rack1-a", "DOWN", "127.0.0.1:3049", "1.5 KiB", "20.0 GiB", "12.3 s ago"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let failed = DataServerLine { failure: "Input/output error (os error 5)".into(), ..line.clone() };
        assert_eq!(state(&failed), "disk failed: Input/output error (os error 5)");
        let words = "disk hangs: no answer to a flush for 5 s";
        assert_eq!(state(&DataServerLine { failure: words.into(), ..line.clone() }), words);
        let words = "its journal ends at 1:2, and went to 3:4";
        let behind = DataServerLine { behind: words.into(), ..line.clone() };
        assert_eq!(state(&behind), format!("BEHIND: {words}"));
        let gone =
            DataServerLine { replaced_by: Some(9), extents_left: Some(2), images_left: Some(0), ..line };
        assert_eq!(state(&gone), "replaced by 9, 2 extents and 0 images left");
    }
}
