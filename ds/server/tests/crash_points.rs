//! A fixed script, and a crash at every operation of every disk that it makes: what was promised
//! stays, nothing reads as what was never written, the script goes on to its end, and the space
//! comes back.
//!
//! All points: `cargo xtask faults crash-points` (docs/faults.md).

#![allow(clippy::unwrap_used, reason = "only tests are here")]
#![allow(dead_code, reason = "what is shared has more than is used here")]

mod bed;
#[path = "faults/chance.rs"]
mod chance;
#[path = "faults/file.rs"]
mod file;
#[path = "faults/fleet.rs"]
mod fleet;
#[path = "faults/leader.rs"]
mod leader;
#[path = "seal/metadata.rs"]
mod metadata;
#[path = "faults/rounds.rs"]
mod rounds;
#[path = "faults/script.rs"]
mod script;

use std::collections::BTreeMap;

use env::memory::{Crash, CrashPoint, Operation};
use script::{Fault, Outcome};

/// What may become of an operation, and of what was not durable when it did.
fn ways(operation: u64) -> [(&'static str, CrashPoint, Crash, bool); 7] {
    let seed = operation.wrapping_mul(31) + 1;
    [
        ("failed", CrashPoint::Fails, Crash::Drop, false),
        ("torn", CrashPoint::After, Crash::Tear { seed }, false),
        ("lost", CrashPoint::Lost, Crash::Keep, false),
        ("before", CrashPoint::Before, Crash::Drop, false),
        ("after", CrashPoint::After, Crash::Drop, false),
        ("kept", CrashPoint::After, Crash::Keep, false),
        ("all torn", CrashPoint::Before, Crash::Tear { seed }, true),
    ]
}

fn play(fault: Option<Fault>) -> Result<Outcome, ()> {
    std::panic::catch_unwind(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(script::run(fault))
    })
    .map_err(drop)
}

/// Which points are tried: all, or so many of them, spread evenly, beginning where the seed says.
fn chosen(points: u64, rounds: u64, seed: u64) -> Vec<u64> {
    let step = points.div_ceil(rounds.max(1)).max(1);
    (0..points).skip(usize::try_from(seed % step).unwrap()).step_by(usize::try_from(step).unwrap()).collect()
}

#[test]
fn crash_points() {
    let whole = play(None).expect("the script holds when nothing goes wrong");
    assert_eq!(whole.operations.len(), script::SERVERS as usize);
    let ways_count = ways(0).len() as u64;
    let points: u64 = whole.operations.iter().sum::<u64>() * ways_count;
    eprintln!("operations of each disk {:?}; {points} points", whole.operations);
    let chosen = chosen(points, rounds::rounds(14), rounds::seed());
    let (mut passed, mut missed, mut failed) = (0, 0, Vec::new());
    let mut met: BTreeMap<(Operation, &str), u64> = BTreeMap::new();
    for point in &chosen {
        let (mut operation, way) = (point / ways_count, usize::try_from(point % ways_count).unwrap());
        let mut server = 0;
        while whole.operations[server] <= operation {
            operation -= whole.operations[server];
            server += 1;
        }
        let (name, at, crash, all) = ways(operation)[way];
        let server = u32::try_from(server).unwrap() + 1;
        match play(Some(Fault { server, operation, point: at, crash, all })) {
            Ok(Outcome { reached: Some(reached), .. }) => {
                *met.entry((reached.operation, name)).or_default() += 1;
                passed += 1;
            }
            // Tasks do not always take turns in the same order.
            Ok(Outcome { reached: None, .. }) => missed += 1,
            Err(()) => {
                eprintln!("failed: server {server}, operation {operation}, {name}");
                failed.push((server, operation, name));
            }
        }
        let tried = passed + missed + failed.len();
        if rounds::is_long() && tried % 200 == 0 {
            eprintln!("{tried} of {} points, {} failed", chosen.len(), failed.len());
        }
    }
    eprintln!("reached: {met:?}; not reached: {missed}");
    eprintln!("crash-points: {} passed, {} failed", passed + missed, failed.len());
    assert!(failed.is_empty(), "{failed:?}");
}
