//! A program's time on a bus: connect, log, work, leave.

mod dump;
mod input;
mod link;
mod outcome;
mod services;
mod signals;

pub(crate) use dump::{Dump, Dumped};
pub(crate) use input::{read_input, read_text};
pub(crate) use link::Link;
pub(crate) use outcome::failed;
pub(crate) use services::{BuiltIn, SERVICES, Setup};
pub(crate) use signals::until_signal;
