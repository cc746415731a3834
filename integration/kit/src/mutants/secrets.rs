//! Transports that show what nobody should see.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use polybus_contract::{Message, PublishOptions, Receipt, Result, Target};

use super::flaw::{Flaw, Inside};

fn text_of(message: &Message) -> String {
    message.body().as_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

/// Shows the payload in the text of an error.
#[derive(Debug)]
pub(super) struct ShowsPayloadInErrors;

#[async_trait]
impl Flaw for ShowsPayloadInErrors {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let payload = text_of(&message);
        let tell =
            |error: polybus_contract::Error| error.with_detail(format!("could not send \"{payload}\""));
        inside.publish(to, message, options).await.map_err(tell)
    }
}

/// Shows the last payload in its `Debug`.
#[derive(Debug, Default)]
pub(super) struct ShowsPayloadInDebug {
    last: Mutex<String>,
}

#[async_trait]
impl Flaw for ShowsPayloadInDebug {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = text_of(&message);
        inside.publish(to, message, options).await
    }
}
