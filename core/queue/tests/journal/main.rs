//! The journal against a disk that loses power, fills up and rots.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests with small numbers"
)]

mod any;
mod damage;
mod disk;
mod full;
mod power;
mod ward;
