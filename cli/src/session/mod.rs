//! A program's time on a bus: read the settings, connect, log, work, leave.

mod arrival;
mod begin;
mod broker_url;
pub(crate) mod desk;
mod door;
mod dump;
mod errand;
mod health;
mod input;
mod link;
mod link_watch;
mod listening;
mod log_file;
pub(crate) mod lookout;
mod outcome;
mod place;
mod planned;
mod services;
mod serving;
mod signals;
mod up;
mod watch;

pub(crate) use arrival::{Arrival, Patience};
pub(crate) use begin::begin;
pub(crate) use errand::Errand;
pub(crate) use input::{Input, read_input, read_or_stream, read_text};
pub(crate) use link::Link;
pub(crate) use link_watch::LinkWatch;
#[cfg(all(feature = "embedded", feature = "zeromq"))]
pub(crate) use listening::{refused, say_to_systemd};
pub(crate) use log_file::missed;
pub(crate) use outcome::wrong;
pub(crate) use place::{Place, loaded};
pub(crate) use planned::{planned, served};
pub(crate) use services::{BUILT_IN, BuiltIn};
pub(crate) use serving::serve;
#[cfg(all(feature = "embedded", feature = "zeromq"))]
pub(crate) use signals::runtime;
pub(crate) use signals::until_signal;
pub(crate) use up::up;
