//! `shoal admin key rotate cluster`: the three steps in which the cluster key is replaced beside
//! clients at work. Each changes the key file and nothing else: no server is asked, and no key is
//! sent.
//!
//! Spec: docs/formats/key.md; docs/protocol/control.md §1.

use std::path::Path;

use anyhow::{Context, bail};
use env::Entropy;
use env::os::OsEntropy;
use wire_nfs::control::ClusterKey;
use wire_nfs::control::keyring::{Accepted, Ring};

use super::outcome::{Done, heed};
use crate::args::{Admin, KeyStep};
use crate::key;

/// Runs the command.
///
/// # Errors
/// If the file is not in the state before the step, is not one with the whole key, or cannot be
/// written.
pub(super) fn rotate_cluster_key(admin: &Admin, step: KeyStep) -> anyhow::Result<()> {
    let words = take(&admin.cluster_key, step, &OsEntropy)?;
    heed(admin, "admin.key.rotate.cluster", &Done { done: true, words: &words, version: None, routes: None })
}

/// Takes the step, if it is not taken yet; says what is to be done then.
fn take(path: &Path, step: KeyStep, entropy: &dyn Entropy) -> anyhow::Result<String> {
    let ring =
        key::load_whole(path).context("--cluster-key FILE names the file with the whole cluster key")?;
    let after = after(&ring, step, || key::random(entropy)).with_context(|| path.display().to_string())?;
    let (taken, is_new) = match after {
        Some(after) => {
            key::replace(path, &after)?;
            (after, true)
        }
        None => (ring, false),
    };
    let done = if is_new { "" } else { "already done: " };
    Ok(format!("{done}{}", words(&taken, path)))
}

/// The ring after a step; `None` if this is it already.
fn after(ring: &Ring, step: KeyStep, make: impl FnOnce() -> ClusterKey) -> anyhow::Result<Option<Ring>> {
    let active = ring.active();
    Ok(match (step, ring.accepted()) {
        (KeyStep::Accept, None) => Some(Ring::two(active.clone(), Accepted::Next(make()))?),
        (KeyStep::Use, Some(Accepted::Next(next))) => {
            Some(Ring::two(next.clone(), Accepted::Before(active.clone()))?)
        }
        (KeyStep::Drop, Some(Accepted::Before(_))) => Some(Ring::one(active.clone())),
        (KeyStep::Accept, Some(Accepted::Next(_)))
        | (KeyStep::Use, Some(Accepted::Before(_)))
        | (KeyStep::Drop, None) => None,
        (KeyStep::Accept, Some(Accepted::Before(before))) => bail!(
            "key {} has not been dropped yet: --step drop ends the replacement under way",
            before.fingerprint()
        ),
        (KeyStep::Use, None) => {
            bail!("there is one key, and none to take its place: begin with --step accept")
        }
        (KeyStep::Drop, Some(Accepted::Next(next))) => {
            bail!("key {} is not used yet: --step use comes first", next.fingerprint())
        }
    })
}

/// What the file has, and what is to be done with it.
fn words(ring: &Ring, path: &Path) -> String {
    let (active, file) = (ring.active().fingerprint(), path.display());
    let copy = format!("Put {file} on every metadata server, and keys derived from it on the others");
    match ring.accepted() {
        Some(Accepted::Next(key)) => format!(
            "key {active} is used, and {} accepted. {copy}; when all show {} as accepted: --step use",
            key.fingerprint(),
            key.fingerprint()
        ),
        Some(Accepted::Before(key)) => format!(
            "key {active} is used, and {} still accepted. {copy}; when all show {active} as active: --step drop",
            key.fingerprint()
        ),
        None => format!("key {active} is the only one. {copy}: each refuses the one before then"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::new([byte; 32])
    }

    /// Each step on each file: what is in it then, or why not.
    #[test]
    fn each_step_wants_the_one_before_it() {
        let one = Ring::one(key(1));
        let accept = Ring::two(key(1), Accepted::Next(key(2))).unwrap();
        let used = Ring::two(key(2), Accepted::Before(key(1))).unwrap();
        let made = |ring: &Ring, step| after(ring, step, || key(2)).map_err(|error| error.to_string());
        assert_eq!(made(&one, KeyStep::Accept), Ok(Some(accept.clone())));
        assert_eq!(made(&accept, KeyStep::Accept), Ok(None));
        assert_eq!(made(&accept, KeyStep::Use), Ok(Some(used.clone())));
        assert_eq!(made(&used, KeyStep::Use), Ok(None));
        assert_eq!(made(&used, KeyStep::Drop), Ok(Some(Ring::one(key(2)))));
        assert_eq!(made(&one, KeyStep::Drop), Ok(None));
        for (ring, step, words) in [
            (&one, KeyStep::Use, "begin with --step accept"),
            (&accept, KeyStep::Drop, "--step use comes first"),
            (&used, KeyStep::Accept, "--step drop ends"),
        ] {
            let refused = made(ring, step).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn three_steps_replace_the_key_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        let old = key::load_or_make(&path, &OsEntropy).unwrap().active().clone();
        let said = |step| take(&path, step, &OsEntropy).unwrap();
        let words = said(KeyStep::Accept);
        let new = key::load(&path).unwrap().accepted().unwrap().key().clone();
        assert!(words.contains(&old.fingerprint()) && words.contains(&new.fingerprint()), "{words}");
        assert_eq!(said(KeyStep::Accept), format!("already done: {words}"), "no third key is made");
        assert_eq!(key::load(&path).unwrap(), Ring::two(old.clone(), Accepted::Next(new.clone())).unwrap());
        said(KeyStep::Use);
        assert!(said(KeyStep::Use).starts_with("already done: "));
        assert_eq!(key::load(&path).unwrap(), Ring::two(new.clone(), Accepted::Before(old)).unwrap());
        said(KeyStep::Drop);
        assert!(said(KeyStep::Drop).starts_with("already done: "));
        assert_eq!(key::load(&path).unwrap(), Ring::one(new.clone()));
        let n7 = dir.path().join("n7.key");
        let derived = ClusterKey::data_server(new.for_data_server("n7").unwrap());
        key::write(&n7, &Ring::one(derived)).unwrap();
        let refused = take(&n7, KeyStep::Accept, &OsEntropy).unwrap_err();
        assert!(format!("{refused:#}").contains("whole cluster key"), "{refused:#}");
    }
}
