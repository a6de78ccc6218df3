//! Two guests at once: appending, locks, close-to-open, reading what another overwrites.

use anyhow::{Result, ensure};

use crate::lab::stage::Stage;

pub(super) fn append(stage: &mut Stage) -> Result<()> {
    let file = format!("{}/log", stage.dir);
    let mut wanted = String::new();
    for turn in 0..40 {
        for guest in stage.guests() {
            let line = format!("{}-{turn}", guest.plan.name);
            guest.run(&format!("echo {line} >>{file}"))?;
            wanted.push_str(&line);
            wanted.push('\n');
        }
    }
    for guest in stage.guests() {
        let read = guest.run(&format!("cat {file}"))?;
        ensure!(read == wanted, "{} reads:\n{read}", guest.plan.name);
    }
    Ok(())
}

pub(super) fn locks(stage: &mut Stage) -> Result<()> {
    let file = format!("{}/locked", stage.dir);
    let (a, b) = (&stage.a, &stage.b);
    a.run(&format!("head -c 8192 /dev/zero >{file}"))?;
    let hold = a.op(&format!("lock {file} 0 100 --hold-ms 3000"))?;
    a.run(&format!("rm -f /tmp/held; ({hold} >/tmp/held 2>&1; echo freed >>/tmp/held) >/dev/null 2>&1 & \
                    for i in $(seq 50); do grep -q locked /tmp/held && exit 0; sleep 0.1; done; cat /tmp/held; exit 1"))?;
    b.refused(None, &b.op(&format!("lock {file} 50 10"))?, "unavailable")?;
    b.run(&b.op(&format!("lock {file} 100 10"))?)?;
    let waited = b.run(&b.op(&format!("lock {file} 0 4096 --wait"))?)?;
    let ms: u64 = waited.split_whitespace().nth(2).unwrap_or("0").parse()?;
    ensure!(500 < ms, "the waiter got it after {ms} ms, though it was held");
    let word = a.run("sleep 0.5; cat /tmp/held")?;
    ensure!(word.contains("freed"), "the holder: {word}");
    // A guest's death frees nothing before its lease ends, but its closing does, at once.
    a.run(&a.op(&format!("lock {file} 0 0"))?)?;
    b.run(&b.op(&format!("lock {file} 0 0"))?).map(drop)
}

/// More files than conformance/lab/shoal.toml lets a client keep layouts of.
const MANY_FILES: u32 = 400;
const LAYOUTS_KEPT: f64 = 256.0;

pub(super) fn layouts_kept(stage: &mut Stage) -> Result<()> {
    if !stage.has_layouts() {
        return Ok(());
    }
    let dir = &stage.dir;
    stage.a.run_within(
        &format!("for i in $(seq {MANY_FILES}); do head -c 20000 /mnt/lab/random >{dir}/$i; done"),
        200,
    )?;
    let read = format!("cd {dir} && cat $(seq {MANY_FILES}) | sha256sum");
    let asked = stage.metrics()?.sum("shoal_recalls_any_total", &[]);
    let first = stage.b.run_within(&read, 200)?;
    let mut out = f64::NAN;
    // The lease round asks once a second, and again after ten.
    for _ in 0..60 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let metrics = stage.metrics()?;
        out = metrics.sum("shoal_layouts_out", &[]);
        if asked < metrics.sum("shoal_recalls_any_total", &[]) && out <= LAYOUTS_KEPT {
            let again =
                stage.b.run_within(&format!("cd /; echo 3 >/proc/sys/vm/drop_caches; {read}"), 200)?;
            ensure!(first == again, "other bytes after layouts were given back");
            return Ok(());
        }
    }
    let metrics = stage.metrics()?;
    let count = |op: &str| metrics.sum("shoal_nfs_requests_total", &[&format!("op=\"{op}\"")]);
    let (got, returned) = (count("LAYOUTGET"), count("LAYOUTRETURN"));
    anyhow::bail!("{out} layouts are still out; {got} LAYOUTGET, {returned} LAYOUTRETURN so far")
}

pub(super) fn close_to_open(stage: &mut Stage) -> Result<()> {
    let dir = &stage.dir;
    for turn in 0..6u64 {
        // Each writes its own file, reads the other's: sizes on both sides of what is kept inline,
        // and several extents.
        let bytes = [100, 20_000, 5_000_000, 70_000_000, 0, 3][usize::try_from(turn)?];
        for guest in stage.guests() {
            let (own, skip) = (&guest.plan.name, turn * 1000 + u64::from(guest.plan.name == "b"));
            guest.run(&format!("tail -c +{} /mnt/lab/random | head -c {bytes} >{dir}/by-{own}", skip + 1))?;
        }
        for (reader, writer) in [(&stage.a, "b"), (&stage.b, "a")] {
            let skip = turn * 1000 + u64::from(writer == "b");
            let seen = reader.run(&format!("wc -c <{dir}/by-{writer}"))?;
            ensure!(seen.trim() == bytes.to_string(), "turn {turn}: by-{writer} has {seen} of {bytes} bytes");
            reader.run(&format!(
                "tail -c +{} /mnt/lab/random | head -c {bytes} | cmp - {dir}/by-{writer}",
                skip + 1
            ))?;
        }
    }
    // The same name, recreated by each in turns.
    for turn in 0..10 {
        let (writer, reader) = if turn % 2 == 0 { (&stage.a, &stage.b) } else { (&stage.b, &stage.a) };
        writer.run(&format!("echo {turn} >{dir}/.tmp && mv {dir}/.tmp {dir}/shared"))?;
        let seen = reader.run(&format!("cat {dir}/shared"))?;
        ensure!(seen.trim() == turn.to_string(), "turn {turn}: the reader sees {seen}");
    }
    Ok(())
}

pub(super) fn overwrite(stage: &mut Stage) -> Result<()> {
    let file = format!("{}/overwritten", stage.dir);
    let (a, b) = (&stage.a, &stage.b);
    a.run(&a.op(&format!("fill {file} {} 1", 96 << 20))?)?;
    let over = b.op(&format!("overwrite {file} /tmp/enough"))?;
    b.run(&format!("rm -f /tmp/enough /tmp/last; ({over} >/tmp/last 2>&1) >/dev/null 2>&1 &"))?;
    a.run_within(&a.op(&format!("watch {file} 8"))?, 90)?;
    b.run("touch /tmp/enough; for i in $(seq 300); do [ -s /tmp/last ] && exit 0; sleep 0.1; done; exit 1")?;
    let last: u64 = b.run("cat /tmp/last")?.trim().parse()?;
    ensure!(2 <= last, "the file was never written over");
    for guest in stage.guests() {
        guest.run(&guest.op(&format!("compare {file} {last}"))?)?;
    }
    Ok(())
}
