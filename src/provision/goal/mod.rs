//! What a step can make hold: each kind of goal asks questions, judges the answers, and says what
//! would bring the machine there. A goal never acts, and knows no plan.
//!
//! | file | what is to hold |
//! | --- | --- |
//! | [`mod@file`] | a file or directory as given, or nothing at a path |
//! | [`account`] | a group, a user |
//! | [`package`], [`upgrade`] | packages are installed; all are as new as their sources |
//! | [`mod@unit`] | a unit of systemd is loaded, enabled, running |
//! | [`firewall`] | ufw has a rule, ufw is on |
//! | [`network`] | the Docker network of sessions is there, or gone |
//! | [`image`], [`prune`] | the session image is built; none is left that nobody needs |
//! | [`capacity`] | a virtual machine more fits on the hypervisor |
//! | [`download`] | a file is fetched, and is what its checksum says |
//! | [`machine`] | disks of a virtual machine are there, libvirt knows it |
//! | [`guarded`] | what a program tells, and other programs bring about |
//! | [`condition`] | what must hold already |

pub mod account;
pub mod capacity;
pub mod condition;
pub mod download;
pub mod file;
pub mod firewall;
pub mod guarded;
pub mod image;
pub mod machine;
pub mod network;
pub mod package;
pub mod prune;
#[cfg(test)]
pub(crate) mod testing;
pub mod unit;
pub mod upgrade;
