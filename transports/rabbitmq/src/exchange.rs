//! Exchanges: those of topics, and the one that stands in for the default one.

use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use polybus_contract::{Error, Operation, Result};

use crate::header::known;
use crate::session::{Refused, Session};
use crate::topology::{DIFFERS, NOT_FOUND};

/// What a declare found.
pub(crate) struct FoundExchange {
    pub(crate) created: bool,
    pub(crate) durable: bool,
}

pub(crate) async fn ask_exchange(
    session: &Session,
    wire: &str,
    kind: ExchangeKind,
    options: ExchangeDeclareOptions,
) -> std::result::Result<(), Refused> {
    let name = known(wire);
    let declare = async move |channel: lapin::Channel| {
        channel.exchange_declare(name, kind, options, FieldTable::default()).await
    };
    session.ask(Operation::Declare, declare).await
}

pub(crate) async fn is_exchange(session: &Session, wire: &str) -> Result<bool> {
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    match ask_exchange(session, wire, ExchangeKind::Fanout, passive).await {
        Ok(()) => Ok(true),
        Err(refused) if refused.code() == Some(NOT_FOUND) => Ok(false),
        Err(refused) => Err(refused.of(Operation::Declare, wire)),
    }
}

/// Whether an exchange is durable; `None`: there is none.
pub(crate) async fn look_at_exchange(session: &Session, wire: &str) -> Result<Option<bool>> {
    if !is_exchange(session, wire).await? {
        return Ok(None);
    }
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    match ask_exchange(session, wire, ExchangeKind::Fanout, durable).await {
        Ok(()) => Ok(Some(true)),
        // Of whatever else it is, nothing can be said.
        Err(refused) if refused.code() == Some(DIFFERS) => Ok(Some(false)),
        Err(refused) => Err(refused.of(Operation::Declare, wire)),
    }
}

pub(crate) async fn declare_exchange(session: &Session, wire: &str, durable: bool) -> Result<FoundExchange> {
    if let Some(durable) = look_at_exchange(session, wire).await? {
        return Ok(FoundExchange { created: false, durable });
    }
    let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
    match ask_exchange(session, wire, ExchangeKind::Fanout, options).await {
        Ok(()) => Ok(FoundExchange { created: true, durable }),
        // Somebody else was faster.
        Err(refused) if refused.code() == Some(DIFFERS) => {
            Ok(FoundExchange { created: false, durable: !durable })
        }
        Err(refused) => Err(refused.of(Operation::Declare, wire)),
    }
}

/// The exchange of queues, where it is not the default one.
pub(crate) async fn see_to_exchange(session: &Session, wire: &str, kind: ExchangeKind) -> Result<()> {
    if is_exchange(session, wire).await? {
        return Ok(());
    }
    let made = ask_exchange(session, wire, kind, ExchangeDeclareOptions::default()).await;
    made.map_err(|refused: Refused| -> Error { refused.of(Operation::Declare, wire) })
}
