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
fn hub() {
    play("hub");
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
fn keys() {
    play("keys");
}

#[test]
fn limiter() {
    play("limiter");
}

/// More inputs than a corpus holds, each from its number alone.
fn play_by_number(name: &str, count: u64, input: impl Fn(&mut dyn FnMut() -> u8) -> Vec<u8>) {
    let target = targets::find(name).expect("a target of this name");
    for seed in 1..=count {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let input = input(&mut next);
        let holds = std::panic::catch_unwind(|| target(&input)).is_ok();
        assert!(holds, "{name}: input {seed}: {}", input.escape_ascii());
    }
}

#[test]
fn the_limiter_in_two_hundred_schedules() {
    play_by_number("limiter", 200, |next| {
        let length = 2 + 3 * (usize::from(next()) + 1);
        (0..length).map(|_| next()).collect()
    });
}

/// Pieces of which sequences are made, and any bytes between them.
#[test]
fn terminal_and_keys_in_thousands_of_streams() {
    const PIECES: &[&[u8]] = &[
        b"\x1b",
        b"\x1b[",
        b"\x1b]",
        b"\x1bP",
        b"\x1b_",
        b"\x1b^",
        b"\x1bX",
        b"\x1bk",
        b"\x1b\\",
        b"\x07",
        b"\x18",
        b"?",
        b">",
        b"=",
        b"<",
        b"$",
        b" ",
        b";",
        b":",
        b"0",
        b"1049",
        b"4",
        b"52;c;",
        b"52;c;?",
        b"11;?",
        b"8;;",
        b"104",
        b"3",
        b"6",
        b"2004",
        b"h",
        b"l",
        b"m",
        b"c",
        b"n",
        b"q",
        b"p",
        b"t",
        b"u",
        b"r",
        b"J",
        b"~",
        b"200~",
        b"201~",
        b"O",
        b"M",
        b"[",
        b"\x9b",
        b"\xc2\x9b",
        b"\xe6\x97\xa5",
        b"\xf0\x9f",
        b"\r\n",
        b"\t",
        b"\x7f",
        b"text",
        b"[exited]\r\n",
        b"\x1b[?1049l",
        b"\x1b[?1049h",
    ];
    for name in ["terminal", "keys"] {
        play_by_number(name, 4000, |next| {
            let mut input = vec![next()];
            for _ in 0..next() % 40 {
                match next() {
                    byte @ 0..=29 => input.push(byte.wrapping_mul(9)),
                    byte => input.extend_from_slice(PIECES[usize::from(byte) % PIECES.len()]),
                }
            }
            input
        });
    }
}

#[test]
fn the_hub_with_hundreds_of_agents() {
    const PIECES: &[&str] = &[
        "web",
        "x",
        "localhost",
        "host-1",
        "10.9.9.9 github.com",
        "\\n",
        "\u{1b}[2J",
        "\u{85}",
        "{}",
        "[]",
        "null",
        "0",
        "-1",
        "1e400",
        "18446744073709551615",
        "\"",
        "\\u0000",
        "01234567-89ab-4def-8123-456789abcdef",
        "bcdefghjkmnp",
        "2026-01-02T03:04:05Z",
        "{\"from\":0}",
        "hub.removed",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ];
    play_by_number("hub", 300, |next| {
        let mut input = Vec::new();
        for _ in 0..next() % 50 {
            input.extend([next(), next(), next()]);
            for _ in 0..next() % 4 {
                input.extend_from_slice(PIECES[usize::from(next()) % PIECES.len()].as_bytes());
            }
            input.push(b'\n');
        }
        input
    });
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

#[test]
fn terminal() {
    play("terminal");
}
