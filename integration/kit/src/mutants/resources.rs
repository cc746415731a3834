//! Transports that keep what they should give back.

use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{Kind, Message, PublishOptions, Receipt, Result, Target};

use super::flaw::{Flaw, Inside, claimed};

/// Keeps a copy of everything that was ever published.
#[derive(Debug, Default)]
pub(super) struct KeepsCopies {
    copies: Mutex<Vec<Vec<u8>>>,
}

#[async_trait]
impl Flaw for KeepsCopies {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let copy = message.body().as_bytes().map(|bytes| bytes.to_vec());
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).extend(copy);
        inside.publish(to, message, options).await
    }
}

/// Takes what a full queue refuses into a buffer without a bound.
#[derive(Debug, Default)]
pub(super) struct BuffersBeyondBounds {
    buffer: Mutex<Vec<Message>>,
}

#[async_trait]
impl Flaw for BuffersBeyondBounds {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        match inside.publish(to, message.clone(), options).await {
            Err(error) if error.kind() == Kind::Full => {
                let claim = claimed(&message);
                self.buffer.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                Ok(claim)
            }
            answer => answer,
        }
    }
}

/// Starts a task for each connection and never ends it.
#[derive(Debug)]
pub(super) struct LeaksTaskPerConnection;

#[async_trait]
impl Flaw for LeaksTaskPerConnection {
    async fn connect(&self, inside: &Inside, within: Duration) -> Result<()> {
        tokio::spawn(std::future::pending::<()>());
        inside.connect(within).await
    }
}

/// Opens a file for each connection and never closes it.
#[derive(Debug, Default)]
pub(super) struct LeaksFiles {
    files: Mutex<Vec<File>>,
}

#[async_trait]
impl Flaw for LeaksFiles {
    async fn connect(&self, inside: &Inside, within: Duration) -> Result<()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).extend(File::open("/dev/null"));
        inside.connect(within).await
    }
}
