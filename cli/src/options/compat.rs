//! Named old behaviours (PRISEM services specification, 12).

use clap::ValueEnum;

/// A named old behaviour. Every program knows all of them; one that it has nothing to do with changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// Serve frames of the first design, and answer them in their own shape.
    Gen0,
    /// Cut the label of a match in correlation documents to the width of its identifier.
    ShortSite,
    /// Show log lines with the time of receipt.
    ReceiptTime,
    /// Write log lines of servers as `UUID: MESSAGE`.
    ServerLines,
}
