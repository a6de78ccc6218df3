//! Mounting: both minor versions, layouts in use, again and again.

use anyhow::{Result, ensure};

use crate::lab::stage::{self, Stage};

pub(super) fn minor_1(stage: &mut Stage) -> Result<()> {
    version(stage, "4.1")
}

pub(super) fn minor_2(stage: &mut Stage) -> Result<()> {
    version(stage, "4.2")
}

fn version(stage: &Stage, version: &str) -> Result<()> {
    stage::mount(&stage.a, &format!("vers={version}"))?;
    let options = stage.a.run("grep ' /mnt/c ' /proc/mounts")?;
    ensure!(options.contains(&format!("vers={version}")), "mounted as {options}");
    // More than fits inline: a layout is wanted.
    stage.a.run("dd if=/mnt/lab/random of=/mnt/c/first bs=1M count=4 conv=fsync status=none")?;
    stage.expect_layouts(&stage.a)?;
    stage::unmount(&stage.a)?;
    stage::mount(&stage.b, &format!("vers={version}"))?;
    stage.b.run("head -c 4194304 /mnt/lab/random | cmp - /mnt/c/first && rm /mnt/c/first")?;
    stage::unmount(&stage.b)
}

pub(super) fn again(stage: &mut Stage) -> Result<()> {
    for _ in 0..10 {
        stage::mount(&stage.a, "vers=4.2")?;
        stage.a.run("ls -la /mnt/c >/dev/null")?;
        stage::unmount(&stage.a)?;
    }
    let left = stage.a.run("ss -Htn state established dst 10.77.0.1:2049 | wc -l")?;
    ensure!(left.trim() == "0", "{left} connections left");
    Ok(())
}
