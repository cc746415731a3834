//! crosscor: which of ours talked to whom outside (PRISEM services specification, 6.5 and 8.1).

use async_trait::async_trait;
use polybus::frame::{Answer, Refusal, RefusalCode};
use polybus::{Service, ServiceRequest, output_time};
use polybus_ipgrep::{Correlation, Count, RunOptions};
use tokio_util::sync::CancellationToken;

use crate::engine::{Text, failed, off_thread, threads, unwritten};
use crate::fields::{CrosscorFields, Iff, RequestFields};
use crate::maps::{ServerMap, notices, refused};

const USAGE: &str = include_str!("usage/crosscor.txt");

/// The service `crosscor`.
#[derive(Clone, Debug, Default)]
pub struct Crosscor {
    map: ServerMap,
    short_site: bool,
}

impl Crosscor {
    /// With this map for requests that bring none.
    #[must_use]
    pub const fn new(map: ServerMap) -> Self {
        Self { map, short_site: false }
    }

    /// Whether labels are cut as the old program did (`--compat short-site`). Default false.
    #[must_use]
    pub const fn with_short_site(mut self, short: bool) -> Self {
        self.short_site = short;
        self
    }

    /// What a request with `usage` is answered.
    #[must_use]
    pub const fn usage() -> &'static str {
        USAGE
    }
}

#[async_trait]
impl Service for Crosscor {
    fn name(&self) -> &str {
        CrosscorFields::SERVICE
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        let fields = CrosscorFields::read(request.frame.appdata())?;
        if fields.usage {
            return Ok(Answer::ok(USAGE));
        }
        let service = self.clone();
        off_thread(move || service.answer(&fields, request.cancelled)).await
    }
}

impl Crosscor {
    fn answer(&self, fields: &CrosscorFields, cancelled: CancellationToken) -> Result<Answer, Refusal> {
        let date =
            output_time().map_err(|error| Refusal::new(RefusalCode::Unavailable, error.to_string()))?;
        let loaded = self.map.for_request(&fields.netmap)?;
        if loaded.map.is_empty() {
            return Err(refused("the map has no valid rule, so nothing can be correlated"));
        }
        let options =
            RunOptions { count: Count::Beside, threads: threads(fields.data.len()), ..RunOptions::default() };
        let text = Text::new(fields.data.clone(), cancelled);
        let mut out = Vec::new();
        let report =
            polybus_ipgrep::run([text], &mut out, &loaded.map, &options).map_err(|error| failed(&error))?;
        let correlation = Correlation {
            tally: &report.tally,
            map: &loaded.map,
            iff: fields.iff.map(engine_iff),
            short_site: self.short_site,
        };
        correlation.write(&mut out, &date).map_err(|error| unwritten(&error))?;
        let stderr = notices(CrosscorFields::SERVICE, &loaded).into();
        Ok(Answer { stdout: out.into(), stderr, ..Answer::default() })
    }
}

const fn engine_iff(iff: Iff) -> polybus_ipgrep::Iff {
    match iff {
        Iff::Friend => polybus_ipgrep::Iff::Friend,
        Iff::Foe => polybus_ipgrep::Iff::Foe,
    }
}
