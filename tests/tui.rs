//! The operator's screen as text, and what keys and news do to it.
//!
//! `CONVOCATE_DRAW=1` writes the pictures of `tests/tui/screens` anew; what has changed is then
//! seen in the difference.

#[path = "tui/attention.rs"]
mod attention;
#[path = "tui/desk.rs"]
mod desk;
#[path = "tui/dialogs.rs"]
mod dialogs;
#[path = "tui/knowing.rs"]
mod knowing;
#[path = "tui/moving.rs"]
mod moving;
#[path = "tui/pictures.rs"]
mod pictures;
