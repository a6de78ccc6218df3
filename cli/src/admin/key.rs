//! `shoal admin key`: key files for one role. Nothing is sent anywhere.

use std::path::Path;

use anyhow::{Context, bail};

use super::{Done, heed};
use crate::args::{Admin, KeyRole};
use crate::key;

/// Runs the command.
///
/// # Errors
/// If the cluster key cannot be read or is not the whole one, or the file cannot be made.
pub(super) fn run(admin: &Admin, role: KeyRole, name: Option<&str>, out: &Path) -> anyhow::Result<()> {
    let words = derive(&admin.cluster_key, role, name, out)?;
    heed(admin, "admin.key.derive", &Done { done: true, words: &words, version: None, routes: None })
}

fn derive(cluster_key: &Path, role: KeyRole, name: Option<&str>, out: &Path) -> anyhow::Result<String> {
    let whole =
        key::load_whole(cluster_key).context("--cluster-key FILE names the key that the servers use")?;
    let only_whole = "the whole cluster key derives every other";
    match (role, name) {
        (KeyRole::DataServer, Some(name)) => {
            key::write_data_server(out, &whole.for_data_server(name).context(only_whole)?)?;
            let file = out.display();
            Ok(format!(
                "{file}: with it a host can be data server {name} and nothing else: `shoal ds --cluster-key {file}`"
            ))
        }
        (KeyRole::Administrator, None) => {
            key::write_administrator(out, &whole.for_administrator().context(only_whole)?)?;
            let file = out.display();
            Ok(format!(
                "{file}: with it `shoal admin --cluster-key {file}` can ask and change what administrators may, and nothing else"
            ))
        }
        (KeyRole::DataServer, None) => bail!("--role data-server needs --name"),
        (KeyRole::Administrator, Some(_)) => bail!("--name is for --role data-server"),
    }
}

#[cfg(test)]
mod tests {
    use env::os::OsEntropy;

    use super::*;

    #[test]
    fn keys_for_roles_are_derived_from_the_whole_one_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let whole = key::load_or_make(&at("cluster.key"), &OsEntropy).unwrap();
        let words = derive(&at("cluster.key"), KeyRole::DataServer, Some("n7"), &at("n7.key")).unwrap();
        assert!(words.contains("data server n7 and nothing else"), "{words}");
        let n7 = key::load(&at("n7.key")).unwrap();
        assert_eq!(n7.only_data_server(), whole.for_data_server("n7").as_ref());
        derive(&at("cluster.key"), KeyRole::Administrator, None, &at("admin.key")).unwrap();
        assert_eq!(key::load(&at("admin.key")).unwrap().role(), "an administrator");
        for from in ["n7.key", "admin.key"] {
            let refused = derive(&at(from), KeyRole::DataServer, Some("n8"), &at("n8.key")).unwrap_err();
            assert!(format!("{refused:#}").contains("only"), "{refused:#}");
        }
        assert!(derive(&at("cluster.key"), KeyRole::Administrator, Some("n7"), &at("x.key")).is_err());
        assert!(derive(&at("cluster.key"), KeyRole::DataServer, None, &at("x.key")).is_err());
        assert!(!at("n8.key").exists() && !at("x.key").exists());
    }
}
