//! Encoding and rebuilding beside reed-solomon-simd called directly, on the same bytes: `cargo
//! bench -p layout --bench ec`.
//!
//! `-- --json FILE` writes what was measured, `-- --brief` takes one size of window only. Rounds of
//! ours and theirs alternate; the median round counts. Time is the thread's on a processor, so
//! others on the machine disturb less; GB/s are of data, not of parity.
#![allow(clippy::unwrap_used, reason = "a measurement: a failed step ends it")]

use std::fmt::Write as _;

use env::Clock;
use env::os::OsClock;
use layout::ec::{
    Draft, Encoder, GroupId, ImageId, ImageSum, Member, Profile, Rebuild, Repair, Shape, Window,
};
use layout::{ExtentId, limits};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

/// Data of one pass: more than caches hold.
const PASS_BYTES: usize = 64 << 20;
const ROUNDS: usize = 7;
const ROUND_NS: u64 = 60_000_000;

/// Data and parity of many windows, one behind the other.
struct Stripes {
    profile: Profile,
    window: usize,
    /// By stripe, then by slot.
    images: Vec<Vec<Vec<u8>>>,
}

impl Stripes {
    fn new(profile: Profile, window: usize) -> Self {
        let mut codec = profile.codec().open(profile);
        let stripe = |seed: usize| {
            let mut images: Vec<Vec<u8>> =
                (0..profile.images()).map(|slot| noise(seed * 16 + slot, window)).collect();
            let (data, parity) = images.split_at_mut(profile.data());
            let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            codec.encode(&data, &mut parity.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
            images
        };
        let count = (PASS_BYTES / (window * profile.data())).max(1);
        Self { profile, window, images: (0..count).map(stripe).collect() }
    }

    fn data_bytes(&self) -> usize {
        self.images.len() * self.window * self.profile.data()
    }
}

fn noise(seed: usize, bytes: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}

/// Nanoseconds this thread was on a processor; the clock's where the kernel does not say.
fn processor_ns(clock: &OsClock) -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let first = told.and_then(|text| text.split(' ').next().and_then(|word| word.parse().ok()));
    first.unwrap_or_else(|| clock.monotonic_ns())
}

/// One way to do a pass over all stripes.
type Pass<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// GB/s of each way, medians of alternating rounds.
fn contest(clock: &OsClock, data_bytes: usize, mut ways: Vec<Pass<'_>>) -> Vec<(&'static str, f64)> {
    let mut figures = vec![Vec::new(); ways.len()];
    ways.iter_mut().for_each(|(_, pass)| pass());
    for _ in 0..ROUNDS {
        for ((_, pass), figures) in ways.iter_mut().zip(&mut figures) {
            let (from, mut passes) = (processor_ns(clock), 0);
            let ns = loop {
                pass();
                passes += 1;
                let ns = processor_ns(clock) - from;
                if ROUND_NS <= ns {
                    break ns;
                }
            };
            figures.push((data_bytes * passes) as f64 / ns as f64);
        }
    }
    let median = |figures: &mut Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    ways.iter().zip(&mut figures).map(|((name, _), figures)| (*name, median(figures))).collect()
}

fn encode(clock: &OsClock, stripes: &Stripes) -> Vec<(&'static str, f64)> {
    let profile = stripes.profile;
    let (data, parity, window) = (profile.data(), profile.parity(), stripes.window);
    let theirs = move || {
        let mut encoder = ReedSolomonEncoder::new(data, parity, window).unwrap();
        for images in &stripes.images {
            images[..data].iter().for_each(|image| encoder.add_original_shard(image).unwrap());
            std::hint::black_box(encoder.encode().unwrap().recovery_iter().count());
        }
    };
    let mut codec = profile.codec().open(profile);
    let mut out = vec![vec![0; window]; parity];
    let ours = move || {
        for images in &stripes.images {
            let members: Vec<&[u8]> = images[..data].iter().map(Vec::as_slice).collect();
            codec.encode(&members, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
            std::hint::black_box(&out);
        }
    };
    let mut out = vec![vec![0; window]; parity];
    let checked = move || {
        // The sums are made, not compared with what was promised: all images differ from the
        // draft's.
        let mut encoder = Encoder::new(draft(stripes), window).unwrap();
        for images in &stripes.images {
            let members: Vec<&[u8]> = images[..data].iter().map(Vec::as_slice).collect();
            encoder.push(&members, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
        }
        assert!(encoder.window().is_none() && encoder.finish().is_err(), "all of it, and the sums were made");
    };
    let ways: Vec<Pass<'_>> =
        vec![("theirs", Box::new(theirs)), ("ours", Box::new(ours)), ("with sums", Box::new(checked))];
    contest(clock, stripes.data_bytes(), ways)
}

fn draft(stripes: &Stripes) -> Draft {
    let profile = stripes.profile;
    let bytes = (stripes.images.len() * stripes.window) as u64;
    assert!(bytes <= limits::IMAGE_BYTES_MAX, "a pass is one group");
    let image = |slot: usize| ImageId([u8::try_from(slot + 1).unwrap(); 16]);
    let extent = ExtentId { ino: 1, index: 0 };
    let member = |slot| Some(Member { image: image(slot), extent, bytes, sum: ImageSum([0; 32]) });
    Draft {
        group: GroupId(1),
        profile,
        codec: profile.codec(),
        members: (0..profile.data()).map(member).collect(),
        parity: (profile.data()..profile.images()).map(image).collect(),
    }
}

fn shape(stripes: &Stripes) -> Shape {
    draft(stripes).shape(&vec![ImageSum([0; 32]); stripes.profile.parity()]).unwrap()
}

/// Rebuilds the first `lost` members, from the other members and as many parity images.
fn rebuild(clock: &OsClock, stripes: &Stripes, lost: usize) -> Vec<(&'static str, f64)> {
    let profile = stripes.profile;
    let (data, parity, window) = (profile.data(), profile.parity(), stripes.window);
    let missing: Vec<usize> = (0..lost).collect();
    let available: Vec<usize> = (lost..data + lost).collect();
    let shape = shape(stripes);
    let theirs = move || {
        let mut decoder = ReedSolomonDecoder::new(data, parity, window).unwrap();
        for images in &stripes.images {
            (lost..data).for_each(|slot| decoder.add_original_shard(slot, &images[slot]).unwrap());
            (0..lost).for_each(|at| decoder.add_recovery_shard(at, &images[data + at]).unwrap());
            assert!(decoder.decode().unwrap().restored_original_iter().count() == lost);
        }
    };
    let mut out = vec![vec![0; window]; lost];
    let mut rebuild = Rebuild::new(&shape, &available, &missing).unwrap();
    let ours = move || {
        for (at, images) in stripes.images.iter().enumerate() {
            let here = Window { offset: (at * window) as u64, bytes: window };
            let sources: Vec<&[u8]> = images[lost..data + lost].iter().map(Vec::as_slice).collect();
            rebuild
                .run(here, &sources, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())
                .unwrap();
            assert!(out[0][..64] == images[0][..64], "rebuilt");
        }
    };
    let mut out = vec![vec![0; window]; lost];
    let checked = move || {
        let mut repair = Repair::new(&shape, &available, &missing, window).unwrap();
        for images in &stripes.images {
            let sources: Vec<&[u8]> = images[lost..data + lost].iter().map(Vec::as_slice).collect();
            repair.push(&sources, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
        }
        assert!(repair.window().is_none() && repair.finish().is_err(), "all of it, and the sums were made");
    };
    let ways: Vec<Pass<'_>> =
        vec![("theirs", Box::new(theirs)), ("ours", Box::new(ours)), ("with sums", Box::new(checked))];
    contest(clock, stripes.data_bytes(), ways)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let brief = arguments.iter().any(|argument| argument == "--brief");
    let json_at =
        arguments.iter().position(|argument| argument == "--json").map(|at| arguments[at + 1].clone());
    let clock = OsClock::new();
    let windows: &[usize] = if brief { &[64 << 10] } else { &[64 << 10, 256 << 10, 1 << 20] };
    let mut rows = Vec::new();
    println!("GB/s of data on one thread; ratio = ours / theirs (reed-solomon-simd called directly)");
    println!(
        "{:<6}{:>9}  {:<10}{:>9}{:>9}{:>7}{:>11}",
        "", "window", "", "theirs", "ours", "ratio", "with sums"
    );
    for profile in [Profile::TwoPlusOne, Profile::FourPlusTwo, Profile::SixPlusThree, Profile::EightPlusFour]
    {
        for window in windows {
            let stripes = Stripes::new(profile, *window);
            let mut acts = vec![("encode".to_owned(), encode(&clock, &stripes))];
            let most = profile.losses_tolerated();
            let lost: &[usize] = if most == 1 { &[1] } else { &[1, most] };
            acts.extend(
                lost.iter().map(|lost| (format!("rebuild {lost}"), rebuild(&clock, &stripes, *lost))),
            );
            for (act, figures) in acts {
                let [theirs, ours, checked] = [0, 1, 2].map(|at: usize| figures[at].1);
                let ratio = ours / theirs;
                let (name, kib) = (profile.to_string(), window >> 10);
                println!(
                    "{name:<6}{kib:>5} KiB  {act:<10}{theirs:>9.2}{ours:>9.2}{ratio:>7.2}{checked:>11.2}"
                );
                let mut row = String::new();
                write!(
                    row,
                    r#"{{"profile":"{name}","window_bytes":{window},"act":"{act}","theirs_gb_s":{theirs:.3},"#
                )
                .unwrap();
                write!(row, r#""ours_gb_s":{ours:.3},"with_sums_gb_s":{checked:.3},"ratio":{ratio:.3}}}"#)
                    .unwrap();
                rows.push(row);
            }
        }
    }
    if let Some(file) = json_at {
        std::fs::write(file, format!("[\n{}\n]\n", rows.join(",\n"))).unwrap();
    }
}
