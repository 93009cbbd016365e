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
//! | place | what it is |
//! | --- | --- |
//! | [`engine`] | the core: steps, questions, actions, events |
//! | [`order`] | what the driver is asked, and what it answers |
//! | [`step`] | a step, its goal, and what a goal says to answers |
//! | [`goal`] | what can be made to hold: files, users, packages, units, rules, images |
//! | [`plan`] | the steps of each kind of host, of an update, and of the way back to none |
//! | [`enrol`] | how an agent and its shell host come to know each other |
//! | [`logs`] | how logs are collected, and who vouches for whom |
//! | [`ship`] | an image on its way to another host |
//! | [`migrate`] | a session on its way to an agent |
//! | [`vm`] | a virtual machine on a hypervisor: room, definition, first boot |
//! | [`diff`], [`report`] | what changes in a file, and how events are told |
//! | [`openssh`] | the operator's ssh to another host, as words |
//! | [`run`] | the driver on this machine |
//! | [`remote`] | the driver for another host |
//! | [`workflow`] | what commands do over several hosts |

pub mod diff;
pub mod engine;
pub mod enrol;
pub mod goal;
pub mod logs;
pub mod migrate;
pub mod openssh;
pub mod order;
pub mod plan;
pub mod remote;
pub mod report;
pub mod run;
pub mod ship;
pub mod step;
pub mod vm;
pub mod workflow;
