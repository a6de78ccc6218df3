//! `shoal admin exports`: what the cluster exports, shown as a table, or set from a configuration
//! file.

use std::path::Path;

use comfy_table::Table;
use mds_server::export::entry::entry;
use mds_server::report::ExportLine;
use wire_nfs::control::admin::Ruling;
use wire_nfs::control::exports::SetExports;

use super::act::{control, unasked};
use super::empty_table::empty_table;
use super::outcome::{Done, heed};
use crate::args::Admin;
use crate::config;

/// Has the cluster export what a file says.
///
/// # Errors
/// If the file or its exports are invalid, no metadata server answers, or the leader refuses.
pub(super) async fn set(admin: &Admin, file: &Path, if_version: Option<u64>) -> anyhow::Result<()> {
    let exports = config::exports_or_everything(&config::load(file)?)?;
    let asked = SetExports { replaces: if_version, exports: exports.iter().map(entry).collect() };
    let ruling = control(admin)?.set_exports(&asked).await.map_err(|error| unasked(admin, &error))?;
    let version = Some(ruling.version);
    let ruling = Ruling { done: ruling.done, words: ruling.words };
    heed(admin, "admin.exports.set", &Done { version, ..Done::of(&ruling) })
}

/// All of them.
pub(super) fn table(lines: &[ExportLine]) -> Table {
    let mut table =
        empty_table(&["Id", "Path", "Access", "Squash", "Clients", "Ports", "pNFS", "Code", "Mount with"]);
    for export in lines {
        let id = export.id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let squash = match (export.squash.as_str(), export.anonymous) {
            ("none", _) | (_, None) => export.squash.clone(),
            (squash, Some((uid, gid))) => format!("{squash} to {uid}:{gid}"),
        };
        let clients = if export.clients.is_empty() { "all".to_owned() } else { export.clients.join(", ") };
        let ports = if export.secure == Some(true) { "below 1024" } else { "all" };
        let pnfs = match (export.pnfs, export.stripes) {
            (false, _) => "no".to_owned(),
            (true, 1) => "yes".to_owned(),
            (true, stripes) => format!("up to {stripes} stripes"),
        };
        let code = export.erasure_code.as_deref().unwrap_or("the cluster's");
        table.add_row([
            &id,
            &export.path,
            &export.access,
            &squash,
            &clients,
            ports,
            &pnfs,
            code,
            &export.mount,
        ]);
    }
    table
}

/// What there is to say of them besides.
pub(super) fn words(lines: &[ExportLine]) -> Option<&'static str> {
    lines.iter().any(|export| export.secure == Some(true)).then_some(
        "Ports below 1024: requests from other source ports are refused (\"Operation not permitted\"). `secure = false` in the \
         [[export]] table takes requests from every port: `shoal admin exports set`.",
    )
}

#[cfg(test)]
mod tests {
    use layout::ec::Profile;
    use mds_server::export::{Export, Squash};
    use mds_server::handle::ExportId;

    use super::*;

    #[test]
    fn exports_show_their_number_and_their_options() {
        let line = |id, export: Export| ExportLine {
            mount: "mount -t nfs4".to_owned(),
            ..ExportLine::of(ExportId(id), &export)
        };
        let own = Export {
            path: "/own".to_owned(),
            squash: Squash::Root,
            code: Some(Profile::SixPlusThree),
            ..Export::everything()
        };
        let text = table(&[line(317, own), line(0, Export::everything())]).to_string();
        for word in ["317", "mount -t nfs4", "6+3", "the cluster's", "root to 65534:65534", "none"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let any = [line(0, Export::any_port())];
        assert!(text.contains("below 1024") && !table(&any).to_string().contains("1024"), "{text}");
        assert!(
            words(&[line(0, Export::everything())]).is_some_and(|words| words.contains("secure = false"))
        );
        assert_eq!(words(&any), None);
        // What a server of before says is read as well.
        let old: ExportLine = serde_json::from_str(
            r#"{"path":"/","access":"rw","squash":"all","clients":[],"pnfs":true,"stripes":1}"#,
        )
        .unwrap();
        let text = table(&[old]).to_string();
        assert!(text.contains(" -") && text.contains("all"), "{text}");
    }
}
