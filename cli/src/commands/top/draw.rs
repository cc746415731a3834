//! One frame of a view.

use polybus::UnixMillis;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, TableState};

use super::view::View;
use crate::commands::status::cells::{self, QUEUE, SERVICE};
use crate::session::desk::moment;

/// The columns of each table by how much they are missed: what does not fit beside each other goes from the end.
const QUEUE_RANKS: [usize; QUEUE.len()] = [0, 1, 3, 4, 8, 11, 6, 5, 9, 10, 2, 7];
const SERVICE_RANKS: [usize; SERVICE.len()] = [0, 2, 3, 7, 4, 1, 5, 6];

const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
const SORTED: Style = HEAD.add_modifier(Modifier::UNDERLINED);
const MARKED: Style = Style::new().add_modifier(Modifier::REVERSED);
const QUIET: Style = Style::new().fg(Color::DarkGray);
const TROUBLE: Style = Style::new().fg(Color::Red);

/// Draws a view. Nothing but the view decides what is drawn.
pub(super) fn draw(view: &View, frame: &mut Frame<'_>) {
    let services = view.sight.as_ref().map_or(0, |sight| sight.overview.services.len());
    let services = u16::try_from(services).unwrap_or(u16::MAX);
    // A blank line, the heads, and one for each; a third of the screen at most.
    let lower = if services == 0 { 0 } else { (services + 2).min(frame.area().height / 3) };
    let rows = [Constraint::Length(2), Constraint::Min(2), Constraint::Length(lower), Constraint::Length(1)];
    let [top, queues, services, bottom] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(title(view)), top);
    draw_queues(view, frame, queues);
    draw_services(view, frame, services);
    let keys = "q end   arrows move, choose the column   r turn the order   sorted by ";
    let sorted = format!("{}{}", QUEUE[view.sort], if view.ascending { ", small first" } else { "" });
    frame.render_widget(Line::from(vec![Span::styled(keys, QUIET), Span::raw(sorted)]), bottom);
}

fn title(view: &View) -> Vec<Line<'_>> {
    let when = view.sight.as_ref().map_or_else(|| "not seen yet".to_owned(), |sight| moment(sight.at));
    let first = format!("{}  {when}, every {} s", view.url, view.every.as_secs_f64());
    let second = view.trouble.as_deref().map(|trouble| Span::styled(trouble, TROUBLE));
    vec![Line::styled(first, HEAD), second.map_or_else(Line::default, Line::from)]
}

fn draw_queues(view: &View, frame: &mut Frame<'_>, area: Rect) {
    let now = view.sight.as_ref().map_or(UnixMillis(0), |sight| sight.at);
    let rows: Vec<_> = view.queues().into_iter().map(|queue| cells::of_queue(queue, now)).collect();
    let table = table(&QUEUE, 1, &rows, &QUEUE_RANKS, Some(view.sort), area.width);
    let mut state = TableState::default().with_selected((!rows.is_empty()).then_some(view.marked));
    frame.render_stateful_widget(table.row_highlight_style(MARKED), area, &mut state);
}

fn draw_services(view: &View, frame: &mut Frame<'_>, area: Rect) {
    let Some(sight) = &view.sight else { return };
    let all = sight.overview.services.iter();
    let rows: Vec<_> = all.map(|service| cells::of_service(service, sight.max_attempts)).collect();
    let [_blank, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(table(&SERVICE, 3, &rows, &SERVICE_RANKS, None, area.width), area);
}

/// Rows under their heads, as many columns as fit; the first `left` begin at the left.
fn table<const N: usize>(
    heads: &[&'static str; N],
    left: usize,
    rows: &[[String; N]],
    ranks: &[usize; N],
    sorted: Option<usize>,
    room: u16,
) -> Table<'static> {
    let widths = cells::widths(heads, rows);
    let columns = fitting(&widths, ranks, room.into());
    let line = |column: usize, text: String, style: Style| {
        let line = Line::styled(text, style);
        if column < left { line } else { line.right_aligned() }
    };
    let head = |column: usize| {
        line(column, heads[column].to_owned(), if sorted == Some(column) { SORTED } else { HEAD })
    };
    let row = |row: &[String; N]| {
        Row::new(columns.iter().map(|&column| line(column, row[column].clone(), Style::new())))
    };
    let width = |&column: &usize| Constraint::Length(u16::try_from(widths[column]).unwrap_or(u16::MAX));
    Table::new(rows.iter().map(row), columns.iter().map(width))
        .header(Row::new(columns.iter().copied().map(head)))
        .column_spacing(2)
}

/// The columns that fit into the room, in their order. The first of the ranks is always there.
fn fitting(widths: &[usize], ranks: &[usize], room: usize) -> Vec<usize> {
    let mut left = room.saturating_sub(widths[ranks[0]]);
    let mut columns = vec![ranks[0]];
    for &column in &ranks[1..] {
        let Some(rest) = left.checked_sub(widths[column] + 2) else { break };
        left = rest;
        columns.push(column);
    }
    columns.sort_unstable();
    columns
}

#[cfg(test)]
mod tests;
