//! A program's time on a bus: read the settings, connect, log, work, leave.

mod begin;
pub(crate) mod desk;
mod dump;
mod errand;
mod input;
mod link;
mod outcome;
mod place;
mod services;
mod serving;
mod signals;

pub(crate) use begin::begin;
pub(crate) use errand::Errand;
pub(crate) use input::{read_input, read_text};
pub(crate) use link::Link;
pub(crate) use outcome::wrong;
pub(crate) use place::{Place, loaded};
pub(crate) use services::{BUILT_IN, BuiltIn};
pub(crate) use serving::serve;
pub(crate) use signals::until_signal;
