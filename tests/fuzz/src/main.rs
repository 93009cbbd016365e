//! libFuzzer around one target, which the environment variable `FUZZ_TARGET` names.

#![no_main]

#[path = "../drive/mod.rs"]
mod drive;
#[path = "../targets/mod.rs"]
mod targets;

use std::sync::LazyLock;

/// The target of this process.
static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    targets::find(&name).expect("FUZZ_TARGET is one of the names in targets/mod.rs")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (*TARGET)(input));
