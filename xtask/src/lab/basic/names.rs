//! Names: rename, links, removal while open, odd names, listing.

use anyhow::{Result, ensure};

use crate::lab::server::Kind;
use crate::lab::stage::{self, Stage};

pub(super) fn rename(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    stage.a.run(&format!(
        "set -e; cd {dir}; mkdir one two one/sub; echo a >one/a; echo b >one/b; ino=$(stat -c %i one/a); \
         mv one/a one/c; mv one/c two/c; [ $(stat -c %i two/c) = $ino ]; [ \"$(cat two/c)\" = a ]; \
         mv -f one/b two/c; [ \"$(cat two/c)\" = b ]; [ ! -e one/b ]; \
         mkdir three; mv -T one/sub three; [ ! -e one/sub ]; [ $(stat -c %h one) = 2 ]; \
         mv one two/one; [ -d two/one ]; [ $(stat -c %h two) = 3 ]"
    ))?;
    stage.b.run(&format!("set -e; cd {dir}; [ \"$(cat two/c)\" = b ]; [ -d two/one ]; [ ! -e one ]"))?;
    stage.a.refused(None, &format!("mv {dir}/two {dir}/two/one/loop"), "subdirectory of itself")?;
    stage.a.run(&format!("mkdir {dir}/full; touch {dir}/full/x {dir}/plain"))?;
    stage.a.refused(None, &format!("mv -T {dir}/two {dir}/full"), "not empty")?;
    stage.a.refused(None, &format!("mv -T {dir}/two {dir}/plain"), "irectory")?;
    stage.a.refused(None, &format!("rmdir {dir}/full"), "not empty")
}

pub(super) fn links(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    stage.a.run(&format!(
        "set -e; cd {dir}; echo text >file; ln file second; [ $(stat -c %h file) = 2 ]; [ file -ef second ]; \
         echo more >>second; rm file; [ \"$(cat second | tr '\\n' ' ')\" = 'text more ' ]; [ $(stat -c %h second) = 1 ]; \
         ln -s second soft; [ \"$(cat soft)\" = \"$(cat second)\" ]; ln -s /nowhere/at/all dangling; \
         ln -s $(head -c 1000 /dev/zero | tr '\\0' x) long; ln -s soft chain; mkdir d; ln -s ../second d/up"
    ))?;
    stage.b.run(&format!(
        "set -e; cd {dir}; [ \"$(readlink dangling)\" = /nowhere/at/all ]; [ ! -e dangling ]; \
         [ $(readlink long | tr -d '\\n' | wc -c) = 1000 ]; [ \"$(cat chain)\" = \"$(cat second)\" ]; \
         [ \"$(cat d/up)\" = \"$(cat second)\" ]"
    ))?;
    stage.a.refused(None, &format!("ln {dir}/d {dir}/hard"), "not allowed")?;
    stage.a.refused(None, &format!("ln {dir}/second {dir}/soft"), "exists")
}

pub(super) fn unlink_open(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    stage.a.run(&format!(
        "set -e; cd {dir}; head -c 3000000 /mnt/lab/random >open; exec 3<open 4>>open; rm open; [ ! -e open ]; \
         echo tail >&4; head -c 3000000 <&3 | cmp -n 3000000 - /mnt/lab/random; [ \"$(cat <&3)\" = tail ]; \
         exec 3<&- 4>&-; cd /; sleep 0.3; [ -z \"$(ls -A {dir})\" ]"
    ))?;
    // Removed by the other guest: no silly rename happens, the server itself must keep the open
    // file.
    stage.a.run(&format!(
        "head -c 300000 /mnt/lab/random >{dir}/afar; (exec 3<{dir}/afar; touch /tmp/open; sleep 4; \
         head -c 300000 <&3 | cmp -n 300000 - /mnt/lab/random && touch /tmp/read) >/tmp/afar 2>&1 &"
    ))?;
    stage
        .a
        .run("for i in 1 2 3 4 5 6 7 8 9; do [ -e /tmp/open ] && break; sleep 0.1; done; [ -e /tmp/open ]")?;
    stage.b.run(&format!("rm {dir}/afar; [ ! -e {dir}/afar ]"))?;
    stage.a.run("echo 3 >/proc/sys/vm/drop_caches; sleep 5; cat /tmp/afar")?;
    // RFC 8881 §18.25.4 lets a server take the file away all the same; ours keeps it, as knfsd
    // does.
    let read = stage.a.run("[ -e /tmp/read ] && echo yes || cat /tmp/afar")?;
    let may_be_gone = matches!(stage.kind, Kind::Ganesha | Kind::GaneshaDurable) && read.contains("Stale");
    ensure!(read.trim() == "yes" || may_be_gone, "reading it: {read}");
    Ok(())
}

pub(super) fn odd_names(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    let long = "n".repeat(255);
    let names = [
        long.as_str(),
        "grüße-日本語-🐟",
        "with space",
        "-dash",
        "back\\slash",
        "tab\\011new\\012line",
        "star*?[",
    ];
    for name in names {
        stage.a.run(&format!(
            "cd {dir} && n=\"$(printf '%b.' '{name}')\" && n=\"${{n%.}}\" && echo \"$n\" >\"./$n\""
        ))?;
    }
    stage::remount(&stage.a)?;
    for guest in stage.guests() {
        let count = guest.run(&format!(
            "cd {dir}; for f in ./* ; do [ \"./$(cat \"$f\")\" = \"$f\" ] && echo ok; done | wc -l"
        ))?;
        ensure!(
            count.trim() == names.len().to_string(),
            "{} of {} names came back",
            count.trim(),
            names.len()
        );
    }
    stage.a.refused(None, &format!("touch {dir}/{long}x"), "too long")?;
    stage
        .a
        .run(&format!("cd {dir}; for f in ./*; do rm \"$f\" || exit 1; done; [ -z \"$(ls -A)\" ]"))
        .map(drop)
}

pub(super) fn readdir(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    stage.a.run_within(&stage.a.op(&format!("create {dir}/list 5000 0"))?, 200)?;
    // The other guest makes and removes names all along.
    stage.b.run(&format!(
        "rm -f /tmp/stop; (while [ ! -e /tmp/stop ]; do for i in 1 2 3 4 5 6 7 8; do \
         : >{dir}/list/job0/come-$i; done; rm -f {dir}/list/job0/come-*; done) >/dev/null 2>&1 &"
    ))?;
    for pass in 0..4 {
        stage.a.run("echo 3 >/proc/sys/vm/drop_caches")?;
        let seen = stage
            .a
            .run(&format!("ls -U {dir}/list/job0 | grep ^file | sort | uniq -c | awk '$1!=1' | head"))?;
        ensure!(seen.is_empty(), "pass {pass}: names listed more than once: {seen}");
        let count = stage.a.run(&format!("ls -U {dir}/list/job0 | grep -c ^file"))?;
        ensure!(count.trim() == "5000", "pass {pass}: {} of 5000 names", count.trim());
    }
    stage.b.run("touch /tmp/stop; sleep 0.5")?;
    // Removing while listing: the listing's place must survive the removals.
    stage.a.run_within(&format!("rm -rf {dir}/list && [ ! -e {dir}/list ]"), 200)?;
    stage.b.run(&format!("echo 3 >/proc/sys/vm/drop_caches; [ ! -e {dir}/list ]")).map(drop)
}
