//! The subcommands of polybus, one file each.

pub(crate) mod anon;
#[cfg(all(feature = "embedded", feature = "zeromq"))]
pub(crate) mod broker;
pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod crosscor;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod install_links;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod queues;
pub(crate) mod reference;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod up;
