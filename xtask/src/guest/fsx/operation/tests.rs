//! The generator: replayable, within its bounds, and every kind of operation is drawn.

use std::collections::BTreeSet;

use super::*;
use crate::guest::fsx::model::Model;

fn steps(seed: u64, changes: &[&str], guests: Guests, most: u64) -> Vec<Step> {
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    let weights = Weights::parse(&changes).unwrap();
    let (mut generator, mut model) = (Generator::new(seed, &weights, guests, most), Model::new(seed, None));
    std::iter::from_fn(|| {
        let step = generator.next(model.size())?;
        model.apply(step.operation, step.number);
        Some(step)
    })
    .collect()
}

fn name(step: &Step) -> String {
    step.operation.to_string().split(|one: char| one.is_ascii_digit()).next().unwrap().to_owned()
}

#[test]
fn the_same_seed_gives_the_same_operations() {
    assert_eq!(steps(5, &[], Guests::MIXED, 200), steps(5, &[], Guests::MIXED, 200));
    assert_ne!(steps(5, &[], Guests::MIXED, 200), steps(6, &[], Guests::MIXED, 200));
}

#[test]
fn fewer_operations_are_the_beginning_of_more() {
    let (few, many) = (steps(9, &[], Guests::One, 30), steps(9, &[], Guests::One, 40));
    assert_eq!(few[..=30], many[..=30]);
    assert_eq!(few.last().unwrap().operation, Operation::Remove);
}

#[test]
fn every_kind_is_drawn() {
    let all: BTreeSet<String> = (0..50)
        .flat_map(|seed| steps(seed, &["pause=1"], Guests::One, 500))
        .map(|step| name(&step))
        .collect();
    // Both kinds of append, msync or not, and the three of the beginning and the ending.
    assert_eq!(all.len(), Kind::value_variants().len() + 2 + 3, "{all:?}");
}

#[test]
fn a_weight_of_zero_is_never_drawn() {
    let drawn = steps(3, &["fsync=0", "fdatasync=0", "stat=0"], Guests::One, 500);
    let unwanted = [Operation::Fsync, Operation::Fdatasync, Operation::Stat];
    assert!(drawn.iter().all(|step| !unwanted.contains(&step.operation)));
    assert!(Weights::parse(&["fsnyc=0".to_owned()]).is_err());
    assert!(Weights::parse(&["fsync".to_owned()]).is_err());
}

#[test]
fn ranges_stay_within_the_shape() {
    for seed in 0..200 {
        let weights = Weights::parse(&[]).unwrap();
        let mut generator = Generator::new(seed, &weights, Guests::One, 500);
        let shape = generator.shape;
        let mut model = Model::new(seed, None);
        while let Some(step) = generator.next(model.size()) {
            match step.operation {
                Operation::MapRead(range) | Operation::MapWrite { range, .. } => {
                    assert!(0 < range.bytes && range.at + range.bytes <= model.size(), "{step:?}");
                }
                Operation::DirectRead(range) | Operation::DirectWrite(range) => {
                    assert!((range.at | range.bytes).is_multiple_of(DIRECT_BYTES), "{step:?}");
                }
                Operation::Read(range) | Operation::Write(range) => {
                    assert!(0 < range.bytes && range.at + range.bytes <= shape.size_max, "{step:?}");
                }
                _ => {}
            }
            model.apply(step.operation, step.number);
        }
    }
}

#[test]
fn two_guests_take_turns_and_both_check_the_end() {
    let drawn = steps(11, &[], Guests::IN_TURNS, 300);
    let by_second = drawn.iter().filter(|step| step.guest == 1).count();
    assert!(drawn.len() / 4 < by_second && by_second < drawn.len() * 3 / 4);
    let checks: BTreeSet<u8> =
        drawn.iter().filter(|step| step.operation == Operation::CheckAll).map(|step| step.guest).collect();
    assert_eq!(checks, BTreeSet::from([0, 1]));
    assert!(steps(11, &[], Guests::One, 300).iter().all(|step| step.guest == 0));
}
