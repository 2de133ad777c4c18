//! Every kept input and every past crash, through the target that it belongs to, and what is near them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use kenin_fuzz::TARGETS;

/// What is kept for a target, in the order of its names.
fn kept(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!files.is_empty(), "{name} has an empty corpus");
    files.sort();
    files
}

#[test]
fn kept_corpora_hold() {
    for (name, target) in TARGETS {
        for file in kept(name) {
            println!("{}", file.display());
            target(&std::fs::read(file).unwrap());
        }
    }
}

/// A few inputs beside each that is kept, the same in every run: what `fuzz/run` does for longer.
#[test]
fn what_is_near_the_kept_corpora_holds() {
    for (name, target) in TARGETS {
        for file in kept(name) {
            let octets = std::fs::read(&file).unwrap();
            let mut dice = Dice(octets.iter().fold(SEED, |sum, octet| {
                (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
            }));
            for number in 0..NEAR {
                println!("{}, changed for the {number}th time", file.display());
                target(&changed(octets.clone(), &mut dice));
            }
        }
    }
}

/// The octets with one to four changes.
fn changed(mut octets: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.below(4) {
        let at = dice.below(octets.len() + 1);
        let value = [0, 1, 0x7f, 0x80, 0xff, b'0', b'\n', b'"'][dice.below(8)];
        match dice.below(5) {
            0 => octets.insert(at, value),
            1 => octets.truncate(at),
            _ if at == octets.len() => {}
            2 => octets[at] = value,
            3 => octets[at] ^= 1 << dice.below(8),
            _ => {
                let end = octets.len().min(at + 1 + dice.below(16));
                octets.drain(at..end);
            }
        }
    }
    octets
}

/// Numbers that nobody could tell in advance, and that are the same again (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// Inputs beside each that is kept.
const NEAR: usize = 8;
/// Where a digest begins (FNV-1a).
const SEED: u64 = 0xcbf2_9ce4_8422_2325;

#[test]
fn every_fuzzer_has_a_target_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut fuzzers: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    fuzzers.sort();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(fuzzers, names);
}
