//! The configuration file: TOML, every key optional, a wrong key or value refused with its line and
//! what was expected.
//!
//! `shoal serve` needs no file at all; flags win over the file.

pub(crate) mod faults;

use std::path::Path;

use env::ServiceAddress;
use layout::ec::Profile;
use mds_server::export::{Anonymous, Export, Network, Squash};
use mds_server::limits::STRIPES_MAX;
use serde::Deserialize;

/// Service addresses of a cluster.
pub(crate) const SERVICE_ADDRESSES_MAX: usize = 64;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Cluster-wide settings.
    #[serde(default)]
    pub(crate) cluster: Cluster,
    /// Exports, one table each.
    #[serde(default, rename = "export")]
    pub(crate) exports: Vec<ExportTable>,
}

/// `[cluster]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    /// Seconds without a sign of life after which a client's state goes.
    pub(crate) lease_seconds: u32,
    /// Seconds without a sign of life after which a data server stops serving and is left out of
    /// layouts.
    pub(crate) data_server_lease_seconds: u32,
    /// Files up to this size stay with the metadata, bytes.
    pub(crate) inline_bytes: u32,
    /// Seconds a client may take to return a recalled layout before its handles are fenced.
    pub(crate) recall_seconds: u32,
    /// Seconds for which the server keeps opens and locks of a client whose lease has run out,
    /// unless another client's request conflicts with them.
    pub(crate) courtesy_seconds: u32,
    /// Layouts a client may hold before it is asked to give back those for reading that it does not
    /// use.
    pub(crate) layouts_kept: u32,
    /// Seconds that I/O waits for a data server whose lease has run out, before it fails.
    pub(crate) data_server_wait_seconds: u32,
    /// Data servers that keep each piece of data, where there are as many. One less may be lost
    /// without losing any.
    pub(crate) hot_copies: u32,
    /// Whether extents that rest are sealed and erasure-coded.
    pub(crate) seal: Switch,
    /// Milliseconds that an extent rests before it is sealed.
    pub(crate) seal_idle_ms: u32,
    /// The code of new groups.
    pub(crate) erasure_code: Code,
    /// Milliseconds that a sealed extent waits for others before it makes a group that is not full.
    pub(crate) group_wait_ms: u32,
    /// Milliseconds that a data server may be dead before its sealed extents are made again
    /// elsewhere.
    pub(crate) repair_grace_ms: u32,
    /// Whether data move by themselves until each data server has its share.
    pub(crate) rebalance: Switch,
    /// Whether reads move access times.
    pub(crate) atime: AccessTime,
    /// Addresses that follow the leading metadata server.
    pub(crate) service_addresses: Vec<Service>,
    /// The network interface that they belong on.
    pub(crate) service_interface: Option<String>,
}

/// A service address as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Service(pub(crate) ServiceAddress);

impl TryFrom<String> for Service {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        given
            .parse()
            .map(Self)
            .map_err(|error: env::addresses::BadServiceAddress| format!("service_addresses: {error}"))
    }
}

/// When reads move access times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessTime {
    /// When the access time is not later than the last change, or a day old.
    Relatime,
    /// Never.
    Never,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    /// Not done.
    Off,
    /// Done.
    On,
}

/// `"auto"`, or a profile such as `"4+2"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Code(pub(crate) Option<Profile>);

impl TryFrom<String> for Code {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        match given.as_str() {
            "auto" => Ok(Self(None)),
            profile => profile.parse().map(|profile| Self(Some(profile))).map_err(|_| {
                format!("erasure_code = \"{given}\": expected \"auto\", 1+0, 1+1, 2+1, 4+2, 6+3 or 8+4")
            }),
        }
    }
}

/// A profile; `"auto"` is the cluster's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct ExportCode(Profile);

impl TryFrom<String> for ExportCode {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        given.parse().map(Self).map_err(|_| {
            format!(
                "erasure_code = \"{given}\" of an export: expected 1+0, 1+1, 2+1, 4+2, 6+3 or 8+4, or no such line: then it is the cluster's"
            )
        })
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            lease_seconds: 60,
            data_server_lease_seconds: 3,
            inline_bytes: 16 << 10,
            recall_seconds: 30,
            courtesy_seconds: 86_400,
            layouts_kept: 16_384,
            data_server_wait_seconds: 20,
            hot_copies: 2,
            seal: Switch::On,
            seal_idle_ms: 30_000,
            erasure_code: Code::default(),
            group_wait_ms: 30_000,
            repair_grace_ms: 60_000,
            rebalance: Switch::On,
            atime: AccessTime::Relatime,
            service_addresses: Vec::new(),
            service_interface: None,
        }
    }
}

/// `[[export]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportTable {
    path: String,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    squash: SquashName,
    #[serde(default = "anonymous_id")]
    anonymous_uid: u32,
    #[serde(default = "anonymous_id")]
    anonymous_gid: u32,
    #[serde(default)]
    clients: Vec<String>,
    #[serde(default = "yes")]
    pnfs: bool,
    #[serde(default = "one")]
    stripes: u32,
    erasure_code: Option<ExportCode>,
    #[serde(default = "yes")]
    secure: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SquashName {
    #[default]
    None,
    Root,
    All,
}

fn anonymous_id() -> u32 {
    Anonymous::default().uid
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

/// Why a configuration is refused: a message that names file, line, what was expected and what is
/// close.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(String);

/// Reads and checks a file.
///
/// # Errors
/// [`ConfigError`] if it cannot be read, has an unknown key, or a value that is out of its range.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| ConfigError(format!("{}: cannot be read: {e}", path.display())))?;
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
    let config: Config = toml::from_str(text).map_err(|e| ConfigError(explain(&e, text, name)))?;
    check(&config, text, name)?;
    Ok(config)
}

/// The exports of a checked configuration.
///
/// # Errors
/// [`ConfigError`] where a network does not parse.
pub(crate) fn exports(config: &Config) -> Result<Vec<Export>, ConfigError> {
    config.exports.iter().map(ExportTable::to_export).collect()
}

/// The same for a cluster: without any, the whole tree is exported.
///
/// # Errors
/// As [`exports`].
pub(crate) fn exports_or_everything(config: &Config) -> Result<Vec<Export>, ConfigError> {
    let exports = exports(config)?;
    Ok(if exports.is_empty() { vec![Export::everything()] } else { exports })
}

impl ExportTable {
    fn to_export(&self) -> Result<Export, ConfigError> {
        let clients = self
            .clients
            .iter()
            .map(|text| {
                text.parse::<Network>()
                    .map_err(|e| ConfigError(format!("export {}: clients: {e}", self.path)))
            })
            .collect::<Result<_, _>>()?;
        let squash = match self.squash {
            SquashName::None => Squash::None,
            SquashName::Root => Squash::Root,
            SquashName::All => Squash::All,
        };
        Ok(Export {
            path: self.path.clone(),
            read_only: self.read_only,
            squash,
            anonymous: Anonymous { uid: self.anonymous_uid, gid: self.anonymous_gid },
            clients,
            pnfs: self.pnfs,
            stripes: self.stripes,
            code: self.erasure_code.map(|code| code.0),
            secure: self.secure,
        })
    }
}

/// What is wrong with a path that is listed again.
const TWICE: &str = "exported twice; expected one [[export]] for each path";

/// One rule about a number: key, its value, the least and the most.
type NumberRule = (&'static str, u32, u32, u32);

/// Numbers of `[cluster]` that are out of their range: the key, and what is wrong.
fn number_faults(c: &Cluster) -> Vec<(&'static str, String)> {
    let rules: [NumberRule; 11] = [
        ("lease_seconds", c.lease_seconds, 5, 3600),
        ("data_server_lease_seconds", c.data_server_lease_seconds, 1, 3600),
        ("inline_bytes", c.inline_bytes, 0, 16 << 10),
        ("recall_seconds", c.recall_seconds, 1, 3600),
        ("courtesy_seconds", c.courtesy_seconds, 0, 30 * 86_400),
        ("layouts_kept", c.layouts_kept, 64, 262_144),
        ("data_server_wait_seconds", c.data_server_wait_seconds, 0, 86_400),
        ("hot_copies", c.hot_copies, 1, 3),
        ("seal_idle_ms", c.seal_idle_ms, 100, 86_400_000),
        ("group_wait_ms", c.group_wait_ms, 0, 86_400_000),
        ("repair_grace_ms", c.repair_grace_ms, 0, 86_400_000),
    ];
    let wrong = |(_, value, least, most): &NumberRule| *value < *least || *most < *value;
    let fault =
        |(key, value, least, most): NumberRule| (key, format!("{key} = {value}: expected {least} to {most}"));
    let mut faults: Vec<_> = rules.into_iter().filter(wrong).map(fault).collect();
    if SERVICE_ADDRESSES_MAX < c.service_addresses.len() {
        faults.push((
            "service_addresses",
            format!("service_addresses: expected {SERVICE_ADDRESSES_MAX} at most"),
        ));
    }
    faults
}

/// What is wrong with an export by itself: the key, and why.
fn export_faults(export: &ExportTable) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let bad = |component: &str| component.is_empty() || component == "." || component == "..";
    if !export.path.starts_with('/') {
        faults.push(("path", "expected an absolute path such as \"/\" or \"/projects\"".to_owned()));
    } else if export.path != "/" && export.path[1..].split('/').any(bad) {
        faults.push(("path", "expected no empty component, no `.` and no `..`".to_owned()));
    }
    if !export.stripes.is_power_of_two() || STRIPES_MAX < export.stripes {
        let why = format!("stripes = {}: expected 1, 2, 4 or {STRIPES_MAX}", export.stripes);
        faults.push(("stripes", why));
    }
    faults
}

fn check(config: &Config, text: &str, name: &str) -> Result<(), ConfigError> {
    if let Some((key, why)) = number_faults(&config.cluster).into_iter().next() {
        return Err(ConfigError(format!("{}: {why}", place(text, key, name))));
    }
    for (index, export) in config.exports.iter().enumerate() {
        let wrong = |why: &str| {
            let at = place(text, &format!("\"{}\"", export.path), name);
            Err(ConfigError(format!("{at}: export path \"{}\": {why}", export.path)))
        };
        if config.exports[..index].iter().any(|other| other.path == export.path) {
            return wrong(TWICE);
        }
        if let Some((_, why)) = export_faults(export).first() {
            return wrong(why);
        }
        export.to_export().map_err(|e| {
            let first = export.clients.iter().find(|c| c.parse::<Network>().is_err());
            ConfigError(format!("{}: {e}", place(text, first.map_or("clients", String::as_str), name)))
        })?;
    }
    // What has no line of its own: how long paths are, and all of it.
    mds_server::export::check(exports_or_everything(config)?.iter())
        .map_err(|error| ConfigError(format!("{name}: {error}")))
}

/// `FILE:LINE` of the first line that holds a word; `FILE` if none does.
fn place(text: &str, word: &str, name: &str) -> String {
    let line = text.lines().position(|line| line.contains(word));
    line.map_or_else(|| name.to_owned(), |index| format!("{name}:{}", index + 1))
}

/// Turns a TOML error into one line with a place, and the nearest known key for an unknown one.
fn explain(error: &toml::de::Error, text: &str, name: &str) -> String {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let at = line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
    let message = error.message();
    let near = nearest(message).map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default();
    format!("{at}: {message}{near}")
}

/// Serde says "unknown field `x`, expected one of `a`, `b`": picks the expected name closest to
/// what was written.
fn nearest(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next().filter(|_| message.starts_with("unknown "))?;
    quoted
        .map(|key| (distance(written, key), key))
        .min()
        .filter(|(d, key)| *d <= key.len() / 2)
        .map(|(_, k)| k)
}

/// Edit distance (Levenshtein), for names of a few dozen bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text, "shoal.toml").expect_err("must be refused").0
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parse("", "shoal.toml").unwrap();
        assert_eq!(config.cluster.lease_seconds, 60);
        assert!(exports(&config).unwrap().is_empty());
    }

    #[test]
    fn a_wrong_key_names_its_line_and_the_nearest_key() {
        let message = refused("[cluster]\nlease_seconds = 30\nlese_seconds = 30\n");
        assert!(message.starts_with("shoal.toml:3: unknown field `lese_seconds`"), "{message}");
        assert!(message.ends_with("(did you mean `lease_seconds`?)"), "{message}");
        let message = refused("[[export]]\npath = \"/\"\nreadonly = true\n");
        assert!(message.contains(":3:") && message.contains("did you mean `read_only`"), "{message}");
    }

    #[test]
    fn a_wrong_value_says_what_was_expected() {
        assert_eq!(
            refused("[cluster]\n\nlease_seconds = 1\n"),
            "shoal.toml:3: lease_seconds = 1: expected 5 to 3600"
        );
        let message = refused("[[export]]\npath = \"/\"\nsquash = \"rot\"\n");
        assert!(message.contains(":3:") && message.contains("did you mean `root`"), "{message}");
        let message = refused("[[export]]\npath = \"data\"\n");
        assert!(message.starts_with("shoal.toml:2:") && message.contains("absolute path"), "{message}");
        let message = refused("[[export]]\npath = \"/\"\nclients = [\"10.0.0.0/40\"]\n");
        assert!(message.starts_with("shoal.toml:3:") && message.contains("0 to 32"), "{message}");
    }

    #[test]
    fn sealing_and_rebalancing_are_on_and_take_their_options() {
        let defaults = parse("", "f").unwrap().cluster;
        assert_eq!((defaults.seal, defaults.erasure_code), (Switch::On, Code(None)));
        let text = "[cluster]\nseal = \"off\"\nerasure_code = \"4+2\"\ngroup_wait_ms = 0\n";
        let given = parse(text, "f").unwrap().cluster;
        assert_eq!((given.seal, given.erasure_code), (Switch::Off, Code(Some(Profile::FourPlusTwo))));
        let given = parse("[cluster]\nrebalance = \"off\"\n", "f").unwrap().cluster;
        assert_eq!((defaults.rebalance, given.rebalance), (Switch::On, Switch::Off));
        let given = parse("[cluster]\natime = \"never\"\n", "f").unwrap().cluster;
        assert_eq!((defaults.atime, given.atime), (AccessTime::Relatime, AccessTime::Never));
        let message = refused("[cluster]\nerasure_code = \"4+3\"\n");
        assert!(message.starts_with("shoal.toml:2:") && message.contains("expected \"auto\""), "{message}");
        let message = refused("[cluster]\nseal = \"onn\"\n");
        assert!(message.contains("did you mean `on`"), "{message}");
    }

    #[test]
    fn service_addresses_are_off_and_are_checked() {
        assert!(parse("", "f").unwrap().cluster.service_addresses.is_empty());
        let text = "[cluster]\nservice_addresses = [\"10.0.0.100/24\", \"fd00::5/64\"]\nservice_interface = \"eth1\"\n";
        let cluster = parse(text, "f").unwrap().cluster;
        let written: Vec<String> = cluster.service_addresses.iter().map(|one| one.0.to_string()).collect();
        assert_eq!(written, ["10.0.0.100/24", "fd00::5/64"]);
        assert_eq!(cluster.service_interface.as_deref(), Some("eth1"));
        let message = refused("[cluster]\n\nservice_addresses = [\"10.0.0.100\"]\n");
        assert!(message.starts_with("shoal.toml:3:") && message.contains("ADDRESS/BITS"), "{message}");
        let many = vec!["\"10.0.0.1/24\""; SERVICE_ADDRESSES_MAX + 1].join(",");
        let message = refused(&format!("[cluster]\nservice_addresses = [{many}]\n"));
        assert!(message.contains("at most"), "{message}");
    }

    #[test]
    fn exports_take_their_options() {
        let text = "[[export]]\npath = \"/p\"\nread_only = true\nsquash = \"all\"\nanonymous_uid = 5\npnfs = false\nstripes = 4\n";
        let list = exports(&parse(text, "f").unwrap()).unwrap();
        assert_eq!(list[0].squash, Squash::All);
        assert_eq!(list[0].anonymous.uid, 5);
        assert!(list[0].read_only && !list[0].pnfs);
        assert_eq!(list[0].stripes, 4);
        let list = exports(&parse("[[export]]\npath = \"/\"\n", "f").unwrap()).unwrap();
        assert_eq!(list[0].stripes, 1, "stripes are off");
        assert!(list[0].secure, "ports are looked at");
        let list = exports(&parse("[[export]]\npath = \"/\"\nsecure = false\n", "f").unwrap()).unwrap();
        assert!(!list[0].secure);
        for stripes in [0, 3, 16] {
            let message = refused(&format!("[[export]]\npath = \"/\"\nstripes = {stripes}\n"));
            assert!(message.starts_with("shoal.toml:2:"), "{message}");
            assert!(message.ends_with(&format!("stripes = {stripes}: expected 1, 2, 4 or 8")), "{message}");
        }
    }

    #[test]
    fn an_export_may_have_a_code_of_its_own() {
        let text = "[cluster]\nerasure_code = \"2+1\"\n[[export]]\npath = \"/a\"\nerasure_code = \"4+2\"\n[[export]]\npath = \"/b\"\n";
        let codes: Vec<_> = exports(&parse(text, "f").unwrap()).unwrap().iter().map(|one| one.code).collect();
        assert_eq!(codes, [Some(Profile::FourPlusTwo), None]);
        for wrong in ["4+3", "auto", "4 + 2", ""] {
            let message = refused(&format!("[[export]]\npath = \"/\"\nerasure_code = \"{wrong}\"\n"));
            let named = message.starts_with("shoal.toml:3:") && message.contains(&format!("\"{wrong}\""));
            assert!(named && message.contains("4+2, 6+3 or 8+4, or no such line"), "{message}");
        }
        let message = refused("[[export]]\npath = \"/\"\nerasure_cod = \"4+2\"\n");
        assert!(message.contains("did you mean `erasure_code`"), "{message}");
    }
}
