//! Options that several programs share (PRISEM services specification, 3.2).

mod bus;
mod client;
mod compat;
mod general;
mod server;
pub(crate) mod values;

pub(crate) use bus::{BrokerOptions, BusOptions};
pub(crate) use client::ClientOptions;
pub(crate) use compat::Compat;
pub(crate) use general::General;
pub(crate) use server::ServerOptions;
