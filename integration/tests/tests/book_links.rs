//! The book holds together: every link leads somewhere, every page is listed, every decision is shown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn markdown(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The targets of `[text](target)` outside of code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for prose in text.split("```").step_by(2) {
        for piece in prose.split("](").skip(1) {
            links.extend(piece.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    links
}

/// The anchors of a page's headings, as the book and code forges make them.
fn anchors(text: &str) -> Vec<String> {
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#'));
    let slug = |heading: &str| {
        let kept = heading.trim().to_lowercase().replace(' ', "-");
        kept.chars().filter(|sign| sign.is_alphanumeric() || "-_".contains(*sign)).collect()
    };
    headings.map(slug).collect()
}

fn fault(page: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
    if !target.exists() {
        return Some(format!("{}: {link} leads nowhere", page.display()));
    }
    let found =
        anchor.is_empty() || anchors(&fs::read_to_string(&target).unwrap()).contains(&anchor.to_owned());
    (!found).then(|| format!("{}: no heading for {link}", page.display()))
}

#[test]
fn links_lead_somewhere() {
    let mut pages = markdown("docs/src");
    pages.extend(markdown("docs/decisions"));
    pages.extend(markdown("."));
    let faults: Vec<_> = pages
        .iter()
        .flat_map(|page| {
            links(&fs::read_to_string(page).unwrap()).into_iter().filter_map(|link| fault(page, &link))
        })
        .collect();
    assert!(pages.len() > 10 && faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_page_is_in_the_book() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).unwrap();
    let listed = links(&summary);
    let pages = markdown("docs/src");
    let included: String = pages.iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    for page in pages.iter().map(|page| name(page)).filter(|page| page != "SUMMARY.md") {
        let is_part = included.contains(&format!("{{{{#include {page}}}}}"));
        assert!(listed.contains(&page) || is_part, "{page} is not in SUMMARY.md");
    }
}

#[test]
fn every_decision_is_shown_with_its_number() {
    let shown = fs::read_to_string(root().join("docs/src/decisions.md")).unwrap();
    for (number, path) in (1..).zip(markdown("docs/decisions")) {
        let name = name(&path);
        assert!(name.starts_with(&format!("{number:04}-")), "{name} should have the number {number}");
        assert!(shown.contains(&format!("decisions/{name}")), "{name} is not in docs/src/decisions.md");
        let title = fs::read_to_string(&path).unwrap();
        assert!(title.starts_with(&format!("# {number:04}: ")), "{name} has another number in its title");
    }
}
