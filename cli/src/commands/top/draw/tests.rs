//! Frames as a terminal would show them.

use std::time::Duration;

use polybus::figures::{Look, Overview};
use polybus::{Intake, Name, Queue, QueueInfo, Served};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::view::Step;
use super::*;
use crate::console::Failure;
use crate::session::lookout::Sight;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Two looks, two seconds apart, at queues that have this many ready and settled this many between the looks.
fn sight(queues: &[(&str, u64, u64)]) -> Sight {
    let look = |at, settled_by_then: fn(u64) -> u64| {
        let one = |(queue, ready, settled): &(&str, u64, u64)| {
            let (ready, settled) = (Some(*ready), Some(settled_by_then(*settled)));
            let info = QueueInfo { ready, settled, dead: Some(0), ..QueueInfo::default() };
            (Intake::Queue(name(queue)), Ok(info))
        };
        Look::new(at, queues.iter().map(one).collect())
    };
    let first = std::time::Instant::now();
    let (earlier, later) = (look(first, |_| 0), look(first + Duration::from_secs(2), |settled| settled));
    let service = Served::new("anon", Queue::new(name("anon_0.5.5"))).with_job_limit(Duration::from_mins(25));
    let overview = Overview::of(&[service], Some(&earlier), &later);
    Sight {
        url: "nats://nats.example.org".to_owned(),
        at: UnixMillis(1_392_876_660_000),
        overview,
        max_attempts: 5,
    }
}

fn view(queues: &[(&str, u64, u64)]) -> View {
    let mut view = View::new("nats://nats.example.org", Duration::from_secs(2));
    view.took(Ok(sight(queues)));
    view
}

fn shown(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(view, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

fn press(view: &mut View, code: KeyCode) -> Step {
    view.press(KeyEvent::new(code, KeyModifiers::NONE))
}

/// The first words of the rows of queues.
fn order(view: &View) -> Vec<String> {
    let shown = shown(view, 120, 16);
    shown[3..]
        .iter()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

const SOME: [(&str, u64, u64); 3] = [("anon_0.5.5", 12, 8), ("beta", 3, 0), ("gamma", 40, 1)];

#[test]
fn a_frame_shows_queues_services_and_keys() {
    let lines = shown(&view(&SOME), 120, 14);
    assert_eq!(lines[0], "nats://nats.example.org  2014-02-20T06:11:00.000Z, every 2 s");
    assert!(
        lines[2].starts_with("QUEUE       READY  DELAYED  LEASED  DEAD  CONSUMERS  SENT/S"),
        "{lines:#?}"
    );
    for (line, shown) in [
        (
            3,
            "gamma          40        -       -     0          -       -      -        0.5      +0.0       -        80 s",
        ),
        (
            4,
            "anon_0.5.5     12        -       -     0          -       -      -        4.0      +0.0       -       3.0 s",
        ),
        (
            5,
            "beta            3        -       -     0          -       -      -        0.0      +0.0       -     unknown",
        ),
    ] {
        assert_eq!(lines[line], shown);
    }
    assert_eq!(lines[11], "SERVICE  QUEUE       STATE   BACKLOG  ATTEMPTS  JOBS  JOB LIMIT  EMPTIES IN");
    assert_eq!(lines[12], "anon     anon_0.5.5  served       12    - of 5     1     25 min       3.0 s");
    assert!(lines[13].starts_with("q end") && lines[13].ends_with("sorted by READY"), "{lines:#?}");
}

#[test]
fn keys_sort_and_what_is_unknown_comes_last() {
    let mut view = view(&SOME);
    assert_eq!(order(&view), ["gamma", "anon_0.5.5", "beta"]);
    press(&mut view, KeyCode::Char('r'));
    assert_eq!(order(&view), ["beta", "anon_0.5.5", "gamma"]);
    press(&mut view, KeyCode::Left);
    assert_eq!(order(&view), ["anon_0.5.5", "beta", "gamma"]);
    press(&mut view, KeyCode::Left);
    assert_eq!(QUEUE[view.sort], "EMPTIES IN");
    assert_eq!(order(&view), ["anon_0.5.5", "gamma", "beta"]);
    press(&mut view, KeyCode::Char('r'));
    assert_eq!(order(&view), ["gamma", "anon_0.5.5", "beta"]);
    press(&mut view, KeyCode::Right);
    assert_eq!(order(&view), ["gamma", "beta", "anon_0.5.5"]);
}

#[test]
fn the_marked_row_is_always_shown() {
    let names: Vec<_> = (0..30).map(|number| format!("queue{number:02}")).collect();
    let queues: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 0)).collect();
    let mut view = view(&queues);
    assert!(!shown(&view, 120, 12).iter().any(|line| line.starts_with("queue29")));
    press(&mut view, KeyCode::End);
    assert!(shown(&view, 120, 12).iter().any(|line| line.starts_with("queue29")));
    for code in [KeyCode::Down, KeyCode::PageDown] {
        press(&mut view, code);
        assert_eq!(view.marked, 29);
    }
    press(&mut view, KeyCode::PageUp);
    press(&mut view, KeyCode::Up);
    assert_eq!(view.marked, 18);
    // Fewer queues than before.
    view.took(Ok(sight(&SOME)));
    assert_eq!(view.marked, 2);
}

#[test]
fn a_narrow_screen_leaves_columns_out_and_none_is_too_small() {
    let view = view(&SOME);
    let lines = shown(&view, 48, 14);
    assert_eq!(lines[2], "QUEUE       READY  LEASED  DEAD  SETTLED/S");
    for (width, height) in [(1, 1), (5, 2), (20, 4), (300, 100)] {
        shown(&view, width, height);
    }
}

#[test]
fn trouble_is_told_and_what_was_seen_stays() {
    let mut view = view(&SOME);
    view.took(Err(Failure::refused("disconnected", "the broker is away")));
    let lines = shown(&view, 120, 14);
    assert_eq!(lines[1], "the broker is away");
    assert!(lines[3].starts_with("gamma"));
    view.took(Ok(sight(&SOME)));
    assert_eq!(shown(&view, 120, 14)[1], "");
    let nothing = View::new("nats://nats.example.org", Duration::from_secs(2));
    assert!(shown(&nothing, 120, 14)[0].ends_with("not seen yet, every 2 s"));
}

#[test]
fn some_keys_end_it() {
    let mut view = view(&SOME);
    for code in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut view, code), Step::End);
    }
    assert_eq!(view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Step::End);
    assert_eq!(press(&mut view, KeyCode::Char('c')), Step::Stay);
}
