//! Ranges, and what a handle allows.

use layout::{DataServerId, EXTENT_BYTES, Epoch, HandleKey, Iomode, Issued, Role, handle};

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
    assert_eq!(open_handle(&here, &write, Wanted::Read), Err(Nfsstat3::Stale), "a grant that does not read");
    assert_eq!(
        open_handle(&here, &sealed(&next, &may_read), Wanted::Read),
        Ok(may_read),
        "both keys are good"
    );
    assert_eq!(open_handle(&of(DataServerId(5), &[&key]), &read, Wanted::Read), Err(Nfsstat3::Stale));
    assert_eq!(open_handle(&of(own, &[&next]), &read, Wanted::Read), Err(Nfsstat3::Stale), "its key is gone");
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
