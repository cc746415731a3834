//! Options that several programs share (PRISEM services specification, 3.2).
//!
//! Options that are settings too stay texts here: the settings check them, as they check files and environment.

mod broker;
mod client;
mod compat;
mod desk;
mod flags;
mod frames;
mod general;
mod looking;
mod server;
mod standing;
mod watching;

pub(crate) use broker::BusOptions;
pub(crate) use client::{Calling, ClientOptions};
pub(crate) use compat::Compat;
pub(crate) use desk::DeskOptions;
pub(crate) use flags::{Flags, Shared};
pub(crate) use frames::FrameOptions;
pub(crate) use general::General;
pub(crate) use looking::{Looking, seconds};
pub(crate) use server::{ServerOptions, Serving};
pub(crate) use standing::Standing;
pub(crate) use watching::{LogTopic, Showing, Watching};
