//! Plays the fuzzer's corpora, one test for each target: what once found something never does so
//! again.
//!
//! `scripts/fuzz` looks for more; a file of what it finds belongs into `tests/fuzz/corpora/TARGET`.

#[path = "fuzz/drive/mod.rs"]
mod drive;
#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

const CORPORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpora");

/// A corpus is committed: it holds what is needed to get everywhere and no more.
const CORPUS_BYTES_MAX: u64 = 32 * 1024;

fn files(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(CORPORA).join(target)).expect("every target has a corpus");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a readable entry").path()).collect();
    files.sort();
    files
}

/// Names the input if it is one that fails.
struct Playing<'a>(&'a Path);

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}

fn play(name: &str) {
    let target = targets::find(name).expect("a target of this name");
    for file in files(name) {
        let _named = Playing(&file);
        target(&fs::read(&file).expect("a readable input"));
    }
}

#[test]
fn every_target_has_a_corpus_of_modest_size() {
    let mut corpora: Vec<String> = fs::read_dir(CORPORA)
        .expect("the corpora are there")
        .map(|entry| entry.expect("a readable entry").file_name().into_string().expect("ASCII"))
        .collect();
    corpora.sort();
    let mut names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(corpora, names);
    for name in names {
        let sizes = files(name).into_iter().map(|file| fs::metadata(file).expect("a file").len());
        let bytes: u64 = sizes.sum();
        assert!(bytes > 0 && bytes <= CORPUS_BYTES_MAX, "{name}: {bytes} bytes");
    }
}

#[test]
fn authentication() {
    play("authentication");
}

#[test]
fn authorized_keys() {
    play("authorized_keys");
}

#[test]
fn channels() {
    play("channels");
}

#[test]
fn client() {
    play("client");
}

#[test]
fn identification() {
    play("identification");
}

#[test]
fn kex() {
    play("kex");
}

#[test]
fn key_file() {
    play("key_file");
}

#[test]
fn limiter() {
    play("limiter");
}

/// More schedules than a corpus holds, each from its number alone.
#[test]
fn the_limiter_in_two_hundred_schedules() {
    let target = targets::find("limiter").expect("a target of this name");
    for seed in 1..=200_u64 {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let length = 2 + 3 * (usize::from(next()) + 1);
        let input: Vec<u8> = (0..length).map(|_| next()).collect();
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            panic!("schedule {seed}");
        }
    }
}

#[test]
fn packets() {
    play("packets");
}

#[test]
fn pair() {
    play("pair");
}

#[test]
fn server() {
    play("server");
}
