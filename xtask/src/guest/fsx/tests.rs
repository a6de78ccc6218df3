//! The exerciser on the file system of this machine: it finds a lie of the model, and nothing else.

use super::*;

fn exercise(seed: u64, plant: Option<Plant>, tune: impl FnOnce(&mut Fsx)) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("shoal-fsx-{}-{seed}-{plant:?}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    // Not every file system has O_DIRECT, and only root drops caches.
    let weights = ["direct-read=0", "direct-write=0", "drop-caches=0"].map(str::to_owned).to_vec();
    let mut fsx = Fsx {
        dir: dir.clone(),
        seed,
        seconds: 3600,
        operations: Some(600),
        weights,
        sync_before_direct: false,
        neighbours: 1,
        sharing: None,
        turn: Turn { listen: None, connect: None },
        log: Some(dir.join("log")),
        plant,
    };
    tune(&mut fsx);
    let ended = fsx.run();
    std::fs::remove_dir_all(dir)?;
    ended
}

#[test]
fn a_sound_file_system_has_no_difference() {
    exercise(1, None, |_| {}).unwrap();
}

#[test]
fn a_planted_lie_is_found() {
    for plant in [Plant::Truncation, Plant::Append, Plant::LastByte] {
        let error = exercise(2, Some(plant), |_| {}).expect_err("a lie").to_string();
        assert!(error.contains("DIFFERENCE"), "{plant:?}: {error}");
        assert!(error.contains(", operation "), "{plant:?}: {error}");
        assert!(error.contains("the last operations:\n"), "{plant:?}: {error}");
    }
}

#[test]
fn without_stat_a_lie_is_found_by_reading() {
    let quiet = ["stat=0", "seek-end=0"].map(str::to_owned);
    let error = exercise(3, Some(Plant::Truncation), |fsx| fsx.weights.extend(quiet)).expect_err("a lie");
    assert!(error.to_string().contains("bytes read at") || error.to_string().contains("SIGBUS"), "{error}");
}

#[test]
fn a_difference_is_found_again_by_its_seed() {
    let found = |seed| exercise(seed, Some(Plant::Append), |_| {}).expect_err("a lie").to_string();
    let head = |text: &str| text.lines().next().map(str::to_owned);
    assert_eq!(head(&found(4)), head(&found(4)));
}
