//! The attacks, grouped by what they go for.

mod connections;
mod disks;
mod export_walls;
mod files_and_modes;
mod floods;
mod handles;
mod hanging;
mod hosts;
mod memory;
mod nodes;
mod ports;
mod processes;
mod proof;
mod strangers;
mod takeover;

use crate::attack::Attack;

/// Each group's attacks.
const GROUPS: &[fn() -> Vec<Attack>] = &[
    strangers::attacks,
    takeover::attacks,
    export_walls::attacks,
    handles::attacks,
    files_and_modes::attacks,
    ports::attacks,
    nodes::attacks,
    connections::attacks,
    floods::attacks,
    memory::attacks,
    disks::attacks,
    hanging::attacks,
    processes::attacks,
];

/// All attacks, by line.
pub(crate) fn all() -> Vec<Attack> {
    let mut all: Vec<Attack> = GROUPS.iter().flat_map(|group| group()).collect();
    all.sort_by_key(|attack| attack.line);
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::all;
    use crate::attack::Play;

    const LINES: std::ops::RangeInclusive<u8> = 1..=17;

    #[test]
    fn each_line_has_an_attack_and_each_attack_a_name_of_its_own() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), all.len());
        let lines: BTreeSet<u8> = all.iter().map(|attack| attack.line).collect();
        assert_eq!(lines, LINES.collect());
    }

    #[test]
    fn the_tests_exist_that_are_named_in_place_of_an_attack() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        for attack in all() {
            let Play::CoveredBy(tests) = attack.play else { continue };
            assert!(!tests.is_empty(), "{}: by what?", attack.name);
            for (file, test) in tests {
                let text = std::fs::read_to_string(format!("{root}{file}")).unwrap();
                let found =
                    text.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("{file} has no {test}"));
                // The attribute, with `async` and what else a test may have behind it.
                let is_test = text[..found]
                    .lines()
                    .rev()
                    .take(4)
                    .any(|line| line.contains("test]") || line.contains("test("));
                assert!(is_test, "{file}: {test} is no test");
            }
        }
    }

    #[test]
    fn the_pages_name_each_attack() {
        let page = |name: &str| {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/");
            std::fs::read_to_string(format!("{root}{name}")).unwrap()
        };
        for (file, text) in [("security.md", page("security.md")), ("hostile.md", page("hostile.md"))] {
            for attack in all() {
                assert!(text.contains(&format!("`{}`", attack.name)), "{file} does not name {}", attack.name);
            }
        }
    }
}
