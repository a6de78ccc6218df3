//! Parity images in the same directory: taken in, checked by their own lists, given out as they
//! are; and extents read through what another server computed.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ds_image::limits::RAW_BLOCK_BYTES;
use ds_image::{
    CreateError, FormatError, Image, ImageBytes, ImageId, ImageRoot, ImageSum, OpenError, ReadError,
    ReceiveError, Received, StoredImage,
};
use env::BoxFuture;
use env::memory::MemoryDisk;
use layout::ec::{Draft, Encoder, GroupId, Member, Profile, Rebuild, Shape};
use layout::{Epoch, ExtentId};

use crate::bed::{DIR, content, file_bytes, id, mixed, noise, open, path, put_file, seal};

/// Two sealed extents as they are in their files, and the parity of both.
struct Coded {
    shape: Shape,
    members: Vec<Vec<u8>>,
    parity: Vec<u8>,
}

async fn coded() -> Coded {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, &mixed()).await.unwrap();
    seal(&store, 2, &noise(9, 300_000)).await.unwrap();
    let members = vec![file_bytes(&disk, &path(1)).await, file_bytes(&disk, &path(2)).await];
    encode(members)
}

fn encode(members: Vec<Vec<u8>>) -> Coded {
    let member = |(number, file): (usize, &Vec<u8>)| {
        let number = u8::try_from(number).unwrap() + 1;
        let extent = ExtentId { ino: 42, index: 7 };
        Some(Member { image: id(number), extent, bytes: file.len() as u64, sum: ImageSum::of(file) })
    };
    let profile = Profile::TwoPlusOne;
    let members_of = members.iter().enumerate().map(member).collect();
    let draft = Draft {
        group: GroupId(5),
        profile,
        codec: profile.codec(),
        members: members_of,
        parity: vec![id(3)],
    };
    let mut encoder = Encoder::new(draft, 1 << 17).unwrap();
    let mut parity = Vec::new();
    while let Some(window) = encoder.window() {
        let part = |file: &Vec<u8>| {
            let range = window.of(file.len() as u64);
            file[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
        };
        let parts: Vec<Vec<u8>> = members.iter().map(part).collect();
        let mut made = vec![0; window.bytes];
        encoder.push(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut [&mut made]).unwrap();
        parity.extend(made);
    }
    let encoded = encoder.finish().unwrap();
    parity.extend(&encoded.footers[0]);
    Coded { shape: encoded.shape, members, parity }
}

async fn receive(
    disk: &MemoryDisk,
    number: u8,
    file: &[u8],
    sum: Option<ImageSum>,
) -> Result<Received, ReceiveError> {
    let mut receiver = open(disk).await.receive(id(number), file.len() as u64).await.unwrap();
    for (at, block) in file.chunks(usize::try_from(RAW_BLOCK_BYTES).unwrap()).enumerate() {
        receiver.write(at as u64 * RAW_BLOCK_BYTES, vec![Bytes::copy_from_slice(block)]).await.unwrap();
    }
    receiver.finish_any(sum).await
}

#[tokio::test]
async fn parity_is_taken_in_and_given_out() {
    let Coded { shape, members, parity } = coded().await;
    let disk = MemoryDisk::new();
    let received = receive(&disk, 3, &parity, Some(ImageSum::of(&parity))).await.unwrap();
    let Received::Parity(info) = received else { panic!("{received:?}") };
    assert_eq!((info.image, info.group, info.slot), (id(3), GroupId(5), 2));
    assert_eq!((info.payload_bytes, info.file_bytes), (shape.payload_bytes(), parity.len() as u64));
    assert_eq!(info.sum, shape.image(2).unwrap().1);
    let store = open(&disk).await;
    assert_eq!(store.usage().bytes, parity.len() as u64);
    let opened = store.open_any(id(3)).await.unwrap();
    let StoredImage::Parity(image) = &opened else { panic!("{opened:?}") };
    assert_eq!((image.info(), image.shape()), (&info, &shape));
    let mut steps = Vec::new();
    let mut note = |progress: ds_image::Progress| {
        steps.push((progress.bytes_done, progress.bad_frames));
        std::future::ready(())
    };
    assert!(image.verify(&mut note).await.is_empty());
    assert!(2 <= steps.len() && steps.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(steps.last(), Some(&(parity.len() as u64, 0)));
    assert_eq!(image.file_sum().await.unwrap(), ImageSum::of(&parity));
    for (at, length) in [(0, parity.len()), (70_000, 10), (65_530, 200_000), (parity.len() - 90, 90)] {
        let read = opened.read_raw(at as u64, u32::try_from(length).unwrap()).await.unwrap().concat();
        assert!(read == parity[at..at + length], "{at} {length}");
    }
    let behind = opened.read_raw(parity.len() as u64, 1).await;
    assert!(matches!(behind, Err(ReadError::Range { .. })));
    assert!(image.sums()[0].check(0, &members[0][..65536]), "the members' lists are there");
    // A sealed extent is told apart.
    put_file(&disk, &path(1), &members[0]).await;
    let store = open(&disk).await;
    assert!(matches!(store.open_any(id(1)).await, Ok(StoredImage::Extent(_))));
    assert!(matches!(store.open_image(id(3)).await, Err(OpenError::Format(_))), "parity is no extent");
}

#[tokio::test]
async fn altered_parity_is_refused_and_found() {
    let Coded { shape, parity, .. } = coded().await;
    let flipped = |at: usize| {
        let mut file = parity.clone();
        file[at] ^= 1;
        file
    };
    let payload = usize::try_from(shape.payload_bytes()).unwrap();
    for at in [0, 70_000, payload - 1, payload, payload + 40, parity.len() - 50, parity.len() - 1] {
        let disk = MemoryDisk::new();
        let refused = receive(&disk, 3, &flipped(at), None).await;
        assert!(refused.is_err(), "{at}");
        assert!(open(&disk).await.list(None).is_empty(), "{at}");
    }
    let disk = MemoryDisk::new();
    let foreign = receive(&disk, 4, &parity, None).await;
    assert!(matches!(foreign, Err(ReceiveError::Format(FormatError::Foreign { found })) if found == id(3)));
    let other = receive(&disk, 3, &parity, Some(ImageSum([0; 32]))).await;
    assert!(matches!(other, Err(ReceiveError::Sum { .. })));
    let mut receiver = open(&disk).await.receive(id(3), parity.len() as u64).await.unwrap();
    for (at, block) in parity.chunks(1 << 16).enumerate() {
        receiver.write((at << 16) as u64, vec![Bytes::copy_from_slice(block)]).await.unwrap();
    }
    assert!(receiver.finish(None).await.is_err(), "who wants an extent gets no parity");

    put_file(&disk, &path(3), &flipped(70_000)).await;
    let opened = open(&disk).await.open_any(id(3)).await.unwrap();
    assert!(opened.read_raw(0, 65_536).await.is_ok());
    let bad = opened.read_raw(65_000, 1_000).await;
    assert!(matches!(bad, Err(ReadError::Damaged { frame: 1, .. })), "{bad:?}");
    let StoredImage::Parity(image) = opened else { panic!("parity") };
    assert_eq!(
        image.verify(|_| std::future::ready(())).await.iter().map(|bad| bad.frame).collect::<Vec<_>>(),
        [1]
    );

    for cut in [64, 100, parity.len() - 64, parity.len() - 1] {
        put_file(&disk, &path(3), &parity[..cut]).await;
        assert!(open(&disk).await.open_any(id(3)).await.is_err(), "{cut}");
    }
}

/// A member that is computed from the other one and the parity, each time it is read.
struct Computed {
    coded: Arc<Coded>,
    lie: bool,
}

impl ImageBytes for Computed {
    fn file_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        Box::pin(std::future::ready(Ok(self.coded.members[0].len() as u64)))
    }

    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        let (coded, lie) = (Arc::clone(&self.coded), self.lie);
        let mut rebuild = Rebuild::new(&coded.shape, &[1, 2], &[0]).unwrap();
        let window = rebuild.window(offset..offset + length as u64).unwrap();
        let sources: Vec<Vec<u8>> = rebuild
            .reads(window)
            .map(|(slot, range)| {
                let file = if slot == 1 { &coded.members[1] } else { &coded.parity };
                file[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
            })
            .collect();
        let mut made = vec![0; window.bytes];
        let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        rebuild.run(window, &sources, &mut [&mut made]).unwrap();
        let skip = usize::try_from(offset - window.offset).unwrap();
        let mut made = made[skip..skip + length].to_vec();
        if lie && 200 < length {
            made[100] ^= 1;
        }
        Box::pin(std::future::ready(Ok(made.into())))
    }
}

#[tokio::test]
async fn a_lost_image_is_read_through_the_others() {
    let coded = Arc::new(coded().await);
    let disk = MemoryDisk::new();
    put_file(&disk, &path(1), &coded.members[0]).await;
    let root = open(&disk).await.open_image(id(1)).await.unwrap().info().root;
    let computed = |lie| -> Arc<dyn ImageBytes> { Arc::new(Computed { coded: Arc::clone(&coded), lie }) };
    let image = Image::open(computed(false), id(1), root).await.unwrap();
    assert_eq!(image.info().identity.epoch, Epoch(3));
    assert!(content(&image).await.unwrap() == mixed());
    assert_eq!(image.sum().await.unwrap(), coded.shape.image(0).unwrap().1);
    let lied = content(&image.through(computed(true))).await;
    assert!(matches!(lied, Err(ReadError::Damaged { .. })), "no byte is believed");
    let other = Image::open(computed(false), id(1), ImageRoot([7; 32])).await;
    assert!(matches!(other, Err(OpenError::Format(FormatError::Root { .. }))));
    let other = Image::open(computed(false), ImageId([7; 16]), root).await;
    assert!(matches!(other, Err(OpenError::Format(FormatError::Foreign { .. }))));
}

#[tokio::test]
async fn lengths_of_files_are_bounded() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    for bytes in [0, ds_image::limits::FILE_BYTES_MAX + 1] {
        let refused = store.receive(id(3), bytes).await;
        assert!(matches!(refused, Err(CreateError::Format(FormatError::Length { .. }))), "{DIR} {bytes}");
    }
    assert!(store.receive(id(3), ds_image::limits::FILE_BYTES_MAX).await.is_ok());
}
