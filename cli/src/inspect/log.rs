//! A log printed record by record: the walk, the checks, `--last`, and damage told with file and
//! offset.

use std::collections::VecDeque;
use std::path::Path;

use crate::args::InspectLog;

use super::segment::{Finding, Found, Segment, Verdict, list};
use super::sink::{Facts, Sink};

/// Says in words what a record is, given its header and what reads its payload.
pub(super) type Describe = dyn Fn(&Found, &dyn Fn() -> Option<Vec<u8>>) -> (String, Facts);

/// Prints all records, or the last ones. Damage is printed where it is, and counted.
///
/// # Errors
/// If the directory cannot be read, `out` not be written, or if anything was damaged: after all
/// else was printed.
pub(super) fn print(log: &InspectLog, describe: &Describe, out: &mut Sink<'_>) -> anyhow::Result<()> {
    let mut damaged = 0_u64;
    let segments = list(&log.dir)?;
    let mut opened = Vec::new();
    for (seq, path) in segments {
        match Segment::open(seq, path.clone()) {
            Ok(segment) => opened.push(segment),
            Err(error) => {
                damaged += 1;
                unread(&path, &error, out)?;
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
            unread(&segment.path, &error, out)?;
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

fn unread(path: &Path, error: &std::io::Error, out: &mut Sink<'_>) -> std::io::Result<()> {
    let facts = Facts::new(false).with("file", path.display().to_string()).with("damage", error.to_string());
    out.line(&format!("{}: {error}", path.display()), facts)
}

fn print_one(
    segment: &Segment,
    finding: &Finding,
    describe: &Describe,
    out: &mut Sink<'_>,
    damaged: &mut u64,
) -> std::io::Result<()> {
    let file = segment.path.display();
    match finding {
        Finding::Bad { offset, what } => {
            *damaged += 1;
            let facts = Facts::new(false).with("file", file.to_string()).with("at", *offset);
            out.line(&format!("{file} at {offset}: {what}"), facts.with("damage", what.as_str()))
        }
        Finding::Record(found) => {
            let (verdict, ok) = match segment.verify(found)? {
                Verdict::Ok => ("checksums ok".to_owned(), true),
                Verdict::Bad { offset, what } => {
                    *damaged += 1;
                    (format!("checksums BAD ({what}, {file} at {offset})"), false)
                }
            };
            let (words, facts) = describe(found, &|| segment.payload(found).ok());
            let facts = Facts::new(ok).and(facts).with("file", file.to_string()).with("at", found.offset);
            out.line(&format!("{:x}:{:#010x} {words} | {verdict}", segment.seq, found.offset), facts)
        }
    }
}
