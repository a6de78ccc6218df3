//! Golden bytes and hostile input of data-server handles.

use proptest::prelude::*;

use super::*;

fn key() -> HandleKey {
    HandleKey::numbered(7, std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

fn sample() -> DsHandle {
    DsHandle {
        extent: ExtentId { ino: 0x0001_0000_0000_002a, index: 3 },
        epoch: Epoch(0x0102_0304_0506_0708),
        mode: Iomode::ReadWrite,
        holder: Holder::Client { tag: 0xdead_beef, export: 0x0102, reads: true },
        issued: Issued(0x00aa_bbcc),
        size_hint_bytes: 0x0000_0000_0c80_0000,
        role: Role::Home,
        home: DataServerId(5),
        backups: [
            Some(NamedBackup { server: DataServerId(6), filling: false }),
            Some(NamedBackup { server: DataServerId(9), filling: true }),
        ],
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of docs/formats/ds_handle.md. They may never change under version 3.
#[test]
fn golden_bytes() {
    let sealed = seal(&key(), &sample());
    assert_eq!(
        hex(&sealed.0[..MAC_AT]),
        "03050102deadbeef000100000000002a00000003010203040506070800000000\
         0c80000000000005000000060000000907aabbcc"
    );
    assert_eq!(hex(&sealed.0[MAC_AT..]), "d2e48e41f7ea90cdc74665eb");
    assert_eq!(open(&key(), sealed.as_ref()), Ok(sample()));
}

#[test]
fn a_handle_of_another_key_is_forged() {
    let sealed = seal(&HandleKey::numbered(7, [9; KEY_BYTES]), &sample());
    assert_eq!(open(&key(), &sealed.0), Err(HandleError::Forged));
}

#[test]
fn a_handle_says_which_key_and_version_it_is_of() {
    let sealed = seal(&HandleKey::new([9; KEY_BYTES]), &sample());
    assert_eq!(key_number(&sealed.0), Some(0));
    let other = open(&key(), &sealed.0).unwrap_err();
    assert_eq!(other, HandleError::Key { number: 0 });
    let mut earlier = sealed.0;
    earlier[0] = 2;
    assert!(other.may_be_old() && open(&key(), &earlier).unwrap_err().may_be_old());
    earlier[0] = 4;
    assert!(!open(&key(), &earlier).unwrap_err().may_be_old());
}

#[test]
fn ages_go_on_when_the_count_comes_round() {
    let round_ms = (u64::from(ISSUED_MASK) + 1) * ISSUE_UNIT_MS;
    let last = Issued::at_ms(round_ms - 1);
    assert_eq!((last.step(), last.age_steps(round_ms - 1), last.age_steps(round_ms)), (ISSUED_MASK, 0, 1));
    assert_eq!(Issued::at_ms(15_999), Issued::at_ms(0));
    assert_eq!(Issued::at_ms(16_000).age_steps(15_999), ISSUED_MASK, "from the future is very old");
}

#[test]
fn every_bit_counts() {
    let sealed = seal(&key(), &sample());
    for bit in 0..HANDLE_BYTES * 8 {
        let mut altered = sealed.0;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&key(), &altered).is_err(), "bit {bit} does not matter");
    }
}

#[test]
fn every_length_but_one_is_refused() {
    let sealed = seal(&key(), &sample());
    let mut long = sealed.0.to_vec();
    long.push(0);
    assert_eq!(open(&key(), &long), Err(HandleError::Length { got: 65 }));
    for len in 0..HANDLE_BYTES {
        assert_eq!(open(&key(), &long[..len]), Err(HandleError::Length { got: len }));
    }
}

/// Bytes sealed with the right key by something that fills the fields wrongly.
#[test]
fn genuine_nonsense_is_refused() {
    for (at, value) in [
        // Not for writing, and not for reading either.
        (1, (flag::FILLING << 1) | flag::NO_READING),
        // A reader that writes.
        (1, (flag::FILLING << 1) | flag::WRITES | flag::READER),
        // A metadata server's, with a client's tag.
        (1, (flag::FILLING << 1) | flag::WRITES | flag::METADATA_SERVER),
        (1, 1 << 6),
        (1, 1 << 7),
        (HOME_AT + 3, 0),
        (HOME_AT + 3, 6),
        (BACKUPS_AT + 3, 0),
        (KEY_AT - 1, 0),
    ] {
        let mut bytes = seal(&key(), &sample()).0;
        bytes[at] = value;
        let mac = mac_of(&key(), &bytes[..MAC_AT]);
        bytes[MAC_AT..].copy_from_slice(&mac);
        assert_eq!(open(&key(), &bytes), Err(HandleError::Fields));
    }
}

/// The second example of docs/formats/ds_handle.md.
#[test]
fn a_reader_only_reads() {
    let home = sample();
    let reader = DsHandle { role: Role::Reader, mode: Iomode::Read, backups: [None; BACKUPS_MAX], ..home };
    let sealed = seal(&key(), &reader);
    assert_eq!(
        hex(&sealed.0[..MAC_AT]),
        "03080102deadbeef000100000000002a00000003010203040506070800000000\
         0c80000000000005000000000000000007aabbcc"
    );
    assert_eq!(hex(&sealed.0[MAC_AT..]), "a922d7bd33985650b52581c3");
    assert_eq!(open(&key(), sealed.as_ref()), Ok(reader));
    for (at, value) in
        [(1, flag::READER | flag::WRITES), (1, flag::READER | flag::FILLING), (BACKUPS_AT + 3, 6)]
    {
        let mut bytes = sealed.0;
        bytes[at] = value;
        let mac = mac_of(&key(), &bytes[..MAC_AT]);
        bytes[MAC_AT..].copy_from_slice(&mac);
        assert_eq!(open(&key(), &bytes), Err(HandleError::Fields));
    }
}

#[test]
fn the_key_is_not_printed() {
    assert_eq!(format!("{:?}", key()), "HandleKey");
}

#[test]
fn device_ids_come_back() {
    let id = device_id(DataServerId(7), 2);
    assert_eq!(hex(&id), "73686f616c2d64730000000200000007");
    assert_eq!(device_of(&id), Some((DataServerId(7), 2)));
    assert_eq!(device_of(&[0; 16]), None);
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens(
        ino: u64, index: u32, epoch: u64, write: bool, tag: u32, export: u16, no_reading: bool, own: bool, now_ms: u64, size: u64,
    ) {
        let mode = if write { Iomode::ReadWrite } else { Iomode::Read };
        let client = Holder::Client { tag, export, reads: !write || !no_reading };
        let holder = if own { Holder::MetadataServer } else { client };
        let handle = DsHandle {
            extent: ExtentId { ino, index }, epoch: Epoch(epoch), mode, holder, issued: Issued::at_ms(now_ms), size_hint_bytes: size,
            role: if write { Role::Home } else { Role::Reader }, home: DataServerId(1), backups: [None; BACKUPS_MAX],
        };
        prop_assert_eq!(open(&key(), &seal(&key(), &handle).0), Ok(handle));
    }

    #[test]
    fn garbage_never_opens(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(open(&key(), &bytes).is_err());
    }
}
