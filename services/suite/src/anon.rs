//! anon: who is in this text by a map, or: hide them (PRISEM services specification, 6.2).

use async_trait::async_trait;
use bytes::Bytes;
use polybus::frame::{Answer, Refusal};
use polybus::{Service, ServiceRequest};
use polybus_ipgrep::{
    Count, LabelCounts, Map, MaskOptions, Masker, Output, Report, RunOptions, Select, Shown,
    write_classification,
};
use tokio_util::sync::CancellationToken;

use crate::engine::{Text, failed, off_thread, threads, unwritten};
use crate::fields::{AnonFields, RequestFields};
use crate::maps::{ServerMap, notices, refused};

const USAGE: &str = include_str!("usage/anon.txt");

/// The service `anon`.
#[derive(Clone, Debug, Default)]
pub struct Anon {
    map: ServerMap,
}

impl Anon {
    /// With this map for requests that bring none.
    #[must_use]
    pub const fn new(map: ServerMap) -> Self {
        Self { map }
    }

    /// What a request with `usage` is answered.
    #[must_use]
    pub const fn usage() -> &'static str {
        USAGE
    }
}

#[async_trait]
impl Service for Anon {
    fn name(&self) -> &str {
        AnonFields::SERVICE
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        let fields = AnonFields::read(request.frame.appdata())?;
        if fields.usage {
            return Ok(Answer::ok(USAGE));
        }
        let map = self.map.clone();
        off_thread(move || answer(&map, &fields, request.cancelled)).await
    }
}

fn answer(map: &ServerMap, fields: &AnonFields, cancelled: CancellationToken) -> Result<Answer, Refusal> {
    let loaded = map.for_request(&fields.netmap)?;
    if loaded.map.is_empty() && !fields.json {
        return Err(refused("the map has no valid rule, so nothing would be hidden"));
    }
    let text = Text::new(fields.data.clone(), cancelled);
    let stdout = if fields.json {
        classified(text, &loaded.map, fields.data.len())?
    } else {
        masked(text, &loaded.map, fields.data.len(), fields.stats)?
    };
    Ok(Answer { stdout, stderr: notices(AnonFields::SERVICE, &loaded).into(), ..Answer::default() })
}

fn classified(text: Text, map: &Map, size: usize) -> Result<Bytes, Refusal> {
    let options = RunOptions { count: Count::All, threads: threads(size), ..RunOptions::default() };
    let mut out = Vec::new();
    let report = run(text, &mut out, map, &options)?;
    write_classification(&mut out, &report.tally, map, Shown::Values).map_err(|error| unwritten(&error))?;
    Ok(out.into())
}

fn masked(text: Text, map: &Map, size: usize, stats: bool) -> Result<Bytes, Refusal> {
    let masker = Masker::new(map, MaskOptions::default());
    let options = RunOptions {
        output: Output::Lines(Select::All, Some(&masker)),
        count: if stats { Count::Matching } else { Count::Nothing },
        threads: threads(size),
        ..RunOptions::default()
    };
    let mut out = Vec::with_capacity(size);
    let report = run(text, &mut out, map, &options)?;
    if stats {
        if report.unfinished_line {
            out.push(b'\n');
        }
        out.extend_from_slice(LabelCounts::SEPARATOR);
        LabelCounts::new(&report.tally, map).write_block(&mut out).map_err(|error| unwritten(&error))?;
    }
    Ok(out.into())
}

fn run(text: Text, out: &mut Vec<u8>, map: &Map, options: &RunOptions<'_>) -> Result<Report, Refusal> {
    polybus_ipgrep::run([text], out, map, options).map_err(|error| failed(&error))
}
