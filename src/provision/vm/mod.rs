//! A virtual machine on a hypervisor: what it is, what it is told at its first boot, and how it is
//! reached. Only values and text; plans and goals use them.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`spec`] | what the operator wants, checked |
//! | [`capacity`] | what a hypervisor has, what its machines take, and whether one more fits |
//! | [`network`] | libvirt's network: a free address |
//! | [`machine`] | one machine: its names, files, address and keys |
//! | [`domain`] | the machine as libvirt is told of it |
//! | [`seed`] | what cloud-init is told, and the script that moves `/var` |
//! | [`iso`] | the disk on which cloud-init reads that (ECMA-119) |
//! | [`guest`] | the machine over the operator's ssh, through the hypervisor |

pub mod capacity;
pub mod domain;
pub mod guest;
pub mod iso;
pub mod machine;
pub mod network;
pub mod seed;
pub mod spec;
