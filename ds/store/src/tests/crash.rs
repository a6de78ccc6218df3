//! Power cut at every write and every flush while extents are sealed: what was acknowledged is
//! there, and no byte is one that never was.

use env::memory::{Crash, MemoryDisk};

use super::images::{Images, churn};
use super::*;

const SPAN: usize = 40_000;

/// What a script was told.
#[derive(Default)]
struct Told {
    /// What the extent held, act by act.
    contents: Vec<Vec<u8>>,
    /// It holds at least what it held after so many.
    stable: usize,
    /// Acts that were acknowledged as stable.
    acts: usize,
}

impl Told {
    /// An act is about to happen.
    fn begins(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = self.contents.last().cloned().unwrap_or_else(|| vec![0; SPAN]);
        change(&mut content);
        self.contents.push(content);
    }

    fn acknowledged(&mut self) {
        self.stable = self.contents.len() - 1;
        self.acts += 1;
    }
}

type Outcome = Result<(), ChangeError>;

async fn write(store: &Store, told: &mut Told, at: usize, fill: u8, length: usize, synced: bool) -> Outcome {
    told.begins(|content| content[at..at + length].fill(fill));
    let stability = if synced { Stability::Synced } else { Stability::Unstable };
    let epoch = store.size(extent(1)).epoch.max(Epoch(1));
    store.write(extent(1), epoch, at as u32, bytes(fill, length), stability).await?;
    if synced {
        told.acknowledged();
    }
    Ok(())
}

/// Seals what is there, uses the image, and forgets the one before.
async fn seal(store: &Store, images: &Images, told: &mut Told) -> Outcome {
    let before = store.image(extent(1)).await.unwrap();
    let mark = store.mark(extent(1)).await?;
    told.acknowledged();
    let image = images.seal(store, extent(1), mark).await.expect("no other writes");
    store.use_image(extent(1), store.size(extent(1)).epoch, mark, &image).await?;
    told.acknowledged();
    if let Some((_, before)) = before {
        images.forget(before.image);
    }
    Ok(())
}

async fn script(store: &Store, images: &Images, told: &mut Told) -> Outcome {
    told.begins(|_| {});
    write(store, told, 0, 1, 20_000, true).await?;
    write(store, told, 15_000, 2, 10_000, false).await?;
    seal(store, images, told).await?;
    write(store, told, 10_000, 3, 1_000, false).await?;
    told.begins(|content| content[12_000..].fill(0));
    store.cut(extent(1), Epoch(2), 12_000).await?;
    told.acknowledged();
    write(store, told, 30_000, 4, 5_000, false).await?;
    seal(store, images, told).await?;
    // All of the image is written over, and not made stable; the image is said again.
    let (sequence, image) = store.image(extent(1)).await.unwrap().expect("it was used above");
    write(store, told, 0, 5, 40_000, false).await?;
    store.use_image(extent(1), Epoch(2), sequence, &image).await?;
    told.acknowledged();
    write(store, told, 0, 6, 39_000, false).await?;
    seal(store, images, told).await?;
    write(store, told, 500, 7, 500, true).await?;
    // What lives is moved, the records of images too.
    for round in 0..40 {
        store.write(extent(99), Epoch(1), 0, bytes(round, 16 << 10), Stability::Unstable).await?;
        store.inner.wake.notify_one();
        tokio::task::yield_now().await;
    }
    store.flush().await?;
    told.acknowledged();
    adopt(store, images, told).await?;
    write(store, told, 8_000, 9, 1_000, true).await
}

/// All that is left of the extent is an image of it, which is cut.
async fn adopt(store: &Store, images: &Images, told: &mut Told) -> Outcome {
    let image = images.put(vec![8; 30_000]);
    // The two records may be torn from each other; then it is asked for again.
    for end in [30_000, 9_000] {
        told.begins(|content| {
            content.fill(0);
            content[..end].fill(8);
        });
    }
    store.adopt(extent(1), Epoch(3), 1, 9_000, &image).await?;
    told.acknowledged();
    Ok(())
}

async fn check(disk: MemoryDisk, images: &Arc<Images>, told: &Told, what: &str) {
    let store = Store::open(&env_of(&disk, 2), &config(2 << 20), images.clone()).await.unwrap();
    store.inner.index.check();
    let content = read_all(&store, extent(1), 0, SPAN as u32).await;
    let known = told.contents.is_empty() || told.contents[told.stable..].contains(&content);
    assert!(known, "{what}: not what it held after act {} or later", told.stable);
    // The store is one that goes on.
    if content.iter().any(|byte| *byte != 0) {
        let mark = store.mark(extent(1)).await.unwrap();
        let image = images.seal(&store, extent(1), mark).await.unwrap();
        store.use_image(extent(1), store.size(extent(1)).epoch, mark, &image).await.unwrap();
        churn(&store).await;
        disk.crash(Crash::Drop);
        let store = Store::open(&env_of(&disk, 3), &config(2 << 20), images.clone()).await.unwrap();
        assert!(read_all(&store, extent(1), 0, SPAN as u32).await == content, "{what}: sealed again");
        assert_eq!(store.image(extent(1)).await.unwrap(), Some((mark, image)));
    }
}

#[tokio::test]
async fn a_power_cut_at_any_step_of_sealing_loses_nothing_acknowledged() {
    let (mut cut, mut acts_seen) = (0, Vec::new());
    loop {
        let (disk, images) = (MemoryDisk::new(), Arc::new(Images::default()));
        let dying = disk.mount();
        let store = Store::open(&env_of(&dying, 1), &config(2 << 20), images.clone()).await.unwrap();
        disk.cut_power_after(cut);
        let mut told = Told::default();
        let done = script(&store, &images, &mut told).await;
        acts_seen.push(told.acts);
        drop(store);
        for crash in [Crash::Drop, Crash::Keep, Crash::Tear { seed: cut }] {
            check(disk.after_crash(crash), &images, &told, &format!("cut {cut}, {crash:?}, {done:?}")).await;
        }
        if done.is_ok() {
            break;
        }
        cut += 1;
    }
    // Each act has its steps, or the script did not do what it should.
    assert!(acts_seen.is_sorted() && acts_seen.ends_with(&[13]), "{acts_seen:?}");
    assert!((1..13).all(|acts| acts_seen.contains(&acts)), "{acts_seen:?}");
    assert!(30 < cut, "{cut}");
}
