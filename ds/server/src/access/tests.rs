//! Ranges, what a handle allows, and exports and clocks as metadata servers tell them.

use layout::{EXTENT_BYTES, Epoch, Iomode, Issued, Role};

use super::*;

#[test]
fn offsets_are_of_the_file() {
    let extent = ExtentId { ino: 1, index: 2 };
    assert_eq!(offset_in_extent(extent, 2 * EXTENT_BYTES), Some(0));
    assert_eq!(offset_in_extent(extent, 3 * EXTENT_BYTES), Some(64 << 20));
    assert_eq!(offset_in_extent(extent, 3 * EXTENT_BYTES + 1), None);
    assert_eq!(offset_in_extent(extent, 2 * EXTENT_BYTES - 1), None);
    assert_eq!(offset_in_extent(extent, u64::MAX), None);
}

fn sealed(key: &HandleKey, handle: &DsHandle) -> Fh3 {
    Fh3::new(bytes::Bytes::copy_from_slice(&handle::seal(key, handle).0)).unwrap()
}

#[test]
fn a_handle_is_for_what_it_says() {
    let (key, next) = (HandleKey::new([1; 32]), HandleKey::numbered(1, [3; 32]));
    let own = DataServerId(4);
    let may_read = DsHandle {
        extent: ExtentId { ino: 1, index: 2 },
        epoch: Epoch(1),
        mode: Iomode::Read,
        holder: Holder::Client { tag: 3, export: 0, reads: true },
        issued: Issued::at_ms(0),
        size_hint_bytes: 4,
        role: Role::Home,
        home: own,
        backups: [None; 2],
    };
    let may_write = DsHandle {
        mode: Iomode::ReadWrite,
        holder: Holder::Client { tag: 3, export: 0, reads: false },
        ..may_read
    };
    let of = |server, keys: &[&HandleKey]| Identity::new(server, keys.iter().copied().cloned().collect());
    let (read, write) = (sealed(&key, &may_read), sealed(&key, &may_write));
    let here = of(own, &[&next, &key]);
    assert_eq!(open_handle(&here, &read, Wanted::Read), Ok(may_read));
    assert_eq!(open_handle(&here, &read, Wanted::Write), Err(Nfsstat3::Acces));
    assert_eq!(open_handle(&here, &write, Wanted::Write), Ok(may_write));
    assert_eq!(open_handle(&here, &write, Wanted::Read), Err(Nfsstat3::Stale), "it does not read");
    assert_eq!(
        open_handle(&here, &sealed(&next, &may_read), Wanted::Read),
        Ok(may_read),
        "both keys are good"
    );
    assert_eq!(open_handle(&of(DataServerId(5), &[&key]), &read, Wanted::Read), Err(Nfsstat3::Stale));
    assert_eq!(open_handle(&of(own, &[&next]), &read, Wanted::Read), Err(Nfsstat3::Stale), "key gone");
    let another = HandleKey::new([2; 32]);
    assert_eq!(open_handle(&of(own, &[&another]), &read, Wanted::Read), Err(Nfsstat3::Badhandle), "forged");
    let mut earlier = read.as_bytes().to_vec();
    earlier[0] = 2;
    let earlier = Fh3::new(earlier.into()).unwrap();
    assert_eq!(
        open_handle(&here, &earlier, Wanted::Read),
        Err(Nfsstat3::Stale),
        "the client asks for another one"
    );
}

#[test]
fn a_list_that_is_not_in_force_judges_for_a_while() {
    let (currency, max_ms) = (Currency::default(), EXPORTS_OUTDATED_MS_MAX);
    assert!(!currency.is_outdated(u64::MAX), "nothing says so");
    currency.doubt(0);
    currency.doubt(1_000);
    assert!(
        !currency.is_outdated(max_ms) && currency.is_outdated(max_ms + 1),
        "it counts from the first time"
    );
    currency.confirm(2_000);
    assert!(!currency.is_outdated(u64::MAX));
    currency.doubt(3_000);
    assert!(!currency.is_outdated(2_999 + max_ms) && currency.is_outdated(3_000 + max_ms));
}

#[test]
fn the_export_decides_from_where() {
    let told = |export, networks: &[&str]| AdmittedBy {
        export,
        networks: networks.iter().map(|network| (*network).to_owned()).collect(),
    };
    let exports = vec![told(9, &["10.1.0.0/16", "fd00::/8"]), told(2, &[])];
    let admits = Admits::from_told(&Admitted { version: 3, exports }).unwrap();
    let of = |export, text: &str| admits.admission(export, text.parse().unwrap());
    assert_eq!(admits.version, 3);
    assert_eq!(of(2, "192.0.2.1"), Admission::Admitted, "no networks are all addresses");
    assert_eq!(of(9, "10.1.2.3"), Admission::Admitted);
    assert_eq!(of(9, "::ffff:10.1.2.3"), Admission::Admitted);
    assert_eq!(of(9, "10.2.0.1"), Admission::Elsewhere);
    assert_eq!(of(3, "10.1.2.3"), Admission::NoExport);
    let bad = Admitted { version: 1, exports: vec![told(1 << 16, &[])] };
    assert_eq!(Admits::from_told(&bad).unwrap_err(), Senseless);
    let bad = Admitted { version: 1, exports: vec![told(1, &["10.0.0.0/33"])] };
    assert_eq!(Admits::from_told(&bad).unwrap_err(), Senseless);
}

/// Every rounding of both clocks, in tenths of a millisecond.
#[test]
fn no_handle_is_of_the_future() {
    let (clock, floor_ms) = (HandleClock::default(), |tenths: u64| tenths / 10);
    for (asked, theirs_ahead, later) in (0..1_000).map(|all| (all % 10, all / 10 % 10, all / 100)) {
        let (asked, passed) = (5_000 + asked, 770 + later);
        let told = asked + 90_000 + theirs_ahead;
        clock.set(floor_ms(told), floor_ms(asked));
        let (known_ms, theirs_ms) = (clock.at_ms(floor_ms(asked + passed)), floor_ms(told + passed));
        assert!((theirs_ms..=theirs_ms + 2).contains(&known_ms), "{known_ms} and {theirs_ms}");
    }
}
