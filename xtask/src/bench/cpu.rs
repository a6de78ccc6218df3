//! How much processor time a server has used: its processes, their children, and the children that
//! have ended.

use std::collections::BTreeMap;

/// Seconds of user and system time of `roots` and all their descendants so far.
pub(super) fn seconds(roots: &[u32]) -> f64 {
    let all = all_processes();
    let mut ticks = 0;
    let mut open = roots.to_vec();
    while let Some(next) = open.pop() {
        if let Some(one) = all.get(&next) {
            ticks += one.ticks;
        }
        open.extend(all.iter().filter(|(_, one)| one.parent == next).map(|(pid, _)| *pid));
    }
    // SAFETY: sysconf takes a number and touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1);
    ticks as f64 / per_second as f64
}

/// The largest resident memory of a process so far, in KiB.
pub(crate) fn peak_resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

struct One {
    parent: u32,
    ticks: u64,
}

fn all_processes() -> BTreeMap<u32, One> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let read = |entry: std::fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((pid, parse(&stat)?))
    };
    folder.filter_map(Result::ok).filter_map(read).collect()
}

/// Reads a line of /proc/PID/stat; the name in parentheses may hold anything.
fn parse(stat: &str) -> Option<One> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(One { parent: fields.get(1)?.parse().ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_name_with_parentheses_does_not_disturb() {
        let one = parse("7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 10 20 1 2 20 0 1 0").unwrap();
        assert_eq!((one.parent, one.ticks), (3, 33));
    }
}
