//! anon: who is in this text by a map, or: hide them (PRISEM services specification, 6.2).

use std::io::{self, Read, Write};

use async_trait::async_trait;
use bytes::Bytes;
use polybus::frame::{Answer, Refusal};
use polybus::{Outbox, Service, ServiceRequest};
use polybus_ipgrep::{
    Count, LabelCounts, Map, MaskOptions, Masker, Output, Report, RunOptions, Select, Shown,
    write_classification,
};

use crate::engine::{Text, failed, off_thread, threads, unwritten};
use crate::fields::{AnonFields, RequestFields};
use crate::large::{Bounded, LargeResult, LargeText, unavailable};
use crate::maps::{ServerMap, notices, refused};

const USAGE: &str = include_str!("usage/anon.txt");

/// The field of the text.
const TEXT: &str = "data";

/// A result that fits into a frame of the usual limit, as base64 and with its notices.
const IN_ONE_FRAME: usize = 48 << 20;

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

    fn streams(&self) -> Option<&str> {
        Some(TEXT)
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        let beside = request.content.as_ref().map(|content| content.field.as_str());
        let fields = AnonFields::read_beside(request.frame.appdata(), beside)?;
        if fields.usage {
            return Ok(Answer::ok(USAGE));
        }
        let map = self.map.clone();
        if let Some(content) = &request.content {
            let text = LargeText::new(content, request.cancelled);
            let size = usize::try_from(content.parts.len()).unwrap_or(usize::MAX);
            return serve_large(Work { map, fields, size }, text, request.outbox).await;
        }
        let (text, size) = (Text::new(fields.data.clone(), request.cancelled), fields.data.len());
        let work = Work { map, fields, size };
        off_thread(move || work.in_memory(text, Vec::with_capacity(size))).await
    }
}

/// The result goes part by part to whoever reads such; to anybody else as one frame, if it fits.
async fn serve_large(work: Work, text: LargeText, outbox: Option<Outbox>) -> Result<Answer, Refusal> {
    let Some(outbox) = outbox else {
        let bounded = Bounded { bytes: Vec::new(), limit: IN_ONE_FRAME };
        return off_thread(move || {
            let mut out = bounded;
            let stderr = work.run(text, &mut out)?;
            Ok(Answer { stdout: out.bytes.into(), stderr, ..Answer::default() })
        })
        .await;
    };
    let mut out = LargeResult::new(outbox.begin().await.map_err(|error| unavailable(&error))?);
    let (done, upload) = off_thread(move || {
        let done = work.run(text, &mut out);
        Ok((done, out.upload))
    })
    .await?;
    match done {
        Ok(stderr) => {
            outbox.set_stdout(upload.finish().await.map_err(|error| unavailable(&error))?);
            Ok(Answer { stderr, ..Answer::default() })
        }
        Err(refusal) => {
            upload.abandon().await;
            Err(refusal)
        }
    }
}

/// What is to be done to a text.
struct Work {
    map: ServerMap,
    fields: AnonFields,
    size: usize,
}

impl Work {
    fn in_memory(&self, text: Text, mut out: Vec<u8>) -> Result<Answer, Refusal> {
        let stderr = self.run(text, &mut out)?;
        Ok(Answer { stdout: out.into(), stderr, ..Answer::default() })
    }

    /// Writes the result, and gives the notices.
    fn run(&self, text: impl Read + Send, out: &mut impl Write) -> Result<Bytes, Refusal> {
        let loaded = self.map.for_request(&self.fields.netmap)?;
        if loaded.map.is_empty() && !self.fields.json {
            return Err(refused("the map has no valid rule, so nothing would be hidden"));
        }
        if self.fields.json {
            classified(text, out, &loaded.map, self.size)?;
        } else {
            masked(text, out, &loaded.map, self.size, self.fields.stats)?;
        }
        Ok(notices(AnonFields::SERVICE, &loaded).into())
    }
}

fn classified(text: impl Read + Send, out: &mut impl Write, map: &Map, size: usize) -> Result<(), Refusal> {
    let options = RunOptions { count: Count::All, threads: threads(size), ..RunOptions::default() };
    let report = run(text, out, map, &options)?;
    write_classification(out, &report.tally, map, Shown::Values).map_err(|error| unwritten(&error))
}

fn masked(
    text: impl Read + Send,
    out: &mut impl Write,
    map: &Map,
    size: usize,
    stats: bool,
) -> Result<(), Refusal> {
    let masker = Masker::new(map, MaskOptions::default());
    let options = RunOptions {
        output: Output::Lines(Select::All, Some(&masker)),
        count: if stats { Count::Matching } else { Count::Nothing },
        threads: threads(size),
        ..RunOptions::default()
    };
    let report = run(text, out, map, &options)?;
    if stats { counted(out, map, &report).map_err(|error| unwritten(&error)) } else { Ok(()) }
}

fn counted(out: &mut impl Write, map: &Map, report: &Report) -> io::Result<()> {
    if report.unfinished_line {
        out.write_all(b"\n")?;
    }
    out.write_all(LabelCounts::SEPARATOR)?;
    LabelCounts::new(&report.tally, map).write_block(out)
}

fn run(
    text: impl Read + Send,
    out: &mut impl Write,
    map: &Map,
    options: &RunOptions<'_>,
) -> Result<Report, Refusal> {
    polybus_ipgrep::run([text], out, map, options).map_err(|error| failed(&error))
}
