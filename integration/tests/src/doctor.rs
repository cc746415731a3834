//! What `polybus doctor` says.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Desk, Error, PATIENCE};

/// What shall be found: word, grade, and words of object and observation.
pub type Wanted = (&'static str, &'static str, &'static str, &'static str);

/// An examination, as the command printed it.
#[derive(Debug)]
pub struct Examined {
    /// The exit code.
    pub code: Option<i32>,
    /// The findings.
    pub findings: Vec<Value>,
    /// Everything that was printed.
    pub text: String,
}

/// Runs `polybus doctor --json` with these words.
///
/// # Errors
/// If it does not print an examination.
pub fn examined(desk: &Desk, words: &str) -> Result<Examined, Error> {
    let output = desk.run(format!("polybus doctor --json {words}").trim_end(), "")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {output:?}"))?;
    let findings = json["findings"].as_array().cloned().unwrap_or_default();
    Ok(Examined { code: output.status.code(), findings, text })
}

/// Examines until all of this is found. Brokers notice a loss after a while, and tell their management interface every few
/// seconds what is new.
///
/// # Errors
/// What was found instead, for too long.
pub fn examined_until(desk: &Desk, words: &str, wanted: &[Wanted]) -> Result<Examined, Error> {
    let began = Instant::now();
    loop {
        let found = examined(desk, words)?;
        let all = wanted
            .iter()
            .try_for_each(|(code, grade, object, observed)| found.names(code, grade, object, observed));
        match all {
            Ok(()) => return Ok(found),
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}

impl Examined {
    /// Checks that this was found with this grade, on an object and with an observation that hold these words, with
    /// consequence and remedy, and that the exit code fits.
    ///
    /// # Errors
    /// What was found instead.
    pub fn names(&self, code: &str, grade: &str, object: &str, observed: &str) -> Result<(), Error> {
        let holds = |finding: &Value, key: &str, word: &str| {
            finding[key].as_str().is_some_and(|text| text.contains(word))
        };
        let found = self.findings.iter().any(|finding| {
            finding["code"] == code
                && finding["grade"] == grade
                && holds(finding, "object", object)
                && holds(finding, "observed", observed)
                && ["meaning", "remedy"]
                    .iter()
                    .all(|key| finding[*key].as_str().is_some_and(|text| text.len() > 10))
        });
        let fits = (grade != "fault") || self.code == Some(1);
        if found && fits {
            return Ok(());
        }
        Err(format!(
            "no {grade} {code} on {object} with {observed}; exit {:?}, found:\n{}",
            self.code,
            self.bad()
        )
        .into())
    }

    /// What is worse than unknown, one in a line.
    #[must_use]
    pub fn bad(&self) -> String {
        let worse =
            |finding: &&Value| !["fine", "unknown"].contains(&finding["grade"].as_str().unwrap_or_default());
        let line = |finding: &Value| {
            format!(
                "{} {}: {}: {}\n",
                finding["grade"], finding["code"], finding["object"], finding["observed"]
            )
        };
        self.findings.iter().filter(worse).map(line).collect()
    }
}
