//! A log printed record by record: the walk, the checks, `--last`, and damage told with file and offset.

use std::collections::VecDeque;
use std::io::Write;

use crate::args::InspectLog;

use super::segment::{Finding, Found, Segment, Verdict, list};

/// Says in words what a record is, given its header and what reads its payload.
pub(super) type Describe = dyn Fn(&Found, &dyn Fn() -> Option<Vec<u8>>) -> String;

/// Prints all records, or the last ones. Damage is printed where it is, and counted.
///
/// # Errors
/// If the directory cannot be read, `out` not be written, or if anything was damaged: after all else was printed.
pub(super) fn print(log: &InspectLog, describe: &Describe, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut damaged = 0_u64;
    let segments = list(&log.dir)?;
    let mut opened = Vec::new();
    for (seq, path) in segments {
        match Segment::open(seq, path.clone()) {
            Ok(segment) => opened.push(segment),
            Err(error) => {
                damaged += 1;
                writeln!(out, "{}: {error}", path.display())?;
            }
        }
    }
    let mut kept: VecDeque<(usize, Finding)> = VecDeque::new();
    for (index, segment) in opened.iter().enumerate() {
        let mut outcome = Ok(());
        let walked = segment.walk(&mut |finding| match log.last {
            Some(last) => {
                kept.push_back((index, finding));
                if last < kept.len() {
                    kept.pop_front();
                }
            }
            None if outcome.is_ok() => outcome = print_one(segment, &finding, describe, out, &mut damaged),
            None => {}
        });
        outcome?;
        if let Err(error) = walked {
            damaged += 1;
            writeln!(out, "{}: {error}", segment.path.display())?;
        }
    }
    for (index, finding) in &kept {
        print_one(&opened[*index], finding, describe, out, &mut damaged)?;
    }
    if damaged != 0 {
        anyhow::bail!("{}: {damaged} damaged places, see above", log.dir.display());
    }
    Ok(())
}

fn print_one(
    segment: &Segment,
    finding: &Finding,
    describe: &Describe,
    out: &mut dyn Write,
    damaged: &mut u64,
) -> std::io::Result<()> {
    let file = segment.path.display();
    match finding {
        Finding::Bad { offset, what } => {
            *damaged += 1;
            writeln!(out, "{file} at {offset}: {what}")
        }
        Finding::Record(found) => {
            let verdict = match segment.verify(found)? {
                Verdict::Ok => "checksums ok".to_owned(),
                Verdict::Bad { offset, what } => {
                    *damaged += 1;
                    format!("checksums BAD ({what}, {file} at {offset})")
                }
            };
            let words = describe(found, &|| segment.payload(found).ok());
            writeln!(out, "{:x}:{:#010x} {words} | {verdict}", segment.seq, found.offset)
        }
    }
}
