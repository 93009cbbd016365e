//! The operator's terminal, played by emulators: what a session leaves behind in it, what comes in
//! as keys when a session is left, and what of real programs' output is still drawn.

#[path = "../support/mod.rs"]
mod support;

mod drawn;
mod dumb;
mod fence;
mod house;
mod modes;
mod xterm;
