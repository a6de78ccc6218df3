//! Exports as the control protocol carries them.
//!
//! Spec: docs/protocol/admin.md §8.

use layout::ec::Profile;
use wire_nfs::control::admin::NamedCode;
use wire_nfs::control::exports::{ExportEntry, NetworkText, Squashing};

use super::{Anonymous, Export, NetworkError, Squash};

/// Why an entry is no valid export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A client is not a network.
    #[error("export path \"{path}\": clients: {error}")]
    Client {
        /// Path of the export.
        path: String,
        /// The cause.
        error: NetworkError,
    },
    /// There is no such code.
    #[error(
        "export path \"{path}\": {data}+{parity} is no erasure code: 1+0, 1+1, 2+1, 4+2, 6+3 and 8+4 are"
    )]
    Code {
        /// Path of the export.
        path: String,
        /// Its number of data blocks.
        data: u32,
        /// Its number of parity blocks.
        parity: u32,
    },
}

/// The wire form of an export.
#[must_use]
pub fn entry(export: &Export) -> ExportEntry {
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    ExportEntry {
        path: export.path.clone(),
        read_only: export.read_only,
        squash: match export.squash {
            Squash::None => Squashing::None,
            Squash::Root => Squashing::Root,
            Squash::All => Squashing::All,
        },
        anonymous_uid: export.anonymous.uid,
        anonymous_gid: export.anonymous.gid,
        clients: export.clients.iter().map(|network| NetworkText(network.to_string())).collect(),
        pnfs: export.pnfs,
        stripes: export.stripes,
        code: export.code.map(|code| NamedCode { data: small(code.data()), parity: small(code.parity()) }),
        secure: export.secure,
    }
}

/// Decodes an export. [`check`](super::check) decides whether it may be in a list.
///
/// # Errors
/// [`EntryError`].
pub fn export(entry: ExportEntry) -> Result<Export, EntryError> {
    let ExportEntry { path, clients, code, .. } = entry;
    let network = |NetworkText(text): NetworkText| {
        text.parse().map_err(|error| EntryError::Client { path: path.clone(), error })
    };
    let clients = clients.into_iter().map(network).collect::<Result<_, _>>()?;
    let profile = |NamedCode { data, parity }| {
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let found = Profile::of(size(data), size(parity));
        found.ok_or_else(|| EntryError::Code { path: path.clone(), data, parity })
    };
    let code = code.map(profile).transpose()?;
    Ok(Export {
        read_only: entry.read_only,
        squash: match entry.squash {
            Squashing::None => Squash::None,
            Squashing::Root => Squash::Root,
            Squashing::All => Squash::All,
        },
        anonymous: Anonymous { uid: entry.anonymous_uid, gid: entry.anonymous_gid },
        clients,
        pnfs: entry.pnfs,
        stripes: entry.stripes,
        code,
        secure: entry.secure,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_survives_encoding() {
        let all = Export {
            path: "/a".to_owned(),
            read_only: true,
            squash: Squash::Root,
            anonymous: Anonymous { uid: 1, gid: 2 },
            clients: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/64".parse().unwrap()],
            pnfs: false,
            stripes: 8,
            code: Some(Profile::SixPlusThree),
            secure: false,
        };
        for one in [all.clone(), Export::everything()] {
            assert_eq!(export(entry(&one)), Ok(one));
        }
        let strange = ExportEntry { clients: vec![NetworkText("10.0.0.0/33".to_owned())], ..entry(&all) };
        assert!(export(strange).unwrap_err().to_string().contains("\"/a\": clients: `33`"));
        let strange = ExportEntry { code: Some(NamedCode { data: 4, parity: 3 }), ..entry(&all) };
        assert!(export(strange).unwrap_err().to_string().contains("4+3 is no erasure code"));
    }
}
