//! What `scripts/bench terminal` measures: the filter of a session's output, in pieces as they come
//! from the network, and how often it asks for memory on the way.

#![expect(clippy::print_stdout, reason = "samples go to standard output")]
#![expect(unsafe_code, reason = "an allocator that counts is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use convocate::terminal::filter::{Clipboard, Filter};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const PIECE_BYTES: usize = 32 * 1024;
const ROUNDS: u32 = 400;

fn main() {
    let line = "drwxr-xr-x  2 user user 4096 Jan  1 12:00 a-directory-of-mine/\r\n";
    let (mut coloured, mut moving) = (String::new(), String::new());
    for number in 0..8000 {
        let (colour, row, col) = (number % 256, number % 50 + 1, number % 180 + 1);
        let _ = write!(
            coloured,
            "\x1b[38;5;{colour}mword\x1b[0m \x1b[1;38;2;{colour};20;200mother\x1b[m\r\n"
        );
        let _ = write!(
            moving,
            "\x1b[?25l\x1b[{row};{col}Hcell\x1b[K\x1b[{col}C\x1b[1mx\x1b[m\x1b[5P\x1b[?25h"
        );
    }
    let wide = "日本語のテキスト Überblick 🦀 │ ─ ┌ ┐\r\n".repeat(5000);
    for (name, text) in [
        ("filter-plain", &line.repeat(5000)),
        ("filter-colours", &coloured),
        ("filter-cursor", &moving),
        ("filter-wide", &wide),
    ] {
        measure(name, text.as_bytes());
    }
}

fn measure(name: &str, input: &[u8]) {
    let (mut filter, mut output) = (Filter::new(Clipboard::Writable), Vec::new());
    let mut play = |rounds: u32| {
        let mut bytes = 0;
        for _ in 0..rounds {
            for piece in black_box(input).chunks(PIECE_BYTES) {
                output.clear();
                filter.feed(piece, &mut output);
                bytes += black_box(&output).len();
            }
        }
        bytes
    };
    // Room for a piece, and with the end of the one before it.
    assert_eq!(play(2), 2 * input.len(), "{name}: all of it is kept");
    let (before, start) = (ALLOCATIONS.load(Ordering::Relaxed), Instant::now());
    play(ROUNDS);
    let seconds = start.elapsed().as_secs_f64();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let megabytes = f64::from(u32::try_from(input.len()).expect("small")) * f64::from(ROUNDS) / 1e6;
    println!("{name} ours {:.0} MB/s", megabytes / seconds);
    println!("{name}-allocations ours {allocations} all");
}
