//! Polybus for service authors: connect, Worker, Client, frames, logs and configuration.
//!
//! A bus is a URL: [`connect`] gives a [`Bus`], a [`Worker`] serves a queue on it with a [`Handler`], and everything
//! behind it is the [`Transport`] of `polybus-contract`, re-exported here.

#[cfg(all(feature = "embedded", feature = "zeromq"))]
pub mod broker;
pub mod config;
pub mod exit;
pub mod figures;
pub mod frame;

mod client;
mod clock;
mod connect;
pub mod examine;
mod large;
pub mod log;
mod outage;
mod service;
#[cfg(feature = "http")]
mod status;
mod trace;
mod worker;

pub use async_trait::async_trait;
pub use client::{Call, CallError, Called, Client, Seen};
pub use clock::{BadSourceDate, output_time};
pub use connect::{BUSES, Bus, BusKind, CONNECT_WITHIN, connect};
pub use large::{Content, Outbox};
pub use outage::{is_away, pause};
pub use polybus_contract::*;
pub use service::{DeadLetterPolicy, Server, Service, ServiceRequest};
#[cfg(feature = "http")]
pub use status::{ServiceStatus, StatusPages};
pub use trace::{TRACEPARENT, TRACESTATE, TraceContext};
pub use worker::{
    Abandoned, Handler, Job, Observer, Phase, Shutdown, ShutdownTrigger, Verdict, WorkEnd, WorkEvent, Worker,
};
