//! Plans: lists of steps, in their order, that make a machine what it is to be.
//!
//! A new step in a plan: push a `Step` at its place in the plan's function, by a function of
//! [`parts`] or with a goal from `goal/`; what it depends on is a field of the plan's facts. What
//! it puts on the host is taken away in [`removal`], whose test compares the two.
//!
//! | file | of what |
//! | --- | --- |
//! | [`base_host`] | any host of a cluster |
//! | [`agent_host`], [`agent_check`] | a host with sessions; what else can be wrong there |
//! | [`shell_host`] | the host where the operator works |
//! | [`collector`], [`log_user`] | a host that collects logs; as whom its `rsyslogd` reads files |
//! | [`hypervisor`] | a host of virtual machines, one more of them, and one less |
//! | [`update`] | a newer program, the way back, and the image's stamp |
//! | [`removal`] | taking away what the others have put there |
//! | [`parts`] | steps that several of them have |
//! | [`units`] | the files that they write into the system |

pub mod agent_check;
pub mod agent_host;
pub mod base_host;
pub mod collector;
pub mod hypervisor;
pub mod log_user;
pub mod parts;
pub mod removal;
pub mod shell_host;
pub mod units;
pub mod update;
