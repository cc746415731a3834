//! Old programs whose options no subcommand shares.

pub(crate) mod crosscor_client;
pub(crate) mod logmon;
pub(crate) mod server;

#[cfg(test)]
mod tests;
