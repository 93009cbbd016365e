//! The operator's screen, without a terminal.
//!
//! Sans-IO: bytes become keys ([`keys`]), keys and messages change the model ([`update`],
//! [`events`]) and give actions for the driver; the model becomes a grid of cells ([`view`]), a
//! pure function of its state and size, and the grid becomes few bytes ([`paint`]). Nothing here
//! opens, asks or waits.
//!
//! What is one entry in one place: a key ([`bindings`]: dispatch, bar and help come from it), a
//! column ([`columns`]), a field of a form ([`form`]), what a style looks like ([`paint`]).
//!
//! The cells are our own and not a widget library's: what is drawn here is tables, lines and one
//! kind of box, a page of code altogether, and the differ counts the bytes of a slow line, moves
//! scrolled rows by the terminal itself and has a stand-in for each character where there is no
//! UTF-8, all of which a library would have to be bent to.

pub mod bindings;
pub mod cluster;
pub mod columns;
pub mod dialog;
pub mod events;
pub mod form;
pub mod grid;
pub mod input;
pub mod keys;
pub mod list;
pub mod messages;
pub mod model;
pub mod ops;
pub mod page;
pub mod paint;
pub mod row;
pub mod selection;
pub mod update;
pub mod view;
