//! Data-server handles: nothing is accepted but what was sealed under the same key.
//!
//! Input: a byte that chooses, then either a handle as it would come off the wire, or the fields of
//! one to be sealed and a bit of it to be changed.

use layout::handle::{HANDLE_BYTES, device_id, device_of, open, seal};
use layout::{DsHandle, Epoch, ExtentId, HandleKey, Holder, Iomode, Issued, NamedBackup, Role};

use super::row::{MemoryBound, Shape, Target};

pub(super) const TARGET: Target = Target {
    name: "ds_handle",
    about: "data-server handles and device ids, made up and altered",
    run,
    seeds,
    shape: Shape::Bytes,
    bound: MemoryBound { single_bytes: 0, single_bytes_per_byte: 0, live_bytes: 0, live_bytes_per_byte: 0 },
    input_bytes_max: 128,
};

const FIELD_BYTES: usize = 36;

fn run(input: &[u8]) -> usize {
    let key = HandleKey::new([7; 32]);
    let Some((choice, bytes)) = input.split_first() else { return 0 };
    match choice % 3 {
        0 => usize::from(check_made_up(&key, bytes)),
        1 => bytes.first_chunk().map_or(0, |fields| check_sealed(&key, fields)),
        _ => bytes.first_chunk().map_or(0, check_device),
    }
}

/// Whatever opens is what we would have sealed.
fn check_made_up(key: &HandleKey, bytes: &[u8]) -> bool {
    let Ok(handle) = open(key, bytes) else { return false };
    assert_eq!(seal(key, &handle).as_ref(), bytes, "a handle has one form");
    true
}

fn check_sealed(key: &HandleKey, fields: &[u8; FIELD_BYTES]) -> usize {
    let word = |at: usize| u32::from_be_bytes(fields[at..at + 4].try_into().expect("four bytes"));
    let double = |at: usize| u64::from_be_bytes(fields[at..at + 8].try_into().expect("eight bytes"));
    let handle = DsHandle {
        extent: ExtentId { ino: double(0), index: word(8) },
        epoch: Epoch(double(12)),
        mode: if fields[20].is_multiple_of(2) { Iomode::Read } else { Iomode::ReadWrite },
        holder: holder(fields[20], word(21)),
        issued: Issued::at_ms(double(25)),
        size_hint_bytes: double(25),
        role: Role::Home,
        home: layout::DataServerId(1),
        backups: backups(fields[20]),
    };
    let reads = !handle.mode.writes() && handle.backups == [None; 2] && fields[35].is_multiple_of(2);
    let handle = DsHandle { role: if reads { Role::Reader } else { Role::Home }, ..handle };
    let sealed = seal(key, &handle);
    assert_eq!(open(key, sealed.as_ref()), Ok(handle));
    let mut altered = sealed.0;
    let bit = usize::from(u16::from_be_bytes([fields[33], fields[34]])) % (HANDLE_BYTES * 8);
    altered[bit / 8] ^= 1 << (bit % 8);
    assert!(open(key, &altered).is_err(), "bit {bit} is covered");
    assert!(open(&HandleKey::new([8; 32]), sealed.as_ref()).is_err(), "another key opens nothing");
    1
}

/// A client's, for reading too or not where it writes, or a metadata server's.
fn holder(choice: u8, tag: u32) -> Holder {
    let writes = !choice.is_multiple_of(2);
    let [_, _, high, low] = tag.to_be_bytes();
    match choice >> 5 & 3 {
        3 => Holder::MetadataServer,
        which => {
            Holder::Client { tag, export: u16::from_be_bytes([high, low]), reads: which != 2 || !writes }
        }
    }
}

/// None, one or two backups, in every state.
fn backups(choice: u8) -> [Option<NamedBackup>; 2] {
    let named = |server: u32, filling: u8| {
        Some(NamedBackup { server: layout::DataServerId(server), filling: filling != 0 })
    };
    match choice >> 1 & 3 {
        0 => [None; 2],
        1 => [named(2, choice & 8), None],
        _ => [named(2, choice & 8), named(3, choice & 16)],
    }
}

fn check_device(id: &[u8; 16]) -> usize {
    let Some((server, generation)) = device_of(id) else { return 0 };
    assert_eq!(&device_id(server, generation), id);
    1
}

fn seeds() -> Vec<Vec<u8>> {
    let handle = DsHandle {
        extent: ExtentId { ino: 1, index: 2 },
        epoch: Epoch(3),
        mode: Iomode::ReadWrite,
        holder: Holder::Client { tag: 4, export: 0, reads: true },
        issued: Issued::at_ms(0),
        size_hint_bytes: 5,
        role: Role::Home,
        home: layout::DataServerId(1),
        backups: backups(14),
    };
    let key = HandleKey::new([7; 32]);
    let sealed = seal(&key, &handle);
    let reader = DsHandle { role: Role::Reader, mode: Iomode::Read, backups: [None; 2], ..handle };
    vec![
        [&[0], sealed.as_ref()].concat(),
        [&[0], seal(&key, &reader).as_ref()].concat(),
        [&[1_u8][..], &[9; FIELD_BYTES]].concat(),
        [&[2_u8][..], &device_id(layout::DataServerId(3), 1)].concat(),
    ]
}
