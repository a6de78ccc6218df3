//! `shoal admin key derive` and `show`: key files for one role; which keys a file has. Nothing is
//! sent anywhere.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use wire_nfs::control::ClusterKey;
use wire_nfs::control::keyring::{Accepted, Ring};

use super::outcome::{Done, heed};
use crate::args::{Admin, KeyRole};
use crate::output::print;
use crate::{json, key};

/// Writes a key file for one role.
///
/// # Errors
/// If the cluster key cannot be read or is not the whole one, or the file cannot be made.
pub(super) fn write_key(admin: &Admin, role: KeyRole, name: Option<&str>, out: &Path) -> Result<()> {
    let words = derive(&admin.cluster_key, role, name, out)?;
    heed(admin, "admin.key.derive", &Done { done: true, words: &words, version: None, routes: None })
}

fn derive(cluster_key: &Path, role: KeyRole, name: Option<&str>, out: &Path) -> Result<String> {
    let whole =
        key::load_whole(cluster_key).context("--cluster-key FILE names the key that the servers use")?;
    let write = |derive: &dyn Fn(&ClusterKey) -> Option<ClusterKey>| {
        key::write(out, &whole.derived(derive).context("the whole cluster key derives every other")?)
    };
    let file = out.display();
    match (role, name) {
        (KeyRole::DataServer, Some(name)) => {
            write(&|whole| whole.for_data_server(name).map(ClusterKey::data_server))?;
            Ok(format!(
                "{file}: with it a host can be data server {name} and nothing else: `shoal ds --cluster-key {file}`"
            ))
        }
        (KeyRole::Administrator, None) => {
            write(&|whole| whole.for_administrator().map(ClusterKey::administrator))?;
            Ok(format!(
                "{file}: with it `shoal admin --cluster-key {file}` can ask and change what administrators may, and nothing else"
            ))
        }
        (KeyRole::DataServer, None) => bail!("--role data-server needs --name"),
        (KeyRole::Administrator, Some(_)) => bail!("--name is for --role data-server"),
    }
}

/// Which keys a file has, as a document has it: never the keys.
#[derive(Serialize)]
pub(super) struct KeyFile {
    /// What its holder can be.
    pub(super) role: String,
    /// Fingerprint of the key with which connections are opened.
    pub(super) active: String,
    /// The other one that is taken, if there is one.
    pub(super) accepted: Option<AcceptedKey>,
}

/// A key that is taken besides the active one, as a document has it.
#[derive(Serialize)]
pub(super) struct AcceptedKey {
    /// Of the key.
    pub(super) fingerprint: String,
    /// `next`: it is to become the active one; `before`: it was.
    pub(super) place: &'static str,
}

impl KeyFile {
    pub(super) fn of(ring: &Ring) -> Self {
        let accepted = ring.accepted().map(|accepted| AcceptedKey {
            fingerprint: accepted.key().fingerprint(),
            place: match accepted {
                Accepted::Next(_) => "next",
                Accepted::Before(_) => "before",
            },
        });
        Self { role: ring.active().role(), active: ring.active().fingerprint(), accepted }
    }

    fn words(&self) -> String {
        let mut text = format!("role      {}\nactive    {}\naccepted  ", self.role, self.active);
        text += &match &self.accepted {
            None => "none besides".to_owned(),
            Some(AcceptedKey { fingerprint, place: "next" }) => format!("{fingerprint}, to be used next"),
            Some(AcceptedKey { fingerprint, .. }) => format!("{fingerprint}, used before"),
        };
        text
    }
}

/// Prints which keys a file has.
///
/// # Errors
/// If it cannot be read.
pub(super) fn show(admin: &Admin) -> Result<()> {
    let file = KeyFile::of(&key::load(&admin.cluster_key)?);
    if admin.json { print(json::document("admin.key.show", &file)?) } else { print(file.words()) }
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
        assert_eq!(n7.active().only_data_server(), whole.active().for_data_server("n7").as_ref());
        derive(&at("cluster.key"), KeyRole::Administrator, None, &at("admin.key")).unwrap();
        assert_eq!(key::load(&at("admin.key")).unwrap().active().role(), "an administrator");
        for from in ["n7.key", "admin.key"] {
            let refused = derive(&at(from), KeyRole::DataServer, Some("n8"), &at("n8.key")).unwrap_err();
            assert!(format!("{refused:#}").contains("only"), "{refused:#}");
        }
        assert!(derive(&at("cluster.key"), KeyRole::Administrator, Some("n7"), &at("x.key")).is_err());
        assert!(derive(&at("cluster.key"), KeyRole::DataServer, None, &at("x.key")).is_err());
        assert!(!at("n8.key").exists() && !at("x.key").exists());
    }

    #[test]
    fn of_two_keys_two_are_derived_and_shown_by_their_fingerprints() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let keys = [[1; 32], [2; 32]].map(ClusterKey::new);
        let [one, other] = keys.clone();
        let ring = Ring::two(one, Accepted::Before(other)).unwrap();
        key::write(&at("cluster.key"), &ring).unwrap();
        derive(&at("cluster.key"), KeyRole::DataServer, Some("n7"), &at("n7.key")).unwrap();
        let n7 = key::load(&at("n7.key")).unwrap();
        let held: Vec<_> = n7.keys().map(|key| key.only_data_server().cloned()).collect();
        assert_eq!(held, keys.each_ref().map(|key| key.for_data_server("n7")));
        let [active, before] = keys.map(|key| key.fingerprint());
        for (ring, role) in [(ring, "every node"), (n7, "data server n7")] {
            let words = KeyFile::of(&ring).words();
            let golden = format!("role      {role}\nactive    {active}\naccepted  {before}, used before");
            assert_eq!(words, golden);
        }
    }
}
