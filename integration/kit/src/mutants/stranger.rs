//! Somebody with a wrong password, on a bus that has no passwords of its own.

use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{Error, Kind, Operation, Result};

use super::flaw::{Flaw, Inside};

/// The wrong password.
pub(super) const PASSWORD: &str = "open-sesame-and-open-wide";

/// Not a flaw: the bus answers a wrong password as it should.
#[derive(Debug)]
pub(super) struct LockedOut;

#[async_trait]
impl Flaw for LockedOut {
    async fn connect(&self, _inside: &Inside, _within: Duration) -> Result<()> {
        Err(Error::new(Kind::Unauthorized, Operation::Connect).with_detail("the password is wrong"))
    }
}

/// Repeats the password that was refused.
#[derive(Debug)]
pub(super) struct RepeatsPassword;

#[async_trait]
impl Flaw for RepeatsPassword {
    async fn connect(&self, inside: &Inside, within: Duration) -> Result<()> {
        let repeat = |error: Error| error.with_detail(format!("the password \"{PASSWORD}\" is wrong"));
        inside.connect(within).await.map_err(repeat)
    }
}
