//! Real brokers for tests: RabbitMQ and NATS, in containers where an engine runs, else as local programs.
//!
//! A worker that was tested on the embedded bus alone has not been tested on the bus it will run on. This starts the
//! real ones, on free ports of 127.0.0.1, and lets a test do to them what happens in production: kill them, stop them,
//! freeze them, fill them up. Nothing has to be installed beside an engine, or instead of one.
//!
//! ```no_run
//! # struct Bus;
//! # async fn connect(url: &str) -> Bus { Bus }
//! # async fn my_worker_does_its_work(bus: &Bus) {}
//! use polybus_brokers::{Broker, Kind};
//!
//! #[tokio::test]
//! async fn my_worker_runs_on_every_bus() {
//!     for kind in [Kind::RABBITMQ, Kind::NATS] {
//!         let broker = Broker::start(kind).await.unwrap();
//!         let bus = connect(&broker.url()).await; // polybus::connect
//!         my_worker_does_its_work(&bus).await;
//!         broker.kill().await.unwrap(); // SIGKILL
//!         broker.restart().await.unwrap(); // the same port, the same data
//!         my_worker_does_its_work(&bus).await;
//!     }
//! }
//! ```
//!
//! # Where brokers come from
//!
//! [`Broker::start`] asks the container engine first. It prefers a local image `polybus-test/...`, which
//! `integration/brokers/images.sh` builds from packages, and else takes the official one, which the engine may have to pull.
//! Without an engine, or without the image, it runs `rabbitmq-server` or `nats-server` as found on `PATH`, as any user, in a
//! folder of its own, beside whatever else runs on the machine. If that fails too, the error says what to install.
//! [`Options`] lists the settings; each may be an environment variable. A [`Kind`] with a version takes no other version.
//!
//! # Who may use them
//!
//! [`Broker::url`] has a user and a password that are new for each broker. [`Broker::neighbour_url`] belongs to somebody else who
//! may use the same names, [`Broker::tenant`] makes more of those, and [`Broker::stranger_url`] has a wrong password. So
//! many tests can share one broker.

mod broker;
mod cluster;
mod engine;
mod error;
mod kind;
mod layout;
mod local;
mod nats;
mod node;
mod options;
mod place;
mod port;
mod probe;
mod process;
mod rabbitmq;
mod start;
mod tenant;
mod tls;

pub use broker::Broker;
pub use cluster::Cluster;
pub use engine::LABEL;
pub use error::Error;
pub use kind::{Kind, Product};
pub use options::{Options, Place};
pub use port::free as free_port;
pub use tls::{Certificates, Tls};
