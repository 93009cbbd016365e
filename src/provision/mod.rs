//! Turning machines into hosts: steps that say what must hold, and the engine that makes it hold.
//!
//! A [`Step`](step::Step) is a name and a [`Goal`](step::Goal). A goal asks [`order::Question`]s,
//! which change nothing, judges the answers, and says which [`order::Action`]s would bring the
//! machine there. The [`engine`] takes one step after the other and asks again after each change:
//! what does not hold then has failed. Only `run` touches the machine. Nothing here builds a shell
//! command: a program gets its arguments as a list.
//!
//! ```text
//! Between -> Asking -> (holds) Between
//!                   -> Changing -> Asking again -> Between
//!                   -> (failed) Examining -> Over
//! ```
//!
//! | file | what it is |
//! | --- | --- |
//! | [`engine`] | the core: steps, questions, actions, events |
//! | [`order`] | what the driver is asked, and what it answers |
//! | [`step`] | a step, its goal, and what a goal says to answers |
//! | [`mod@file`], [`account`], [`package`] | goals: files, directories, users, groups, packages |
//! | [`mod@unit`], [`firewall`] | goals: systemd's units, ufw's rules |
//! | [`image`], [`prune`] | goals: the session image, and none that is not needed any more |
//! | [`command`] | goals that a program tells and brings about, and conditions |
//! | [`agent_host`], [`agent_check`] | the plan of an agent host; what else can be wrong there |
//! | [`shell_host`] | the plan of the shell host |
//! | [`units`] | the files that an installation writes into the system |
//! | [`diff`], [`report`] | what changes in a file, and how events are told |
//! | [`update`] | the plans of an update, of the way back, and of the image's stamp |
//! | [`removal`] | the plan that takes away what the others have put there |
//! | [`upgrade`] | goal: packages as new as their sources |
//! | [`base_host`] | the plan of any host |
//! | [`logs`], [`log_user`] | what rsyslog and logrotate are told; as whom rsyslogd reads it |
//! | [`mod@authority`], [`collector`] | who issues certificates for logs; who collects them |
//! | [`enrol_shell`], [`enrol_agent`] | the plans of making both hosts know each other |
//! | [`enrolment`] | what is asked of our programs on hosts, and what they answer |
//! | [`openssh`] | the operator's ssh to another host, as words |
//! | [`ship`] | an image on its way to another host |
//! | [`run`] | the driver on this machine |
//! | [`install`] | the driver for another host |

pub mod account;
pub mod agent_check;
pub mod agent_host;
pub mod authority;
pub mod base_host;
pub mod collector;
pub mod command;
pub mod diff;
pub mod engine;
pub mod enrol_agent;
pub mod enrol_shell;
pub mod enrolment;
pub mod file;
pub mod firewall;
pub mod image;
pub mod install;
pub mod log_user;
pub mod logs;
pub mod openssh;
pub mod order;
pub mod package;
pub mod prune;
pub mod removal;
pub mod report;
pub mod run;
pub mod shell_host;
pub mod ship;
pub mod step;
pub mod unit;
pub mod units;
pub mod update;
pub mod upgrade;
