//! Polybus for service authors: connect, Worker, Client, frames, logs and configuration.
