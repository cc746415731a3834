//! Scanning in several threads.
//!
//! Chunk number k goes to worker k modulo n and its result is taken from there, so results come in order without
//! any sorting. Every channel holds one chunk: no more than three for each worker are in memory.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::plan::RunOptions;
use super::source::Source;
use super::tally::Tally;
use super::work::{Seen, Worker};
use super::{Report, RunError, Sink};
use crate::map::Map;

/// What came of a chunk.
struct Done {
    bytes: usize,
    lines: Vec<u8>,
    tally: Tally,
    seen: Seen,
}

pub(super) fn run<I>(
    source: Source<I>,
    sink: Sink<'_, impl Write>,
    map: &Map,
    options: &RunOptions<'_>,
) -> Result<Report, RunError>
where
    I: Iterator<Item: Read + Send> + Send,
{
    thread::scope(|scope| {
        let (mut chunks, mut results, mut workers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.threads.get() {
            let (chunk, received) = sync_channel(1);
            let (done, result) = sync_channel(1);
            workers.push(spawn(scope, move || work(&received, &done, Worker::new(map, options)))?);
            chunks.push(chunk);
            results.push(result);
        }
        let reader = spawn(scope, move || read(source, &chunks))?;
        let report = collect(sink, &results);
        // Without results to go to, the workers end, and then the reader.
        drop(results);
        workers.into_iter().try_for_each(join)?;
        let read = join(reader)?;
        report.and_then(|report| read.map(|()| report))
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    job: impl FnOnce() -> T + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, T>, RunError> {
    let spawned = thread::Builder::new().name("ipgrep".into()).spawn_scoped(scope, job);
    spawned.map_err(|error| RunError::Thread(error.to_string()))
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> Result<T, RunError> {
    thread.join().map_err(|_| RunError::Thread("it broke down".into()))
}

fn read<I>(mut source: Source<I>, chunks: &[SyncSender<Vec<u8>>]) -> Result<(), RunError>
where
    I: Iterator<Item: Read>,
{
    for chunk in chunks.iter().cycle() {
        let mut text = Vec::new();
        if !source.read(&mut text)? || chunk.send(text).is_err() {
            break;
        }
    }
    Ok(())
}

fn work(chunks: &Receiver<Vec<u8>>, done: &SyncSender<Done>, mut worker: Worker<'_>) {
    for text in chunks {
        let (mut lines, mut tally) = (Vec::new(), Tally::default());
        let seen = worker.work(&text, &mut lines, &mut tally);
        if done.send(Done { bytes: text.len(), lines, tally, seen }).is_err() {
            break;
        }
    }
}

fn collect(mut sink: Sink<'_, impl Write>, results: &[Receiver<Done>]) -> Result<Report, RunError> {
    for result in results.iter().cycle() {
        // The first worker without a further result is the one that the next chunk would have gone to.
        let Ok(done) = result.recv() else { break };
        sink.report.tally.append(&done.tally);
        sink.take(done.bytes, &done.lines, done.seen)?;
    }
    Ok(sink.report)
}
