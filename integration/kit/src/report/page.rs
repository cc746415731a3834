//! The report as a page: one file, no scripts, light and dark, readable by a screen reader and on paper.

use std::fmt::Write as _;

use super::{CaseReport, Claim, MutantReport, Report, Verdict};

const STYLE: &str = include_str!("page.css");

/// Groups as `kit.md` names them.
const GROUPS: &[(&str, &str)] = &[
    ("A", "Message identity and content"),
    ("B", "Routing and names"),
    ("C", "Work queue"),
    ("D", "Settlement"),
    ("E", "Dead letter, expiry, delay, priority"),
    ("F", "Fanout"),
    ("G", "Request and reply"),
    ("H", "Publishing"),
    ("I", "Lifecycle"),
    ("J", "Faults"),
    ("K", "Security"),
    ("L", "Large bodies"),
    ("R", "Resources"),
];

/// Text in HTML. Everything that came from a bus or a name goes through here.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Writing to a string cannot fail.
macro_rules! put {
    ($page:expr, $($text:tt)*) => { let _ = write!($page, $($text)*); };
}

pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    let title = format!("Conformance of {}", escape(&report.subject));
    put!(page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    put!(page, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    put!(page, "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n");
    put!(page, "<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n");
    summary(&mut page, report);
    failures(&mut page, report);
    cases(&mut page, report);
    matrix(&mut page, report);
    declared(&mut page, "Capability", "Feature", &report.capability);
    pairs(&mut page, "Grades and limits", &report.limits);
    declared(&mut page, "Fidelity: properties of a message that arrive", "Property", &report.fidelity);
    run(&mut page, report);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

const fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Refused => "refused",
        Verdict::NotRun => "notrun",
    }
}

fn summary(page: &mut String, report: &Report) {
    let word = if report.is_good() { "No promise was found broken" } else { "Promises are broken" };
    let tone = if report.is_good() { "pass" } else { "fail" };
    put!(page, "<p class=\"verdict {tone}\">{word}</p>\n");
    if report.cases.is_empty() {
        return;
    }
    page.push_str("<ul class=\"counts\">\n");
    for verdict in Verdict::ALL {
        let (class, count) = (class(verdict), report.count(verdict));
        put!(page, "<li class=\"{class}\"><strong>{count}</strong> {verdict}</li>\n");
    }
    page.push_str("</ul>\n<p class=\"note\">Refused: the bus does not declare it, and says so, typed. ");
    page.push_str("Not run is never a pass.</p>\n");
}

fn failures(page: &mut String, report: &Report) {
    let failed: Vec<_> = report.cases.iter().filter(|case| case.verdict == Verdict::Fail).collect();
    if failed.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>What failed</h2>\n");
    for case in failed {
        put!(page, "<article class=\"failure\">\n<h3>{} {}</h3>\n", escape(&case.id), escape(&case.name));
        put!(page, "<p>{}</p>\n<pre>{}</pre>\n", escape(&case.about), escape(&case.why));
        let again = format!("polybus-kit run --case {} --seed {}", case.id, report.seed);
        put!(page, "<p>Again: <code>{}</code></p>\n", escape(&again));
        if let Some(bundle) = &case.bundle {
            put!(page, "<p>Bundle: <code>{}</code></p>\n", escape(bundle));
        }
        page.push_str("</article>\n");
    }
    page.push_str("</section>\n");
}

fn cases(page: &mut String, report: &Report) {
    if report.cases.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Cases</h2>\n");
    let mut groups: Vec<_> = report.cases.iter().map(|case| case.group.as_str()).collect();
    groups.dedup();
    for group in groups {
        let name = GROUPS.iter().find(|(letter, _)| *letter == group).map_or("", |(_, name)| name);
        put!(
            page,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Group {0}\">\n",
            escape(group)
        );
        put!(page, "<table class=\"cases\">\n<caption>{}. {name}</caption>\n", escape(group));
        page.push_str("<thead><tr><th scope=\"col\">Case</th><th scope=\"col\">Verdict</th>");
        page.push_str(
            "<th scope=\"col\">What must hold</th><th scope=\"col\" class=\"number\">ms</th></tr></thead>\n",
        );
        page.push_str("<tbody>\n");
        report.cases.iter().filter(|case| case.group == group).for_each(|case| case_row(page, case));
        page.push_str("</tbody>\n</table>\n</div>\n");
    }
    page.push_str("</section>\n");
}

fn case_row(page: &mut String, case: &CaseReport) {
    let (id, name, about) = (escape(&case.id), escape(&case.name), escape(&case.about));
    let (class, verdict) = (class(case.verdict), case.verdict);
    put!(page, "<tr><th scope=\"row\"><code>{id}</code> {name}</th>");
    put!(page, "<td><span class=\"chip {class}\">{verdict}</span></td><td>{about}");
    if !case.why.is_empty() && case.verdict != Verdict::Fail {
        put!(page, "<br><span class=\"why\">{}</span>", escape(&case.why));
    }
    put!(page, "</td><td class=\"number\">{}</td></tr>\n", case.elapsed_ms);
}

/// Which case kills which mutant.
fn matrix(page: &mut String, report: &Report) {
    if report.mutants.is_empty() {
        return;
    }
    let killed = report.mutants.iter().filter(|mutant| mutant.is_killed()).count();
    put!(
        page,
        "<section>\n<h2>Mutants</h2>\n<p>{killed} of {} broken transports were killed ",
        report.mutants.len()
    );
    page.push_str("by the cases that must kill them.</p>\n<dl class=\"mutants\">\n");
    for mutant in &report.mutants {
        let state = if mutant.is_killed() { ("pass", "killed") } else { ("fail", "alive") };
        put!(
            page,
            "<div><dt><code>{}</code> <span class=\"chip {}\">{}</span></dt>",
            escape(&mutant.name),
            state.0,
            state.1
        );
        put!(page, "<dd>{} (by {})</dd></div>\n", escape(&mutant.about), escape(&mutant.killers.join(", ")));
    }
    page.push_str("</dl>\n");
    matrix_tables(page, report);
    page.push_str("</section>\n");
}

/// One table for each group of mutants: one for all would be wide and mostly empty.
fn matrix_tables(page: &mut String, report: &Report) {
    page.push_str(
        "<p class=\"note\">\u{2716} the case fails on it, and that kills it; \u{25cf} one that must; ",
    );
    page.push_str("\u{b7} the case passes on it; empty: it was not run.</p>\n");
    for (letter, name) in GROUPS {
        let mutants: Vec<_> =
            report.mutants.iter().filter(|mutant| group_of(mutant) == Some(*letter)).collect();
        if !mutants.is_empty() {
            matrix_table(page, letter, name, &mutants);
        }
    }
}

/// The group that most of its killers belong to, of several the first.
fn group_of(mutant: &MutantReport) -> Option<&str> {
    let letters = || mutant.killers.iter().filter_map(|id| id.get(..1));
    let count = |letter: &&str| letters().filter(|other| other == letter).count();
    letters().rev().max_by_key(count)
}

fn matrix_table(page: &mut String, letter: &str, name: &str, mutants: &[&MutantReport]) {
    let mut ids: Vec<_> = mutants.iter().flat_map(|mutant| &mutant.cases).map(|case| &case.id).collect();
    ids.sort_by_key(|id| (id.get(..1).map(str::to_owned), id.len(), (*id).clone()));
    ids.dedup();
    put!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Cases and mutants of {letter}\">\n"
    );
    put!(page, "<table class=\"matrix\">\n<caption>{letter}. {name}</caption>\n");
    page.push_str("<thead><tr><th scope=\"col\">Case</th>");
    for mutant in mutants {
        put!(page, "<th scope=\"col\"><span>{}</span></th>", escape(&mutant.name));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for id in ids {
        put!(page, "<tr><th scope=\"row\"><code>{}</code></th>", escape(id));
        for mutant in mutants {
            matrix_cell(page, id, mutant);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

fn matrix_cell(page: &mut String, id: &String, mutant: &MutantReport) {
    let must = mutant.killers.contains(id);
    let (class, sign, text) = match mutant.verdict_of(id) {
        Some(Verdict::Fail) if must => ("fail", "\u{2716}\u{25cf}", "killed by the case that must"),
        Some(Verdict::Fail) => ("fail", "\u{2716}", "killed"),
        Some(_) if must => ("alive", "\u{25cb}", "must be killed by this case and lives"),
        Some(_) => ("quiet", "\u{b7}", "not killed"),
        None => ("quiet", "", "not run"),
    };
    put!(page, "<td class=\"{class}\" title=\"{text}\"><span aria-label=\"{text}\">{sign}</span></td>");
}

fn declared(page: &mut String, title: &str, first: &str, rows: &[Claim]) {
    put!(
        page,
        "<section>\n<h2>{title}</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n"
    );
    put!(
        page,
        "<table>\n<thead><tr><th scope=\"col\">{first}</th><th scope=\"col\">Declared</th></tr></thead>\n<tbody>\n"
    );
    for row in rows {
        let (class, word) = if row.declared { ("pass", "yes") } else { ("refused", "no") };
        put!(page, "<tr><th scope=\"row\"><code>{}</code> {}</th>", escape(&row.name), escape(&row.about));
        put!(page, "<td><span class=\"chip {class}\">{word}</span></td></tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

fn pairs(page: &mut String, title: &str, rows: &[(String, String)]) {
    put!(page, "<section>\n<h2>{title}</h2>\n<dl class=\"pairs\">\n");
    for (name, value) in rows {
        put!(page, "<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value));
    }
    page.push_str("</dl>\n</section>\n");
}

fn run(page: &mut String, report: &Report) {
    let mut rows = vec![
        ("bus".to_owned(), report.bus.clone()),
        ("seed".to_owned(), report.seed.to_string()),
        ("began".to_owned(), utc(report.began_unix_ms)),
        ("took".to_owned(), format!("{} ms", report.elapsed_ms)),
    ];
    rows.extend(report.versions.iter().cloned());
    rows.extend(report.times.iter().map(|(name, ms)| (format!("declared {name}"), format!("{ms} ms"))));
    pairs(page, "This run", &rows);
}

/// Civil time from days since 1970, by the usual count of 400-year eras.
fn utc(unix_ms: i64) -> String {
    let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, early) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year_of_era + early;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399_000), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_868_799_000), "2000-02-29 23:59:59 UTC");
        assert_eq!(utc(1_795_305_600_000), "2026-11-22 00:00:00 UTC");
    }

    #[test]
    fn k5s_nothing_from_outside_becomes_markup() {
        assert_eq!(escape("<b a='1'>&\""), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;");
    }
}
