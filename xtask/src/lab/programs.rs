//! The group `programs`: real programs that must not notice where they work.

use anyhow::{Result, ensure};

use super::postgres;
use super::scenario::{Needs, Scenario};
use super::stage::{self, Stage};
use crate::process;

const fn row(name: &'static str, play: fn(&mut Stage) -> Result<()>, proves: &'static str) -> Scenario {
    Scenario { group: "programs", name, proves, needs: Needs::Mount, play }
}

/// In the order they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("git", git, "git clones onto the mount, commits there, and fsck finds nothing"),
    row("make", make, "a C project compiles, links and runs on the mount"),
    row("sqlite", sqlite, "sqlite3 inserts in transactions under locks, and its integrity check passes"),
    row("tar", tar, "a tree of this machine unpacks, and diff -r after a remount finds nothing"),
    row("fio", fio, "fio's random writes verify"),
    postgres::CALM_SCENARIO,
];

fn git(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    // A repository of some hundred commits, made in the guest's memory: it is the same on each
    // machine.
    let script = include_str!("../../../conformance/lab/git-source.sh");
    stage.a.run_within(script, 200)?;
    stage.a.run_within(
        &format!(
            "set -e; export HOME=/tmp; cd {dir}; git clone -q --no-hardlinks file:///tmp/source clone; cd clone; git fsck --strict; \
             [ -z \"$(git status --porcelain)\" ]; echo more >>file-1; git commit -qam more; git gc -q; git fsck --strict"
        ),
        300,
    )?;
    stage::remount(&stage.a)?;
    stage.b.run_within(
        &format!(
            "export HOME=/tmp; cd {dir}/clone && git fsck --strict && [ -z \"$(git status --porcelain)\" ]"
        ),
        200,
    )?;
    stage.a.run("rm -rf /tmp/source").map(drop)
}

fn make(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    let project = stage.folder.join("c-project");
    if !project.exists() {
        std::fs::create_dir(&project)?;
        std::fs::write(project.join("generate.sh"), include_str!("../../../conformance/lab/c-project.sh"))?;
    }
    stage.a.run_within(&format!("mkdir {dir}/project && cd {dir}/project && sh /mnt/lab/c-project/generate.sh && make -s -j2 && ./program"), 300)?;
    // Nothing changed: nothing is to be made. Time stamps have to make sense for that.
    let again = stage.a.run(&format!("cd {dir}/project && make"))?;
    ensure!(again.contains("up to date"), "a second make did something: {again}");
    stage.b.run(&format!("{dir}/project/program")).map(drop)
}

fn sqlite(stage: &mut Stage) -> Result<()> {
    let base = format!("{}/data.db", stage.dir);
    let script = include_str!("../../../conformance/lab/sqlite.sh");
    stage.a.run_within(&format!("BASE={base}\n{script}"), 200)?;
    stage::remount(&stage.a)?;
    let sound = "PRAGMA integrity_check; SELECT count(*) FROM item;";
    for guest in stage.guests() {
        let said = guest.run(&format!("sqlite3 {base} '{sound}'"))?;
        ensure!(
            said.split_whitespace().collect::<Vec<_>>() == ["ok", "4000"],
            "{} says: {said}",
            guest.plan.name
        );
    }
    // Both at once, on the same table: locks keep them apart, busy ones wait.
    let busy = |from: u32| {
        format!(
            "for i in $(seq {from} $(({from}+19))); do sqlite3 -cmd '.timeout 30000' {base} \"INSERT INTO item VALUES($i+100000,'x')\" || exit 1; done"
        )
    };
    stage.b.run(&format!(
        "rm -f /tmp/rows; (({}) >/tmp/rows.log 2>&1; echo $? >/tmp/rows) >/dev/null 2>&1 &",
        busy(1)
    ))?;
    stage.a.run(&busy(1000))?;
    stage.b.run("for i in $(seq 400); do [ -s /tmp/rows ] && break; sleep 0.1; done; cat /tmp/rows.log; [ \"$(cat /tmp/rows)\" = 0 ]")?;
    let said = stage.a.run(&format!("sqlite3 {base} '{sound}'"))?;
    ensure!(said.split_whitespace().collect::<Vec<_>>() == ["ok", "4040"], "after both inserted: {said}");
    Ok(())
}

fn tar(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    // The archive is made once on this side, of folders that every Debian machine has, up to a size
    // that keeps the lab short.
    let archive = stage.folder.join("tree.tar");
    if !archive.exists() {
        let list = "cd /usr/share && find . -xdev -type f -size -2M -printf '%s %p\\n' | sort -k2 | \
                    awk '{s+=$1; if (s>120000000 || NR>6000) exit; print substr($0, index($0,\" \")+1)}'";
        let names = stage.folder.join("tree.names");
        process::output(
            std::process::Command::new("sh").arg("-c").arg(format!("{list} >{}", names.display())),
        )?;
        process::output(
            std::process::Command::new("tar")
                .arg("-C")
                .arg("/usr/share")
                .arg("-T")
                .arg(&names)
                .arg("-cf")
                .arg(&archive),
        )?;
    }
    stage.a.run_within(&format!("mkdir {dir}/tree && tar -C {dir}/tree -xf /mnt/lab/tree.tar"), 400)?;
    stage::remount(&stage.a)?;
    stage.a.run_within(&format!("cd {dir}/tree && tar -df /mnt/lab/tree.tar"), 300)?;
    let wrong = stage.b.run_within(
        &format!("diff -r --no-dereference {dir}/tree /usr/share | grep -v '^Only in /usr/share' | head -5"),
        300,
    )?;
    ensure!(wrong.is_empty(), "diff -r says: {wrong}");
    stage.a.run_within(&format!("rm -rf {dir}/tree"), 200).map(drop)
}

fn fio(stage: &mut Stage) -> Result<()> {
    let job = include_str!("../../../conformance/lab/verify.fio");
    std::fs::write(stage.folder.join("verify.fio"), job)?;
    let said = stage
        .a
        .run_within(&format!("cd /tmp && DIRECTORY={} fio /mnt/lab/verify.fio 2>&1", stage.dir), 300)?;
    ensure!(!said.contains("verify: bad") && !said.contains("error="), "fio: {said}");
    Ok(())
}
