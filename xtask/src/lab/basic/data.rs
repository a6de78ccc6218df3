//! File data: large, small, sparse, cut, direct, mapped.

use anyhow::{Context, Result, ensure};

use crate::lab::stage::{self, Stage};

const SMALL_FILES: u32 = 10_000;

pub(super) fn large_file(stage: &mut Stage) -> Result<()> {
    let before = stage.server.metrics()?;
    let dir = &stage.dir;
    stage.a.run_within(&format!("dd if=/mnt/lab/random of={dir}/large bs=1M conv=fsync status=none"), 300)?;
    stage.expect_layouts(&stage.a)?;
    expect_data_servers(stage)?;
    stage::remount(&stage.a)?;
    let sum = |guest: &crate::lab::guest::Guest| guest.run_within(&format!("sha256sum <{dir}/large"), 300);
    let wanted = std::fs::read_to_string(stage.folder.join("random.sha256"))?;
    ensure!(sum(&stage.a)?.trim() == wanted.trim(), "another SHA-256 after a remount");
    ensure!(sum(&stage.b)?.trim() == wanted.trim(), "another SHA-256 in the other guest");
    let Some(before) = before else { return Ok(()) };
    let after = stage.metrics()?;
    let moved = |role: &str| {
        let label = format!("role=\"{role}\"");
        after.sum("shoal_data_bytes_total", &[&label]) - before.sum("shoal_data_bytes_total", &[&label])
    };
    let (by_mds, by_ds) = (moved("mds"), moved("ds"));
    ensure!(3.0 * f64::from(1 << 30) <= by_ds, "the data servers moved {by_ds} bytes of 3 GiB");
    ensure!(by_mds < by_ds / 100.0, "the metadata server moved {by_mds} bytes, the data servers {by_ds}");
    Ok(())
}

/// The guest must have talked to at least two data servers.
fn expect_data_servers(stage: &Stage) -> Result<()> {
    let addresses = stage.server.data_addresses();
    if addresses.is_empty() {
        return Ok(());
    }
    let peers = stage.a.run("ss -Htn state established | awk '{print $4}'")?;
    let used = addresses.iter().filter(|address| peers.contains(&format!("{address}:"))).count();
    ensure!(2 <= used, "only {used} of {} data servers have a connection:\n{peers}", addresses.len());
    Ok(())
}

pub(super) fn small_files(stage: &mut Stage) -> Result<()> {
    let arguments = format!("{}/many {} 3000 --jobs 4", stage.dir, SMALL_FILES / 4);
    stage.a.run_within(&stage.a.op(&format!("create {arguments}"))?, 300)?;
    stage::remount(&stage.a)?;
    stage.a.run_within(&stage.a.op(&format!("check {arguments}"))?, 300)?;
    // The other guest has never seen them; a tenth is enough for it.
    stage.b.run_within(&format!("cat {}/many/job3/file-00*9 | wc -c", stage.dir), 300)?;
    stage.a.run_within(&stage.a.op(&format!("unlink {arguments}"))?, 300)?;
    let left = stage.b.run(&format!("find {}/many -type f | wc -l", stage.dir))?;
    ensure!(left.trim() == "0", "{} files are left", left.trim());
    Ok(())
}

pub(super) fn sparse(stage: &mut Stage) -> Result<()> {
    let file = format!("{}/sparse", stage.dir);
    // 40 GiB, three islands: at the start, in the middle of an extent, at the end.
    let far: u64 = 40 << 30;
    let middle: u64 = (5 << 30) + 12345;
    stage.a.run(&format!(
        "printf start >{file}; printf middle | dd of={file} bs=1 seek={middle} conv=notrunc status=none; \
         printf end | dd of={file} bs=1 seek={far} conv=notrunc,fsync status=none"
    ))?;
    stage::remount(&stage.a)?;
    for guest in stage.guests() {
        let size = guest.run(&format!("wc -c <{file}"))?;
        ensure!(size.trim() == (far + 3).to_string(), "the size is {size}");
        let at = |offset: u64, count: u32| {
            guest.run(&format!("tail -c +{} {file} | head -c {count} | tr '\\0' .", offset + 1))
        };
        ensure!(at(0, 8)? == "start...", "the start");
        ensure!(at(middle - 2, 10)? == "..middle..", "the middle");
        ensure!(at(far - 3, 9)? == "...end", "the end");
    }
    let zeros =
        stage.a.run(&format!("dd if={file} bs=1M skip=1000 count=64 status=none | tr -d '\\0' | wc -c"))?;
    ensure!(zeros.trim() == "0", "a hole holds {zeros} bytes that are not zero");
    let used: u64 = stage.a.run(&format!("du -B1 {file} | cut -f1"))?.trim().parse()?;
    ensure!(used < 1 << 30, "three words use {used} bytes");
    Ok(())
}

pub(super) fn truncate(stage: &mut Stage) -> Result<()> {
    let file = format!("{}/cut", stage.dir);
    let (written, cut): (u64, u64) = (160 << 20, (70 << 20) + 777);
    stage.a.run_within(&format!("head -c {written} /mnt/lab/random >{file}; sync {file}"), 120)?;
    for (step, size) in [("down", cut), ("up", written)] {
        stage.a.run(&format!("truncate -s {size} {file}"))?;
        // Opened, not just looked at: attributes may be seconds old, but not those of a file that
        // was opened.
        let seen = stage.b.run(&format!("wc -c <{file}"))?;
        ensure!(seen.trim() == size.to_string(), "{step}: the other guest sees {seen} instead of {size}");
    }
    let same = format!("cmp -n {cut} {file} /mnt/lab/random");
    let zeros = format!("tail -c +{} {file} | tr -d '\\0' | wc -c", cut + 1);
    for guest in stage.guests() {
        guest.run(&same).context("what was below the cut")?;
        let beyond = guest.run(&zeros)?;
        ensure!(beyond.trim() == "0", "{} bytes came back in {}", beyond.trim(), guest.plan.name);
    }
    // A small file, which lives elsewhere: grown past any inline size, and cut into it again.
    stage.a.run(&format!(
        "f={file}.small; printf 0123456789 >$f; truncate -s 5 $f; truncate -s 2M $f; truncate -s 8 $f; \
         [ \"$(tr '\\0' . <$f)\" = 01234... ]"
    ))?;
    stage::remount(&stage.a)?;
    stage.a.run(&format!("[ \"$(tr '\\0' . <{file}.small)\" = 01234... ] && {same}"))?;
    Ok(())
}

pub(super) fn direct(stage: &mut Stage) -> Result<()> {
    stage.a.run(&stage.a.op(&format!("direct {}/direct", stage.dir))?).map(drop)
}

pub(super) fn mapping(stage: &mut Stage) -> Result<()> {
    stage.a.run(&stage.a.op(&format!("mapping {}/mapped", stage.dir))?).map(drop)
}

pub(super) fn in_between(stage: &mut Stage) -> Result<()> {
    // The same pieces go to the mount and to a file of the guest's own memory; both must be alike
    // at the end.
    let script = format!(
        "set -e; d={0}; rm -f /tmp/twin; for o in 0 4095 4097 65535 1048575 67108860 67108863 67108865 134217700 3 99999999; do \
         for f in $d/between /tmp/twin; do \
         dd if=/mnt/lab/random of=$f bs=1 count=37 skip=$o seek=$o conv=notrunc status=none; done; done; \
         dd if=/mnt/lab/random of=$d/between bs=77777 count=300 seek=700 conv=notrunc status=none; \
         dd if=/mnt/lab/random of=/tmp/twin bs=77777 count=300 seek=700 conv=notrunc status=none; sync $d/between",
        stage.dir
    );
    stage.a.run(&script)?;
    stage.a.run(&format!("cmp {}/between /tmp/twin", stage.dir))?;
    stage::remount(&stage.a)?;
    stage.a.run(&format!("cmp {}/between /tmp/twin && rm /tmp/twin", stage.dir)).map(drop)
}
