//! Reads a server's key file again and again, so that the cluster key is replaced beside clients at
//! work; shows which keys are held.
//!
//! INVARIANT: a server holds the keys of the last file that was good: one that is bad, of another
//! role, or without a key in common with what is held, changes nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use env::Clock;
use env::os::OsClock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use wire_nfs::control::Keyring;
use wire_nfs::control::keyring::{Accepted, Ring};

use super::load;
use crate::output::reasons;

/// How often the file is read: it is small.
const LOOK_MS: u64 = 2_000;

/// Reads a file again for as long as this lives.
pub(crate) struct Watch(JoinHandle<()>);

impl Watch {
    /// Begins to, and shows what is held among a server's metrics.
    pub(crate) fn begin(path: &Path, keys: &Keyring, registry: &mut Registry) -> Self {
        registry.register_collector(Box::new(Shown(keys.clone())));
        say(&keys.held(), "holds the cluster key");
        Self(tokio::spawn(run(path.to_owned(), keys.clone())))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(path: PathBuf, keys: Keyring) {
    let (clock, mut complaint) = (OsClock::new(), String::new());
    loop {
        clock.sleep_ms(LOOK_MS).await;
        let from = path.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || load(&from)).await else { continue };
        look(&path, read, &keys, &mut complaint);
    }
}

/// Takes what was read, or says once why not.
fn look(path: &Path, read: anyhow::Result<Ring>, keys: &Keyring, complaint: &mut String) {
    let why = match read {
        Ok(ring) => match keys.replace(ring) {
            Ok(true) => {
                say(&keys.held(), "the key file was read again: holds the cluster key");
                String::new()
            }
            Ok(false) => String::new(),
            Err(error) => format!("cluster key {}: {error}", path.display()),
        },
        Err(error) => reasons(&error),
    };
    if !why.is_empty() && why != *complaint {
        tracing::warn!("{why}; the keys from before are kept");
    }
    *complaint = why;
}

fn say(ring: &Ring, what: &str) {
    let accepted = ring.accepted().map(|accepted| accepted.key().fingerprint());
    let active = ring.active().fingerprint();
    tracing::info!(%active, accepted = accepted.as_deref().unwrap_or("none"), "{what}");
}

/// Which keys are held, as metrics.
struct Shown(Keyring);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(..)")
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (ring, gauge) = (self.0.held(), ConstGauge::new(1_u64));
        let help = "1 for each cluster key that this server holds";
        let mut family =
            encoder.encode_descriptor("shoal_cluster_key_info", help, None, gauge.metric_type())?;
        let accepted = ring.accepted().map(Accepted::key);
        for (key, held_as) in [(Some(ring.active()), "active"), (accepted, "accepted")] {
            let Some(key) = key else { continue };
            let labels = [("fingerprint", key.fingerprint()), ("use", held_as.to_owned())];
            gauge.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wire_nfs::control::ClusterKey;

    use super::super::{replace, write};
    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::new([byte; 32])
    }

    fn shown(registry: &Registry) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, registry).unwrap();
        page
    }

    #[test]
    fn what_is_held_is_what_the_last_good_file_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        write(&path, &Ring::one(key(1))).unwrap();
        let (keys, mut complaint) = (Keyring::from(load(&path).unwrap()), String::new());
        let mut again = |keys: &Keyring| {
            look(&path, load(&path), keys, &mut complaint);
            complaint.clone()
        };
        assert_eq!(again(&keys), "");
        let two = Ring::two(key(1), Accepted::Next(key(2))).unwrap();
        replace(&path, &two).unwrap();
        assert_eq!(again(&keys), "");
        assert_eq!(*keys.held(), two);
        let n7 = ClusterKey::data_server(key(1).for_data_server("n7").unwrap());
        for (bad, words) in
            [(Ring::one(key(3)), "no key in common"), (Ring::one(n7), "data server n7, the other for")]
        {
            replace(&path, &bad).unwrap();
            let why = again(&keys);
            assert!(why.contains(words) && why.contains("cluster.key"), "{why}");
            assert_eq!(*keys.held(), two);
        }
        std::fs::write(&path, "0102").unwrap();
        assert!(again(&keys).contains("64 hex digits"));
        std::fs::remove_file(&path).unwrap();
        assert!(again(&keys).contains("cluster.key"));
        assert_eq!(*keys.held(), two);
        write(&path, &Ring::one(key(2))).unwrap();
        assert_eq!(again(&keys), "");
        assert_eq!(*keys.held(), Ring::one(key(2)));
    }

    #[test]
    fn metrics_tell_which_keys_are_held() {
        let keys = Keyring::from(Ring::two(key(1), Accepted::Next(key(2))).unwrap());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Shown(keys.clone())));
        let line = |byte: u8, held_as: &str| {
            let fingerprint = key(byte).fingerprint();
            format!("shoal_cluster_key_info{{fingerprint=\"{fingerprint}\",use=\"{held_as}\"}} 1\n")
        };
        let page = shown(&registry);
        assert!(page.contains(&line(1, "active")) && page.contains(&line(2, "accepted")), "{page}");
        keys.replace(Ring::one(key(2))).unwrap();
        let page = shown(&registry);
        assert!(page.contains(&line(2, "active")) && !page.contains("accepted"), "{page}");
    }
}
