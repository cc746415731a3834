//! What counts as an identifier (PRISEM services specification, 7.8).

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use polybus_ipgrep::{Classes, Dns, Grammar, Tlds};

use super::inputs::unreadable;
use crate::console::Outcome;

/// Options about identifiers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Identifiers")]
pub(super) struct GrammarArguments {
    /// Classes to seek, a comma list of ip4, ip6, host, cidr, email, url, defang, tcpdump, or all.
    #[arg(long, value_name = "LIST", default_value = "ip4,ip6,host")]
    classes: Classes,
    /// Top-level domains that count, one a line. Without it names that end in a common file suffix do not count.
    #[arg(long, value_name = "FILE")]
    tlds: Option<PathBuf>,
}

impl GrammarArguments {
    /// The grammar, with names that end in a file suffix taken or not.
    ///
    /// # Errors
    /// Exit 1 if the list of top-level domains cannot be read.
    pub(super) fn grammar(&self, dns: Dns) -> Outcome<Grammar> {
        let read = |path: &PathBuf| match fs::read(path) {
            Ok(text) => Ok(Arc::new(Tlds::parse(&String::from_utf8_lossy(&text)))),
            Err(error) => Err(unreadable(Some(path), &error)),
        };
        let tlds = self.tlds.as_ref().map(read).transpose()?;
        Ok(Grammar { classes: self.classes, dns, tlds })
    }
}
