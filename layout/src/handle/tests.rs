//! Golden bytes and hostile input of data-server handles.

use proptest::prelude::*;

use super::*;

fn key() -> HandleKey {
    HandleKey::new(std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

fn sample() -> DsHandle {
    DsHandle {
        extent: ExtentId { ino: 0x0001_0000_0000_002a, index: 3 },
        epoch: Epoch(0x0102_0304_0506_0708),
        mode: Iomode::ReadWrite,
        client_tag: 0xdead_beef,
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

/// The bytes of docs/formats/ds_handle.md. They may never change under version 2.
#[test]
fn golden_bytes() {
    let sealed = seal(&key(), &sample());
    assert_eq!(
        hex(&sealed.0[..MAC_AT]),
        "02020200deadbeef000100000000002a00000003010203040506070800000000\
         0c800000000000050000000600000009"
    );
    assert_eq!(hex(&sealed.0[MAC_AT..]), "47a9090c934f3ab4d21198dc0c0b9958");
    assert_eq!(open(&key(), sealed.as_ref()), Ok(sample()));
}

#[test]
fn a_handle_of_another_key_is_forged() {
    let sealed = seal(&HandleKey::new([9; KEY_BYTES]), &sample());
    assert_eq!(open(&key(), &sealed.0), Err(HandleError::Forged));
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
        (1, 0),
        (1, 3),
        (2, 4),
        (3, 1),
        (3, 2),
        (HOME_AT + 3, 0),
        (HOME_AT + 3, 6),
        (BACKUPS_AT + 3, 0),
        (MAC_AT - 1, 0),
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
        "02010001deadbeef000100000000002a00000003010203040506070800000000\
         0c800000000000050000000000000000"
    );
    assert_eq!(hex(&sealed.0[MAC_AT..]), "b9cb19c13f1a01abc1275a3fdb55e7c7");
    assert_eq!(open(&key(), sealed.as_ref()), Ok(reader));
    for (at, value) in [(1, 2), (3, 2), (BACKUPS_AT + 3, 6)] {
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
    fn whatever_is_sealed_opens(ino: u64, index: u32, epoch: u64, write: bool, client_tag: u32, size: u64) {
        let mode = if write { Iomode::ReadWrite } else { Iomode::Read };
        let handle = DsHandle {
            extent: ExtentId { ino, index }, epoch: Epoch(epoch), mode, client_tag, size_hint_bytes: size,
            role: if write { Role::Home } else { Role::Reader }, home: DataServerId(1), backups: [None; BACKUPS_MAX],
        };
        prop_assert_eq!(open(&key(), &seal(&key(), &handle).0), Ok(handle));
    }

    #[test]
    fn garbage_never_opens(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(open(&key(), &bytes).is_err());
    }
}
