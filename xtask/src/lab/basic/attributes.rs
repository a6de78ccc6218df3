//! Attributes: who may do what, times, and how full it is.

use anyhow::{Result, ensure};

use crate::lab::stage::{self, Stage};

const USER: u32 = 1234;

pub(super) fn permissions(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    stage.a.run(&format!(
        "set -e; cd {dir}; echo secret >root-only; chmod 600 root-only; echo all >readable; chmod 644 readable; \
         mkdir closed open sticky; chmod 700 closed; touch closed/x; chmod 777 open; chmod 1777 sticky; \
         echo r >sticky/roots; echo mine >owned; chown {USER}:{USER} owned; chmod 640 owned; \
         printf '#!/bin/sh\\necho ran\\n' >run; chmod 711 run; [ $(stat -c %u:%g:%a owned) = {USER}:{USER}:640 ]"
    ))?;
    for guest in stage.guests() {
        let name = &guest.plan.name;
        guest.refused(Some(USER), &format!("cat {dir}/root-only"), "denied")?;
        guest.refused(Some(USER), &format!("echo x >>{dir}/readable"), "denied")?;
        guest.refused(Some(USER), &format!("ls {dir}/closed/x"), "denied")?;
        guest.refused(Some(USER), &format!("touch {dir}/closed/y"), "denied")?;
        guest.refused(Some(USER), &format!("touch {dir}/new"), "denied")?;
        guest.refused(Some(USER), &format!("chmod 777 {dir}/readable"), "not permitted")?;
        guest.refused(Some(USER), &format!("chown {USER} {dir}/readable"), "not permitted")?;
        guest.refused(Some(USER), &format!("chown 0 {dir}/owned"), "not permitted")?;
        guest.refused(Some(USER), &format!("rm -f {dir}/sticky/roots"), "not permitted")?;
        guest.refused(Some(USER), &format!("mv {dir}/readable {dir}/open/"), "denied")?;
        guest.refused(Some(USER + 1), &format!("cat {dir}/owned"), "denied")?;
        guest.run_as(
            USER,
            &format!(
                "cat {dir}/owned; echo more >>{dir}/owned; chmod 600 {dir}/owned; chmod 640 {dir}/owned"
            ),
        )?;
        guest.run_as(
            USER,
            &format!("cd {dir}/open && echo x >{name} && [ $(stat -c %u {name}) = {USER} ] && rm {name}"),
        )?;
        guest.run_as(USER, &format!("cat {dir}/readable {dir}/sticky/roots >/dev/null"))?;
    }
    // A set-group-id directory hands its group on; a write by another takes set-user-id away.
    stage.a.run(&format!(
        "set -e; cd {dir}; mkdir g; chgrp 77 g; chmod 2777 g; cp /bin/true suid; chown {USER} suid; chmod 4777 suid"
    ))?;
    stage.b.run_as(
        USER + 1,
        &format!("cd {dir}/g; touch f; mkdir d; [ $(stat -c %g f) = 77 ]; [ $(stat -c %a d | cut -c1) = 2 ]"),
    )?;
    stage.b.run_as(USER + 1, &format!("echo x >>{dir}/suid"))?;
    let mode = stage.a.run(&format!("sleep 1; echo 3 >/proc/sys/vm/drop_caches; stat -c %a {dir}/suid"))?;
    ensure!(mode.trim() == "777", "after a write by another the mode is {mode}");
    Ok(())
}

pub(super) fn times(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    stage.a.run(&format!(
        "set -e; cd {dir}; echo x >f; touch -d '2001-02-03 04:05:06.789' f; \
         [ \"$(stat -c %Y f)\" = \"$(date -d '2001-02-03 04:05:06' +%s)\" ]; m=$(stat -c %y .); c=$(stat -c %z f); sleep 0.05; \
         touch g; [ \"$(stat -c %y .)\" != \"$m\" ]; chmod 600 f; [ \"$(stat -c %z f)\" != \"$c\" ]; \
         [ \"$(stat -c %Y f)\" = \"$(date -d '2001-02-03 04:05:06' +%s)\" ]; echo y >>f; [ $(stat -c %Y f) -gt 1600000000 ]"
    ))?;
    let seconds = stage.b.run(&format!("echo $(( $(date +%s) - $(stat -c %Y {dir}/f) ))"))?;
    ensure!(seconds.trim().parse::<i64>()?.abs() < 60, "the file's time is {seconds} s from the clock");
    // Far away times go both ways.
    stage.a.run(&format!(
        "cd {dir}; touch -d '1970-01-02' f; [ $(stat -c %Y f) -lt 200000 ]; touch -d '2100-01-01' f"
    ))?;
    stage::remount(&stage.a)?;
    stage.a.run(&format!("[ $(stat -c %Y {dir}/f) -gt 4000000000 ]")).map(drop)
}

/// Bytes by which two looks at the free space may differ while nothing goes on.
const STILL_BYTES: i64 = 4 << 20;
/// What 200 MiB take at the least, of the space that is counted as two copies' share: sealed in 2+1
/// it is 150, and some of it is room that was set aside before.
const TAKEN_BYTES: i64 = 130 << 20;

pub(super) fn df(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    let total: i64 = stage.a.run("df -B1 --output=size /mnt/c | tail -1")?.trim().parse()?;
    // Servers may still remove and seal what a scenario before this one left.
    let before = settled(stage)?;
    ensure!(0 < before && before <= total, "{before} of {total} bytes free");
    stage.a.run(&format!("head -c 200M /mnt/lab/random >{dir}/weight; sync {dir}/weight"))?;
    wait_for("as much less is free", stage, |free| free < before - TAKEN_BYTES)?;
    stage.a.run(&format!("rm {dir}/weight"))?;
    wait_for("the space is free again", stage, |free| before - (60 << 20) < free)?;
    let inodes: i64 = stage.a.run("df --output=itotal /mnt/c | tail -1")?.trim().parse()?;
    ensure!(0 <= inodes, "{inodes} inodes");
    Ok(())
}

fn free_bytes(stage: &Stage) -> Result<i64> {
    Ok(stage.a.run("df -B1 --output=avail /mnt/c | tail -1")?.trim().parse()?)
}

/// The free space, once it has stood still for two seconds.
fn settled(stage: &Stage) -> Result<i64> {
    let (mut last, mut still) = (free_bytes(stage)?, 0);
    wait_for("the free space stands still", stage, |free| {
        still = if (free - last).abs() <= STILL_BYTES { still + 1 } else { 0 };
        last = free;
        4 <= still
    })?;
    Ok(last)
}

/// Waits half a minute for something that servers do in the background to show in the free space.
fn wait_for(what: &str, stage: &Stage, mut holds: impl FnMut(i64) -> bool) -> Result<()> {
    let mut seen = Vec::new();
    for _ in 0..60 {
        let free = free_bytes(stage)?;
        if holds(free) {
            return Ok(());
        }
        seen.push(free >> 20);
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    anyhow::bail!("after 30 s it is still not so that {what}; MiB free: {seen:?}")
}
