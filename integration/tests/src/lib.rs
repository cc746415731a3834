//! What the end-to-end tests share: the built command, the vectors, and how a case is run and judged.

mod background;
mod binary;
mod case;
mod desk;
mod doctor;
mod house;
mod judge;
mod mirror;
mod nats;
mod service;
mod terminal;
mod zmq_house;

pub use background::{Background, PATIENCE};
pub use binary::{Error, Programs, feed};
pub use case::{Case, Compare, Expect, cases, vectors};
pub use desk::Desk;
pub use doctor::{Examined, Wanted, examined, examined_until};
pub use house::{House, account};
pub use judge::judge;
pub use mirror::Mirror;
pub use nats::Nats;
pub use service::{ServiceCall, service_calls};
pub use terminal::Terminal;
pub use zmq_house::ZmqHouse;
