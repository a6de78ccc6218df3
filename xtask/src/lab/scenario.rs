//! A scenario: a name, what it proves, and a function that plays it.

use anyhow::Result;

use super::stage::Stage;

/// One row of a group's table.
pub(crate) struct Scenario {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    /// What is known when it passes, for `--list` and docs/lab.md.
    pub(crate) proves: &'static str,
    pub(crate) needs: Needs,
    pub(crate) play: fn(&mut Stage) -> Result<()>,
}

/// Where a scenario makes sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Needs {
    /// Any server; the mount stands in both guests and the scenario has an empty folder there.
    Mount,
    /// Any server; nothing is mounted, and what the scenario mounts it unmounts.
    NoMount,
    /// As `NoMount`, and data servers with addresses of their own: only ours.
    DataServers,
}
