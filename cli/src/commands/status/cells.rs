//! The cells of the tables of `polybus status` and `polybus top`.

use std::time::Duration;

use polybus::UnixMillis;
use polybus::figures::{QueueView, ServiceView, Told, Unknown};

use crate::session::desk::{figure, written};

/// The heads of the table of queues.
pub(crate) const QUEUE: [&str; 12] = [
    "QUEUE",
    "READY",
    "DELAYED",
    "LEASED",
    "DEAD",
    "CONSUMERS",
    "SENT/S",
    "OUT/S",
    "SETTLED/S",
    "GROWTH/S",
    "OLDEST",
    "EMPTIES IN",
];

/// The heads of the table of services.
pub(crate) const SERVICE: [&str; 8] =
    ["SERVICE", "QUEUE", "STATE", "BACKLOG", "ATTEMPTS", "JOBS", "JOB LIMIT", "EMPTIES IN"];

/// A queue, under [`QUEUE`].
pub(crate) fn of_queue(queue: &QueueView, now: UnixMillis) -> [String; 12] {
    let info = queue.info.clone().unwrap_or_default();
    let age = |since: UnixMillis| Duration::from_millis(u64::try_from(now.0 - since.0).unwrap_or(0));
    [
        written(&queue.intake),
        figure(info.ready),
        figure(info.delayed),
        figure(info.leased),
        figure(info.dead),
        figure(info.consumers),
        rate(queue.rates.sent),
        rate(queue.rates.handed_out),
        rate(queue.rates.settled),
        queue.rates.growth.map_or_else(|_| absent(), |growth| format!("{growth:+.1}")),
        info.oldest.map_or_else(absent, |since| span(age(since))),
        estimate(queue.empties_in()),
    ]
}

/// A service, under [`SERVICE`].
pub(crate) fn of_service(service: &ServiceView, max_attempts: u32) -> [String; 8] {
    let ServiceView { service, queue, .. } = service;
    let tried = queue.attempts().map_or_else(|_| absent(), |attempts| format!("{attempts:.2}"));
    [
        service.name.clone(),
        service.queue.name.to_string(),
        state(queue).unwrap_or("-").to_owned(),
        figure(queue.backlog().ok()),
        format!("{tried} of {max_attempts}"),
        service.jobs.to_string(),
        service.job_limit.map_or_else(absent, span),
        estimate(queue.empties_in()),
    ]
}

/// Whether a service's queue is there and consumed; `None` if the bus does not tell.
pub(crate) fn state(queue: &QueueView) -> Option<&'static str> {
    match (&queue.info, queue.is_served()) {
        (Err(Unknown::Absent), _) => Some("absent"),
        (_, Ok(true)) => Some("served"),
        (_, Ok(false)) => Some("unserved"),
        (_, Err(_)) => None,
    }
}

fn absent() -> String {
    "-".to_owned()
}

fn rate(rate: Told<f64>) -> String {
    rate.map_or_else(|_| absent(), |rate| format!("{rate:.1}"))
}

fn estimate(time: Told<Duration>) -> String {
    time.map_or_else(|_| "unknown".to_owned(), span)
}

/// A time as people say it, to two digits or so.
fn span(time: Duration) -> String {
    const DAY: f64 = 86_400.0;
    let seconds = time.as_secs_f64();
    match seconds {
        _ if time.is_zero() => "0 s".to_owned(),
        ..10.0 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ if seconds > 9999.0 * DAY => "> 9999 d".to_owned(),
        _ => format!("{:.0} d", seconds / DAY),
    }
}

/// The width of each column: that of its widest cell.
pub(crate) fn widths<const N: usize>(heads: &[&str; N], rows: &[[String; N]]) -> Vec<usize> {
    let longest = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    heads.iter().enumerate().map(|(at, head)| head.len().max(longest(at))).collect()
}

/// Rows under their heads; the first `left` columns begin at the left.
pub(crate) fn table<const N: usize>(heads: &[&str; N], left: usize, rows: &[[String; N]]) -> String {
    let widths = widths(heads, rows);
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cell = |(at, text): (usize, &str)| {
            let width = widths[at];
            if at < left { format!("{text:width$}") } else { format!("{text:>width$}") }
        };
        let cells: Vec<_> = cells.enumerate().map(cell).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let head = line(&mut heads.iter().copied());
    std::iter::once(head).chain(rows.iter().map(|row| line(&mut row.iter().map(String::as_str)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.25, "0.2 s"),
            (9.96, "10.0 s"),
            (75.4, "75 s"),
            (600.0, "10 min"),
            (9000.0, "2.5 h"),
            (864_000.0, "10 d"),
        ] {
            assert_eq!(span(Duration::from_secs_f64(seconds)), text);
        }
        assert_eq!(span(Duration::MAX), "> 9999 d");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "10 min".to_owned()], ["longer".to_owned(), "-".to_owned()]];
        assert_eq!(table(&["Q", "TIME"], 1, &rows), "Q         TIME\na       10 min\nlonger       -\n");
    }
}
