//! Images that arrive as raw bytes, in any order, and are believed only as a whole.

use bytes::Bytes;
use ds_image::limits::{FILE_BYTES_MAX, FRAME_BYTES, RAW_BLOCK_BYTES};
use ds_image::{CreateError, FormatError, ImageInfo, ImageReceiver, ImageSum, ReceiveError, Sealed};
use env::memory::{MemoryDisk, SeededEntropy};
use env::{Disk, Entropy};

use crate::bed::{DIR, content, file_bytes, id, mixed, noise, open, path, seal, verify};

const BLOCK: usize = RAW_BLOCK_BYTES as usize;

/// An image and its file's bytes, on a disk of its own.
async fn sealed(bytes: &[u8]) -> (ImageInfo, Vec<u8>) {
    let disk = MemoryDisk::new();
    let info = seal(&open(&disk).await, 1, bytes).await.unwrap();
    (info, file_bytes(&disk, &path(1)).await)
}

async fn send(receiver: &mut ImageReceiver, file: &[u8], blocks: &[usize]) {
    for block in blocks {
        let piece = &file[block * BLOCK..file.len().min((block + 1) * BLOCK)];
        let (one, other) = piece.split_at(piece.len() / 2);
        let data = [one, other].map(Bytes::copy_from_slice).to_vec();
        receiver.write((block * BLOCK) as u64, data).await.unwrap();
    }
}

fn all_blocks(file: &[u8]) -> Vec<usize> {
    (0..file.len().div_ceil(BLOCK)).collect()
}

#[tokio::test]
async fn blocks_in_any_order_become_the_image() {
    let content_of = [mixed(), noise(6, 20 * FRAME_BYTES)].concat();
    let (info, file) = sealed(&content_of).await;
    let sum = ImageSum::of(&file);
    for seed in 0..20 {
        let entropy = SeededEntropy::new(seed);
        let mut blocks = all_blocks(&file);
        for at in (1..blocks.len()).rev() {
            let other = usize::try_from(entropy.u64() % (at as u64 + 1)).unwrap();
            blocks.swap(at, other);
        }
        blocks.push(blocks[0]);
        let disk = MemoryDisk::new();
        let store = open(&disk).await;
        let mut receiver = store.receive(id(1), info.image_bytes).await.unwrap();
        send(&mut receiver, &file, &blocks).await;
        assert_eq!(receiver.missing(), None);
        assert_eq!(receiver.finish(Some(sum)).await.unwrap(), Sealed { info, sum });
        assert!(file_bytes(&disk, &path(1)).await == file);
        let image = store.open_image(id(1)).await.unwrap();
        assert!(content(&image).await.unwrap() == content_of);
        assert_eq!(verify(&image).await, []);
        assert_eq!(store.usage().bytes, info.image_bytes);
    }
}

/// Whatever is wrong with what came, there is no image, and nothing is left.
#[tokio::test]
async fn what_is_not_the_image_is_refused() {
    let (_, file) = sealed(&mixed()).await;
    let (_, other_file) = sealed(&noise(1, mixed().len())).await;
    let sum = ImageSum::of(&file);
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let receive = async |file: &[u8], number: u8, sum: Option<ImageSum>, skipped: Option<usize>| {
        let mut receiver = store.receive(id(number), file.len() as u64).await.unwrap();
        let mut blocks = all_blocks(file);
        blocks.retain(|block| Some(*block) != skipped);
        send(&mut receiver, file, &blocks).await;
        receiver.finish(sum).await
    };
    let flipped = |at: usize| {
        let mut file = file.clone();
        file[at] ^= 4;
        file
    };
    let missing = receive(&file, 1, None, Some(1)).await;
    assert!(matches!(missing, Err(ReceiveError::Missing { offset }) if offset == RAW_BLOCK_BYTES));
    let wrong = receive(&other_file, 1, Some(sum), None).await;
    assert!(
        matches!(wrong, Err(ReceiveError::Sum { expected, found }) if (expected, found) == (sum, ImageSum::of(&other_file)))
    );
    let foreign = receive(&file, 2, Some(sum), None).await;
    assert!(matches!(foreign, Err(ReceiveError::Format(FormatError::Foreign { found })) if found == id(1)));
    for at in [0, 40, file.len() - 1, file.len() - 70] {
        let result = receive(&flipped(at), 1, Some(sum), None).await;
        assert!(matches!(result, Err(ReceiveError::Format(_))), "{at}: {result:?}");
    }
    let damaged = receive(&flipped(64 + 100), 1, Some(sum), None).await;
    assert!(matches!(damaged, Err(ReceiveError::Damaged { frame: 1, .. })), "{damaged:?}");
    let short = receive(&file[..file.len() - 1], 1, Some(sum), None).await;
    assert!(matches!(short, Err(ReceiveError::Format(_))), "{short:?}");
    assert_eq!((store.list(None), store.usage().bytes), (Vec::new(), 0));
    // The next one that is begun removes what the last one left.
    receive(&file, 1, None, None).await.unwrap();
    assert_eq!(Disk::list(&disk, DIR.as_ref()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_whole_blocks_and_lengths_of_images_are_taken() {
    let (info, file) = sealed(&mixed()).await;
    let store = open(&MemoryDisk::new()).await;
    for bytes in [0, 127, FILE_BYTES_MAX + 1, u64::MAX] {
        let refused = store.receive(id(1), bytes).await;
        assert!(matches!(refused, Err(CreateError::Format(FormatError::Length { .. }))), "{bytes}");
    }
    let mut receiver = store.receive(id(1), info.image_bytes).await.unwrap();
    for (offset, length) in [(1, BLOCK), (0, BLOCK - 1), (info.image_bytes, 1), (u64::MAX, BLOCK)] {
        let refused = receiver.write(offset, vec![Bytes::from(vec![0; length])]).await;
        assert!(matches!(refused, Err(ReceiveError::Blocks { .. })), "{offset} {length}");
    }
    // A refused block harms nothing, nor does one that was wrong at first.
    receiver.write(0, vec![Bytes::from(vec![9; BLOCK])]).await.unwrap();
    send(&mut receiver, &file, &all_blocks(&file)).await;
    receiver.finish(Some(ImageSum::of(&file))).await.unwrap();
}
