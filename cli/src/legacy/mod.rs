//! Old programs whose options no subcommand shares.

pub(crate) mod anon_server;
pub(crate) mod crosscor_server;
pub(crate) mod logmon;

#[cfg(test)]
mod tests;
