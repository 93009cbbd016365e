//! The list of what the SSH transport must survive, one module for each of its numbers.
//!
//! Two connections in memory and virtual time ([`pair`]), or one and a peer that says whatever a
//! test wants ([`raw`]). Numbers 4 and 5 are tested below `ssh::kex` and `ssh::keys` too, where the
//! arithmetic is; here it is what a connection makes of them.

#![allow(missing_docs, reason = "names of tests are sentences")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

mod pair;
mod raw;

mod n00_basics;
mod n01_identification;
mod n02_kexinit;
mod n03_strict;
mod n04_kex;
mod n05_signatures;
mod n06_packets;
mod n07_streams;
mod n08_messages;
mod n09_authentication;
mod n10_channels;
mod n11_rekey;
mod n12_slow_and_gone;
mod n13_window_change;
