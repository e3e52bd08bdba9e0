//! Replays the seeds of every target, and mutations of them that are the same
//! in every run, on the stable toolchain.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use regimen_fuzz::{TARGETS, Target};

/// Mutations of one target. All of them take about a second in a debug build.
const MUTATIONS: usize = 4_000;
/// No mutation grows beyond this.
const MOST_BYTES: usize = 16 * 1024;

/// Pieces that readers of numbers, text and structure stumble over.
const PIECES: [&[u8]; 24] = [
    b"1e999",
    b"-0",
    b"NaN",
    b"Infinity",
    b"18446744073709551616",
    b"0x10",
    b"\\u0000",
    b"\\ud800",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"null",
    b"t=",
    b"v1=",
    b"data: ",
];

#[test]
fn every_seed_and_its_mutations_keep_the_promises() {
    let mut broken = Vec::new();
    for target in &TARGETS {
        let seeds = seeds(target);
        let mut dice = Dice(0x5eed_0000 ^ target.name.len() as u64);
        let mutations = (0..MUTATIONS).map(|_| mutation(&seeds, &mut dice));
        for bytes in seeds.iter().cloned().chain(mutations) {
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))).is_err() {
                broken.push(format!("{}: {}", target.name, bytes.escape_ascii()));
                break;
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_target_can_be_run_by_cargo_fuzz() {
    for target in &TARGETS {
        let path = here().join("libfuzzer/fuzz_targets").join(target.name).with_extension("rs");
        let source = fs::read_to_string(&path).unwrap_or_default();
        let call = format!("run(\"{}\", bytes)", target.name);
        assert!(source.contains(&call), "{} does not call it", path.display());
        let manifest = fs::read_to_string(here().join("libfuzzer/Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The seeds of a target, in the order of their names.
fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in target.seeds {
        let folder = here().join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    }
    paths.sort();
    assert!(paths.len() >= 3, "{} has hardly a seed", target.name);
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One seed after one to four random changes.
fn mutation(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    bytes.truncate(MOST_BYTES);
    for _ in 0..=dice.below(4) {
        change(&mut bytes, seeds, dice);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let end = (at + dice.below(16)).min(bytes.len());
    match dice.below(6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        3 => bytes.truncate(at),
        4 => {
            let other = &seeds[dice.below(seeds.len())];
            let from = dice.below(other.len() + 1);
            let until = (from + dice.below(64)).min(other.len());
            bytes.splice(at..end, other[from..until].iter().copied());
        }
        _ => {
            let piece = PIECES[dice.below(PIECES.len())];
            bytes.splice(at..end, piece.iter().copied());
        }
    }
}

/// SplitMix64: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap()
    }
}
