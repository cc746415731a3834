//! The checked desk.

use async_trait::async_trait;

use super::Checked;
use crate::admin::{Admin, Browse, Object, Page, Place, Purged, QueueInfo, Redrive, Redriven};
use crate::capability::Feature;
use crate::error::{Error, Operation, Result};
use crate::target::Intake;
use crate::transport::Transport;

impl Checked {
    fn desk(&self, operation: Operation, feature: Feature) -> Result<&dyn Admin> {
        self.gate(operation).need(feature)?;
        let bus = self.profile().bus;
        self.get_ref().admin().ok_or_else(|| Error::unsupported(feature, operation, bus))
    }
}

#[async_trait]
impl Admin for Checked {
    async fn list(&self) -> Result<Vec<Intake>> {
        self.desk(Operation::Inspect, Feature::Inspect)?.list().await
    }

    async fn inspect(&self, intake: &Intake) -> Result<QueueInfo> {
        self.desk(Operation::Inspect, Feature::Inspect)?.inspect(intake).await
    }

    async fn browse(&self, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        let feature = match place {
            Place::Ready => Feature::BrowseReady,
            Place::Dead => Feature::BrowseDead,
        };
        self.desk(Operation::Browse, feature)?.browse(intake, place, browse).await
    }

    async fn purge(&self, intake: &Intake, place: Place) -> Result<Purged> {
        self.desk(Operation::Purge, Feature::Purge)?.purge(intake, place).await
    }

    async fn redrive(&self, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        self.desk(Operation::Redrive, Feature::Redrive)?.redrive(intake, redrive).await
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        self.desk(Operation::Remove, Feature::Remove)?.remove(object).await
    }
}
