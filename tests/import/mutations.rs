//! Mutated files: whatever stands in a model file, reading and planning it ends soon, in little memory, without a panic.
//!
//! The mutator is deterministic: a run of so many files is the same everywhere. `RECTIFY_MUTATIONS=100000` asks for more
//! files than an ordinary run has.

use crate::corpus::folder;
use crate::digest::digest;
use rectify::machine;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Mutated files of each format in an ordinary run.
const FILES: usize = 1500;

/// A file may take so long in a run of its own. Beside other tests on a busy machine the clock says little, and an ordinary
/// run finds only what does not end.
const LONGEST: Duration = Duration::from_secs(2);
const LONGEST_BESIDE_OTHERS: Duration = Duration::from_secs(60);
const MOST_BYTES: u64 = 500 << 20;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Numbers at which sizes, counts and offsets go wrong.
const NUMBERS: [&str; 10] =
    ["0", "1", "-1", "2147483648", "4294967297", "9223372036854775807", "1e308", "65536", "3", "7"];

fn mutate(random: &mut Random, text: bool, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len());
    // Most other changes of a text are errors of syntax.
    let kind = if text && random.below(4) > 0 { 6 } else { random.below(9) };
    match kind {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'(', b'}', b'"'][random.below(8)],
        2 => bytes.truncate(at),
        3 => {
            let end = (at + 1 + random.below(24)).min(bytes.len());
            bytes.drain(at.min(end)..end);
        }
        4 => {
            let end = (at + 1 + random.below(64)).min(bytes.len());
            let piece = bytes[at.min(end)..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        5 => {
            let from = random.below(other.len());
            let piece = &other[from..(from + 1 + random.below(64)).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        6 => {
            // A number of a text, if one stands behind this place.
            let rest = &bytes[at.min(bytes.len())..];
            if let Some(start) = rest.iter().position(u8::is_ascii_digit).map(|p| p + at) {
                let digits = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
                bytes.splice(start..start + digits, NUMBERS[random.below(NUMBERS.len())].bytes());
            }
        }
        7 => {
            // A number of the wire format that is as large as can be.
            bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        }
        _ => {
            let to = random.below(bytes.len());
            if at < bytes.len() && to < bytes.len() {
                bytes.swap(at, to);
            }
        }
    }
}

fn files_in(folder: &Path, ending: &str, most_bytes: u64, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_in(&path, ending, most_bytes, found);
        } else if path.extension().is_some_and(|e| e == ending)
            && path.metadata().is_ok_and(|m| m.len() <= most_bytes)
        {
            found.push(path);
        }
    }
}

fn originals(kind: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    files_in(&folder(kind), kind, 64 << 10, &mut paths);
    if kind == "rect" {
        files_in(&root.join("examples"), kind, 64 << 10, &mut paths);
    } else {
        let data = std::env::var_os("RECTIFY_TEST_DATA");
        let data = data.map_or_else(|| root.join("../shared/data"), PathBuf::from).join("conformance");
        files_in(&data, kind, 32 << 10, &mut paths);
        if !data.is_dir() {
            println!("no conformance data: only the corpus is mutated");
        }
    }
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn run(kind: &str, seed: u64) {
    let asked = std::env::var("RECTIFY_MUTATIONS").ok().and_then(|n| n.parse().ok());
    let files = asked.unwrap_or(FILES);
    let most_time = if asked.is_some() { LONGEST } else { LONGEST_BESIDE_OTHERS };
    let originals = originals(kind);
    assert!(!originals.is_empty());
    let mut random = Random(seed);
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    let mut longest = Duration::ZERO;
    for file in 0..files {
        let mut bytes = originals[random.below(originals.len())].clone();
        let other = &originals[random.below(originals.len())];
        for _ in 0..1 + random.below(4) {
            mutate(&mut random, kind == "rect", &mut bytes, other);
        }
        let keep = || {
            let path = std::env::temp_dir().join(format!("rectify-mutated-{file}.{kind}"));
            std::fs::write(&path, &bytes).unwrap();
            path
        };
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| digest(kind, &bytes)));
        let time = start.elapsed();
        match outcome {
            Ok(outcome) => *counts.entry(outcome).or_default() += 1,
            Err(_) => panic!("file {file} made it panic; it is {}", keep().display()),
        }
        assert!(time < most_time, "file {file} took {time:?}; it is {}", keep().display());
        let memory = machine::peak_rss_bytes().unwrap_or(0);
        assert!(memory < MOST_BYTES, "file {file} took {memory} bytes; it is {}", keep().display());
        longest = longest.max(time);
    }
    println!("{files} mutated .{kind} files: {counts:?}; the longest took {longest:?}");
}

/// Files may nest as deeply as the formats allow, and the command line has a stack for that.
fn on_a_large_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn mutated_onnx_files() {
    on_a_large_stack(|| run("onnx", 1));
}

#[test]
fn mutated_files_of_the_language() {
    on_a_large_stack(|| run("rect", 2));
}
