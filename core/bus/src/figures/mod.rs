//! Queues seen from outside, twice: the rates between two looks, and how long what waits will take.
//!
//! ```no_run
//! # async fn seen() -> polybus::Result<()> {
//! use std::time::Duration;
//! use polybus::figures::{Overview, intakes, look};
//!
//! let bus = polybus::connect("nats://nats.example.org").await?;
//! let desk = bus.transport().admin().expect("a bus with a desk");
//! let all = intakes(desk, &[], &[]).await?;
//! let earlier = look(desk, &all, Duration::from_secs(5)).await;
//! tokio::time::sleep(Duration::from_secs(2)).await;
//! let later = look(desk, &all, Duration::from_secs(5)).await;
//! for queue in Overview::of(&[], Some(&earlier), &later).queues {
//!     println!("{}: {:?}", queue.intake, queue.empties_in());
//! }
//! # Ok(())
//! # }
//! ```

mod look;
mod overview;
mod rates;

pub use look::{Look, intakes, look};
pub use overview::{Overview, QueueView, ServiceView};
pub use rates::{Rates, Told, Unknown, attempts, backlog, empties_in};
