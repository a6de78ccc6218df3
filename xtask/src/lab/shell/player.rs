//! Plays lines: the folders on both mounts, the scripts, and what they leave.

use anyhow::{Result, ensure};

use super::line::Line;
use super::verdict::{Outcome, Said};
use crate::lab::agent::Ask;
use crate::lab::guest::Guest;
use crate::lab::stage::{REFERENCE_MOUNT, Stage};

/// A script that has not ended by then is stuck.
const STEP_SECONDS_MAX: u64 = 240;
/// Bytes of the file that scripts take their data from.
const NOISE_BYTES: usize = 8 << 20;
const PRELUDE: &str = include_str!("../../../../conformance/lab/shell/prelude.sh");

/// Which of the two mounts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mounted {
    Tested,
    Reference,
}

/// Both mounts in both guests, ready for the lines of one topic.
pub(super) struct Player<'a> {
    stage: &'a Stage,
    topic: &'static str,
}

impl<'a> Player<'a> {
    /// Writes what scripts need into the run's folder. Both servers are mounted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn prepare(stage: &'a Stage, topic: &'static str) -> Result<Self> {
        let scripts = stage.folder.join("shell");
        if !scripts.exists() {
            std::fs::create_dir(&scripts)?;
            std::fs::write(scripts.join("noise"), noise(NOISE_BYTES))?;
            std::fs::write(scripts.join("prelude.sh"), PRELUDE)?;
        }
        Ok(Self { stage, topic })
    }

    /// Writes a line's scripts, which both plays read. Files, so that bash's own messages name the
    /// same place in both.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn write_scripts(&self, line: &Line) -> Result<()> {
        for (number, (_, script)) in line.steps().enumerate() {
            let path = self.stage.folder.join(format!("shell/{}-{number}.sh", line.name));
            std::fs::write(path, format!(". /mnt/lab/shell/prelude.sh\n{script}\n"))?;
        }
        Ok(())
    }

    /// Plays a line in a new folder of one mount.
    ///
    /// # Errors
    /// When a guest does not answer, or the folder cannot be made. What the scripts come to is no
    /// error.
    pub(super) fn play(&self, line: &Line, mounted: Mounted) -> Result<Outcome> {
        let folder = self.folder(line, mounted);
        let mut steps = Vec::new();
        let guests = self.guests(mounted);
        for (number, (guest, _)) in line.steps().enumerate() {
            let said = step(guests[guest], &format!("{}-{number}", line.name), &folder)?;
            let stuck = said.code.is_none();
            steps.push(said);
            if stuck {
                return Ok(Outcome { steps, files: String::new(), files_from_afar: String::new() });
            }
        }
        let [files, files_from_afar] = guests.map(|guest| look(guest, &folder));
        Ok(Outcome { steps, files: files?, files_from_afar: files_from_afar? })
    }

    /// The first and the second guest of a play. The reference has them the other way round, so
    /// that both plays of a line run at the same time and no guest waits for the other play's
    /// programs.
    fn guests(&self, mounted: Mounted) -> [&Guest; 2] {
        let [a, b] = self.stage.guests();
        if mounted == Mounted::Tested { [a, b] } else { [b, a] }
    }

    fn folder(&self, line: &Line, mounted: Mounted) -> String {
        match mounted {
            Mounted::Tested => format!("{}/{}", self.stage.dir, line.name),
            Mounted::Reference => format!("{REFERENCE_MOUNT}/{}/{}", self.topic, line.name),
        }
    }

    /// Where the files that a line left on both mounts differ, for a reader of the failure.
    pub(super) fn differing_bytes(&self, line: &Line) -> Vec<String> {
        let [tested, reference] = [Mounted::Tested, Mounted::Reference].map(|side| self.folder(line, side));
        let script = format!(
            "cd {reference} && find . -type f | sort | while read -r f; do cmp -s -n 67108864 \"{tested}/$f\" \"$f\" || \
             echo \"$f: $(cmp -l -n 67108864 \"{tested}/$f\" \"$f\" 2>/dev/null | awk 'NR==1{{first=$1}}{{last=$1}}END{{if(NR)print NR \
             \" bytes differ, from\", first, \"to\", last; else print \"one is shorter\"}}')\"; done | head -5"
        );
        let said = self.stage.b.run(&script);
        said.map_or_else(|error| vec![format!("{error:#}")], |said| said.lines().map(str::to_owned).collect())
    }

    /// Removes what the lines left with the reference; the folder of the server under test is the
    /// run's.
    pub(super) fn clear(&self) {
        let _ = self.stage.a.run(&format!("rm -rf {REFERENCE_MOUNT}/{}", self.topic));
    }
}

fn step(guest: &Guest, name: &str, folder: &str) -> Result<Said> {
    let script = format!("mkdir -p {folder} && cd {folder} && exec bash /mnt/lab/shell/{name}.sh");
    let reply = guest.ask(&Ask { script, uid: None, timeout_s: STEP_SECONDS_MAX })?;
    Ok(Said { code: reply.code, stdout: reply.stdout, stderr: reply.stderr })
}

fn look(guest: &Guest, folder: &str) -> Result<String> {
    let script = guest.op(&format!("look {folder}"))?;
    let reply = guest.ask(&Ask { script, uid: None, timeout_s: STEP_SECONDS_MAX })?;
    ensure!(reply.code.is_some(), "files in {folder} cannot be listed in {STEP_SECONDS_MAX} s");
    // A file that cannot be read is a difference, and what the program says of it is in it.
    Ok(reply.stdout + &reply.stderr)
}

/// Bytes that are the same in each run and that no two places of a file share: so tables can hold
/// their sums.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_be_bytes());
    }
    noise.truncate(bytes);
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_in_each_run() {
        assert_eq!(noise(9), [&noise(8)[..], &noise(16)[8..9]].concat());
        let words: std::collections::BTreeSet<Vec<u8>> =
            noise(1 << 16).chunks(8).map(<[u8]>::to_vec).collect();
        assert_eq!(words.len(), 1 << 13);
    }
}
