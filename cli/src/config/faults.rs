//! Every fault of a configuration file at once, for `shoal check-config`: what a server would
//! refuse, and values that contradict each other.
//!
//! A server stops at the first fault, for it reads the file as a whole. Here each key is read by
//! itself, so that one fault hides no other; it is read by the same code.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use super::{Config, ExportTable, TWICE, distance, export_faults, nearest, number_faults};

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Fault {
    /// Its line, from 1; `None` if it is about the file as a whole.
    pub(crate) line: Option<usize>,
    /// What is wrong, and what was expected.
    pub(crate) message: String,
}

/// A key of a table: its line, and its value as it is written.
struct Given<'a> {
    line: usize,
    value: &'a str,
}

struct Faults<'a> {
    text: &'a str,
    all: Vec<Fault>,
}

/// All faults of a file, in the order of its lines.
pub(crate) fn find_faults(text: &str) -> Vec<Fault> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut faults = Faults { text, all: Vec::new() };
    for error in errors {
        let line = error.span().map(|span| faults.line(span.start));
        faults.all.push(Fault { line, message: error.message().to_owned() });
    }
    let mut exports = Vec::new();
    let mut cluster = BTreeMap::new();
    for (key, value) in document.get_ref().iter() {
        let line = faults.line(key.span().start);
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("cluster", DeValue::Table(table)) => cluster = faults.cluster(table),
            ("export", DeValue::Array(array)) => {
                for one in array.iter() {
                    match one.get_ref() {
                        DeValue::Table(table) => exports.push(faults.export(table, one.span().start)),
                        _ => faults.add(line, "export: expected tables, each as [[export]]".to_owned()),
                    }
                }
            }
            ("cluster", _) => faults.add(line, "cluster: expected a table, as [cluster]".to_owned()),
            ("export", _) => faults.add(line, "export: expected tables, each as [[export]]".to_owned()),
            (other, _) => faults.add(line, unknown(other, &["cluster", "export"])),
        }
    }
    faults.contradictions(&cluster, &exports);
    if faults.all.is_empty()
        && let Err(error) = super::parse(text, "file")
    {
        // What is about all of it together.
        let message = error.to_string();
        let message = message.strip_prefix("file: ").unwrap_or(&message).to_owned();
        faults.all.push(Fault { line: None, message });
    }
    faults.all.sort();
    faults.all.dedup();
    faults.all
}

fn unknown(key: &str, known: &[&str]) -> String {
    let near =
        known.iter().map(|one| (distance(key, one), *one)).min().filter(|(d, one)| *d <= one.len() / 2);
    let near = near.map(|(_, one)| format!(" (did you mean `{one}`?)")).unwrap_or_default();
    let known: Vec<String> = known.iter().map(|one| format!("`{one}`")).collect();
    format!("unknown field `{key}`, expected {}{near}", known.join(" or "))
}

/// An export as far as it can be read.
struct Export<'a> {
    given: BTreeMap<String, Given<'a>>,
    table: Option<ExportTable>,
}

impl<'a> Faults<'a> {
    fn line(&self, at: usize) -> usize {
        self.text[..at.min(self.text.len())].matches('\n').count() + 1
    }

    fn add(&mut self, line: usize, message: String) {
        self.all.push(Fault { line: Some(line), message });
    }

    /// The keys of a table that the same code as a server's can read, each by itself below `head`.
    fn keys(&mut self, table: &DeTable<'_>, head: &str) -> BTreeMap<String, Given<'a>> {
        let mut good = BTreeMap::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().to_string();
            let line = self.line(key.span().start);
            let written = match value.get_ref() {
                // As a table it may have lines of its own, and nothing here is one.
                DeValue::Table(_) => "{}",
                _ => self.text.get(value.span()).unwrap_or("{}"),
            };
            let quoted = format!("{name:?}");
            let head = if name == "path" { head.lines().next().unwrap_or(head) } else { head };
            match toml::from_str::<Config>(&format!("{head}\n{quoted} = {written}\n")) {
                Ok(_) => {
                    good.insert(name, Given { line, value: written });
                }
                Err(error) => {
                    let message = error.message();
                    let near = nearest(message).map(|key| format!(" (did you mean `{key}`?)"));
                    let named = if message.contains(&name) { String::new() } else { format!("{name}: ") };
                    self.add(line, format!("{named}{message}{}", near.unwrap_or_default()));
                }
            }
        }
        good
    }

    fn cluster(&mut self, table: &DeTable<'_>) -> BTreeMap<String, Given<'a>> {
        let good = self.keys(table, "[cluster]");
        let Some(config) = read("[cluster]", &good) else { return good };
        for (key, why) in number_faults(&config.cluster) {
            let line = good.get(key).map_or(1, |given| given.line);
            self.add(line, why);
        }
        good
    }

    fn export(&mut self, table: &DeTable<'_>, at: usize) -> Export<'a> {
        let given = self.keys(table, "[[export]]\npath = \"/\"");
        let line = self.line(at);
        if !given.contains_key("path") {
            if !table.iter().any(|(key, _)| key.get_ref() == "path") {
                self.add(line, "missing field `path` of an [[export]]".to_owned());
            }
            return Export { given, table: None };
        }
        let table = read("[[export]]", &given).and_then(|config| config.exports.into_iter().next());
        if let Some(table) = &table {
            let at = |key: &str| given.get(key).map_or(line, |given| given.line);
            for (key, why) in export_faults(table) {
                self.add(at(key), format!("export path \"{}\": {why}", table.path));
            }
            for client in &table.clients {
                if let Err(error) = client.parse::<mds_server::export::Network>() {
                    self.add(at("clients"), format!("export {}: clients: {error}", table.path));
                }
            }
        }
        Export { given, table }
    }

    /// Values that are good by themselves and make no sense together.
    fn contradictions(&mut self, cluster: &BTreeMap<String, Given<'a>>, exports: &[Export<'a>]) {
        let config = read("[cluster]", cluster).unwrap_or_default().cluster;
        let at = |key: &str| cluster.get(key).map(|given| given.line);
        let seals = config.seal == super::Switch::On;
        if let (Some(line), true) = (at("service_interface"), config.service_addresses.is_empty()) {
            self.add(
                line,
                "service_interface is given, and no service_addresses that would be there".to_owned(),
            );
        }
        let (wait, lease) = (config.data_server_wait_seconds, config.data_server_lease_seconds);
        if let Some(line) = at("data_server_wait_seconds").filter(|_| 0 < wait && wait < lease) {
            let why = format!(
                "data_server_wait_seconds = {wait} is less than data_server_lease_seconds = {lease}: I/O would fail \
                 before another data server may take over"
            );
            self.add(line, why);
        }
        if let Some(line) = at("erasure_code").filter(|_| !seals && config.erasure_code.0.is_some()) {
            self.add(line, "erasure_code is given, and seal = \"off\": nothing would be encoded".to_owned());
        }
        for (index, export) in exports.iter().enumerate() {
            let Some(table) = &export.table else { continue };
            let at = |key: &str| export.given.get(key).map(|given| given.line);
            let before = exports[..index].iter().filter_map(|other| other.table.as_ref());
            if let Some(line) = at("path").filter(|_| before.clone().any(|other| other.path == table.path)) {
                self.add(line, format!("export path \"{}\": {TWICE}", table.path));
            }
            if let Some(line) = at("stripes").filter(|_| 1 < table.stripes && !table.pnfs) {
                self.add(
                    line,
                    "stripes is above 1, and pnfs = false: there are no layouts to stripe".to_owned(),
                );
            }
            if let Some(line) = at("erasure_code").filter(|_| !seals) {
                self.add(
                    line,
                    "erasure_code is given, and seal = \"off\": nothing would be encoded".to_owned(),
                );
            }
            let squashes = !matches!(table.squash, super::SquashName::None);
            for key in ["anonymous_uid", "anonymous_gid"] {
                if let Some(line) = at(key).filter(|_| !squashes) {
                    self.add(line, format!("{key} is given, and squash = \"none\": it is never used"));
                }
            }
        }
    }
}

/// What these keys come to together.
fn read(head: &str, given: &BTreeMap<String, Given<'_>>) -> Option<Config> {
    let lines = given.iter().map(|(key, given)| format!("{key:?} = {}\n", given.value));
    toml::from_str(&format!("{head}\n{}", lines.collect::<String>())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        let pair = |fault: Fault| (fault.line.unwrap_or(0), fault.message);
        find_faults(text).into_iter().map(pair).collect()
    }

    #[test]
    fn a_good_file_has_no_fault() {
        for text in [
            "",
            "[cluster]\nlease_seconds = 30\nservice_addresses = [\n  \"10.0.0.100/24\",\n]\n",
            "[[export]]\npath = \"/\"\nsquash = \"root\"\nanonymous_uid = 5\n[[export]]\npath = \"/b\"\nstripes = 2\n",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn the_documented_file_has_no_fault() {
        let documented = include_str!("../../../docs/admin/configuration.md");
        let (_, behind) = documented.split_once("```toml\n").unwrap();
        let (text, _) = behind.split_once("```").unwrap();
        assert!(text.contains("[cluster]") && text.contains("[[export]]"), "{text}");
        assert_eq!(found(text), []);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let text = "\
[cluster]
lese_seconds = 30
hot_copies = 7
seal = \"onn\"
recall_seconds = \"long\"
service_addresses = [\"10.0.0.1\"]

[[export]]
path = \"data\"
readonly = true
clients = [\"10.0.0.0/40\", \"elsewhere\"]
stripes = 3

[[export]]
squash = \"rot\"

[exports]
path = \"/\"
";
        let found = found(text);
        for (line, words) in [
            (2, "unknown field `lese_seconds`"),
            (2, "did you mean `lease_seconds`"),
            (3, "hot_copies = 7: expected 1 to 3"),
            (4, "did you mean `on`"),
            (5, "recall_seconds: invalid type: string"),
            (6, "ADDRESS/BITS"),
            (9, "expected an absolute path"),
            (10, "did you mean `read_only`"),
            (11, "0 to 32"),
            (11, "elsewhere"),
            (12, "stripes = 3: expected 1, 2, 4 or 8"),
            (14, "missing field `path`"),
            (15, "did you mean `root`"),
            (17, "did you mean `export`"),
        ] {
            assert!(
                found.iter().any(|(at, why)| *at == line && why.contains(words)),
                "{line} {words}: {found:#?}"
            );
        }
        assert_eq!(found.len(), 13, "and nothing else: {found:#?}");
    }

    #[test]
    fn values_that_contradict_each_other_are_faults() {
        for (line, words, text) in [
            (2, "no service_addresses", "[cluster]\nservice_interface = \"eth0\"\n"),
            (3, "I/O would fail", "[cluster]\ndata_server_lease_seconds = 9\ndata_server_wait_seconds = 8\n"),
            (3, "nothing would be encoded", "[cluster]\nseal = \"off\"\nerasure_code = \"4+2\"\n"),
            (4, "exported twice", "[[export]]\npath = \"/a\"\n[[export]]\npath = \"/a\"\n"),
            (3, "no layouts", "[[export]]\npath = \"/a\"\nstripes = 2\npnfs = false\n"),
            (3, "never used", "[[export]]\npath = \"/a\"\nanonymous_gid = 7\n"),
        ] {
            let found = found(text);
            assert!(
                found.len() == 1 && found[0].0 == line && found[0].1.contains(words),
                "{words}: {found:?}"
            );
        }
    }

    #[test]
    fn lines_that_are_no_toml_hide_no_others() {
        let found = found("[cluster]\nlease_seconds =\nhot_copies = 9\n");
        assert!(found.iter().any(|(line, _)| *line == 2), "{found:?}");
        assert!(found.iter().any(|(line, why)| *line == 3 && why.contains("expected 1 to 3")), "{found:?}");
    }
}
