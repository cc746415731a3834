//! The conformance kit of Polybus: it says whether a transport means what the words mean.
//!
//! A [`Subject`] is the bus to be judged: a way to make handles on it (any [`Transport`](polybus_contract::Transport),
//! or any process behind the line protocol of [`process`]), the times it declares, and, if somebody can do it harm, the
//! [`Faults`]. A [`Case`] gets a [`Stage`] on it. [`run`] runs cases one after another and makes a
//! [`Report`], as JSON and as a page.
//!
//! * A case names its needs. Where the bus does not declare one, the kit runs its negative twin ([`twins`]): the call must
//!   be refused, typed, and change nothing.
//! * There is no retry and no de-duplication in the kit: duplicates are counted.
//! * Every numbered message ([`Stamp`]) is written to a [`Ledger`] on disk; the [`checker`] reads ledgers, not channels.
//! * Times come from what the bus declares ([`Times`]), never from sleeps picked by hand.
//! * Everything is seeded; a failing case leaves a bundle that replays it.
//!
//! ```
//! # #[cfg(feature = "embedded")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> polybus_contract::Result<()> {
//! use polybus_kit::{RunOptions, Selection, Subject, cases};
//!
//! let subject = Subject::from_url("embedded:kit-example")?;
//! let options = RunOptions::default().with_selection(Selection::cases(["A1"]));
//! let report = polybus_kit::run(&subject, &cases::all(), &options).await;
//! assert!(report.is_good(), "{report}");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "embedded"))]
//! # fn main() {}
//! ```

mod case;
pub mod cases;
pub mod checker;
mod faults;
mod ledger;
pub mod mutants;
mod outstanding;
pub mod parity;
pub mod process;
pub mod proxy;
mod report;
mod runner;
mod stage;
mod stamp;
mod subject;
mod times;
mod traffic;
pub mod twins;

pub use case::{Case, CaseResult, Fail};
pub use faults::{Fault, Faults};
pub use ledger::{Entry, Event, Flushing, Ledger};
pub use report::{CaseReport, Claim, MutantReport, Report, Verdict};
pub use runner::{RunOptions, Selection, run, run_case};
pub use stage::Stage;
pub use stamp::{Stamp, digest_of};
pub use subject::{Insisting, Subject};
pub use times::Times;
pub use traffic::{Consumer, Producer, Subscriber, Taken};
