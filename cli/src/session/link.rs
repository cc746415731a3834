//! A connected bus, and the log lines on it.

use std::sync::Arc;
use std::time::Duration;

use polybus::Bus;
use polybus::frame::Identity;
use polybus::log::{Level, LineForm, LogLayer, LogOptions, LogPublisher, LogSink};
use tokio::task::AbortHandle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::link_watch::LinkWatch;
use super::{Arrival, Patience, Place};
use crate::console::{Notices, Outcome};

/// How long the last log lines may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How a program logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logging {
    /// The least urgent lines that go to standard error too.
    pub(crate) to_stderr: Option<Level>,
    /// The form of lines on the bus.
    pub(crate) form: LineForm,
}

/// A connected bus, and the log lines on it.
pub(crate) struct Link {
    /// The bus.
    pub(crate) bus: Bus,
    /// Who this program is.
    pub(crate) identity: Identity,
    /// Where log lines go.
    pub(crate) log: Arc<dyn LogSink>,
    /// Whether the bus was away at first.
    pub(crate) waited: bool,
    publisher: Arc<LogPublisher>,
    watch: AbortHandle,
    notices: Notices,
}

impl Link {
    /// Connects, and says on the log topic who is there. From then on it is told on standard error when the connection
    /// comes and goes.
    ///
    /// # Errors
    /// As [`Place::connect`], and exit 2 for a topic that cannot be named so. Trouble with log lines is no error.
    pub(crate) async fn open(
        place: &Place,
        logging: Logging,
        patience: Patience,
        notices: &Notices,
    ) -> Outcome<Self> {
        place.log_topic()?;
        let arrival = place.connect(patience, notices).await?;
        notices.progress(|| format!("connected to {}", arrival.bus));
        Self::on(arrival, place, logging, notices)
    }

    /// The same on a bus that is connected already.
    ///
    /// # Errors
    /// Exit 2 for a topic that cannot be named so.
    pub(crate) fn on(arrival: Arrival, place: &Place, logging: Logging, notices: &Notices) -> Outcome<Self> {
        let topic = place.log_topic()?;
        let Arrival { bus, waited } = arrival;
        let options = LogOptions::default()
            .with_least(place.settings.log.level)
            .with_form(logging.form)
            .with_grade(topic.grade);
        let publisher = LogPublisher::start(bus.transport(), &topic.name, &place.identity, options);
        let publisher = Arc::new(publisher);
        let log: Arc<dyn LogSink> = match logging.to_stderr {
            Some(least) => Arc::new(Both { publisher: publisher.clone(), notices: notices.clone(), least }),
            None => publisher.clone(),
        };
        // A second link of one process keeps what the first one has set up.
        let _first = tracing_subscriber::registry().with(LogLayer::new(log.clone())).try_init();
        let watch = tokio::spawn(LinkWatch::new(notices).watch(bus.clone())).abort_handle();
        let (identity, notices) = (place.identity.clone(), notices.clone());
        Ok(Self { bus, identity, log, waited, publisher, watch, notices })
    }

    /// Sends what is still to be logged, and leaves the bus.
    pub(crate) async fn close(self, within: Duration) {
        self.watch.abort();
        let report = self.publisher.finish(LAST_LINES.min(within)).await;
        if let Some(trouble) = self.publisher.trouble() {
            self.notices
                .progress(|| format!("{} log lines were lost: {trouble}", report.waiting + report.dropped));
        }
        let report = self.bus.drain(within).await;
        if !report.is_clean() {
            self.notices.progress(|| format!("left {}: {report}", self.bus));
        }
    }
}

/// Log lines on the bus and, if they are urgent enough, on standard error.
#[derive(Debug)]
struct Both {
    publisher: Arc<LogPublisher>,
    notices: Notices,
    least: Level,
}

impl LogSink for Both {
    fn log(&self, level: Level, message: &str) {
        self.log_of(None, level, message);
    }

    fn log_of(&self, component: Option<&str>, level: Level, message: &str) {
        if level <= self.least {
            self.notices.log(level, message);
        }
        self.publisher.log_of(component, level, message);
    }
}
