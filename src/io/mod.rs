//! The only place with sockets, files, processes, ttys, signals, clocks and randomness.
//!
//! It knows [`crate::base`] and nothing above. `unsafe` is allowed here and nowhere else, each use
//! with its reason.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`clock`], [`entropy`] | the time; randomness to seed with |
//! | [`cgroup`] | what containers use |
//! | [`machine`], [`accounts`] | what this machine has, as whom we run, who else there is |
//! | [`reactor`] | waits for descriptors, deadlines and other threads |
//! | [`registry`] | whose each descriptor is |
//! | [`stream`], [`listener`], [`resolve`] | byte streams that never block; who dials us; names |
//! | [`link`] | pumps bytes between a stream and an endpoint |
//! | [`happy_eyeballs`] | one connection to a host that has several numbers |
//! | [`handover`] | sockets of a container's network, handed to the agent |
//! | [`outbound`] | connections to hosts by name or number, dialled again and again |
//! | [`process`], [`child`], [`pty`] | programs: alone, with pipes, on a terminal of ours |
//! | [`process_table`], [`inotify`] | other people's processes; changes in directories |
//! | [`child_daemon`], [`line_process`] | a program that ends with us; one that talks in lines |
//! | [`signals`], [`tty`] | what the operator's terminal tells us, and how it is left |
//! | [`disk`] | files and trees, durable and bounded |
//! | `memory` | copies of bytes, where the C library's are slow |
//! | [`notify`] | telling systemd that we are ready |
//! | [`worker`] | threads for what would block the loop |

pub mod accounts;
pub mod cgroup;
pub mod child;
pub mod child_daemon;
pub mod clock;
pub mod disk;
pub mod entropy;
pub mod handover;
pub mod happy_eyeballs;
pub mod inotify;
pub mod line_process;
pub mod link;
pub mod listener;
pub mod machine;
#[cfg(all(target_arch = "x86_64", any(test, target_env = "musl")))]
mod memory;
pub mod notify;
pub mod outbound;
pub mod process;
pub mod process_table;
pub mod pty;
pub mod reactor;
pub(crate) mod reader_gone;
pub mod registry;
pub mod resolve;
#[cfg(test)]
pub mod scratch;
pub mod signals;
pub mod stream;
pub mod tty;
pub mod worker;
