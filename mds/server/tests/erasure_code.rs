//! The erasure code of an export, from OPEN through it to the records of the file's extents.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use client::admin::AdminControl;
use layout::ec::Profile;
use mds_server::export::Export;
use rig::Rig;
use rig::data::{data_server, key, layout_of, open_through};
use wire_nfs::control::admin::NamedCode;
use wire_nfs::v4::layout::Iomode;

/// Spec: docs/formats/namespace.md: extents carry the code of the export that they were created
/// through, and no write through another changes that.
#[tokio::test]
async fn extents_have_the_code_of_the_export_they_were_created_through() {
    let export = |path: &str, code| Export { path: path.to_owned(), code, ..Export::any_port() };
    let (two, four) = (Some(Profile::TwoPlusOne), Some(Profile::FourPlusTwo));
    let rig = Rig::with_exports(vec![
        export("/", None),
        export("/four", four),
        export("/two", two),
        export("/plain", None),
    ])
    .await;
    let _data_server = data_server(&rig).await;
    let mut client = rig.client(b"codes").await;
    for directory in ["four", "two", "plain"] {
        let file = open_through(&mut client, directory, "file").await;
        let shown = (file.0.clone(), layout_of(&mut client, &file, 0, Iomode::ReadWrite).await);
        layout_of(&mut client, &shown, 1, Iomode::ReadWrite).await;
    }
    let control = rig.server.as_ref().unwrap().control_address();
    let admin = AdminControl::new(&rig.env, vec![control], key());
    let code = |data, parity| Some(NamedCode { data, parity });
    for (path, expected) in [("/four/file", code(4, 2)), ("/two/file", code(2, 1)), ("/plain/file", None)] {
        let file = admin.verify(path.as_bytes()).await.unwrap();
        let codes: Vec<_> = file.extents.iter().map(|extent| extent.code).collect();
        assert_eq!(codes, [expected; 2], "{path}");
    }
}
