//! `polybus call`: any service, with any fields.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use polybus::exit;
use polybus::frame::{Appdata, Json};

use crate::console::{Failure, Notices, Outcome};
use crate::options::Calling;
use crate::program::Called;
use crate::session::{Errand, begin, read_input};

/// Call any service by its name, with fields of your own.
///
/// Standard output, standard error and the exit code are those of the service's reply.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Short name of the service, such as anon.
    #[arg(value_name = "NAME", required_unless_present_any = ["usage", "show_config"])]
    service: Option<String>,
    /// A field with a text.
    #[arg(long, value_name = "KEY=TEXT", value_parser = pair)]
    field: Vec<(String, String)>,
    /// A field with the content of a file, sent as base64.
    #[arg(long, value_name = "KEY=FILE", value_parser = pair)]
    file_field: Vec<(String, String)>,
    /// All fields as one JSON object, sent as they are; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["field", "file_field"])]
    appdata: Option<PathBuf>,
    /// Print the frame of the reply as JSON; the exit code stays that of the reply.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    calling: Calling,
}

const EXAMPLES: &str = "\
Examples:
  {program} anon --file-field data=report.txt --file-field netmap=map.txt --field stats=true
  {program} crosscor --appdata fields.json
  {program} anon --field usage=true --raw
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.calling, ask)
}

fn ask(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let Options { service, field, file_field, appdata, raw, calling } = options;
    let errand = Errand::new(called, calling, notices)?.with_raw(*raw).with_verbatim(true);
    let appdata = match appdata {
        Some(path) => object(path, errand.max_bytes())?,
        None => fields(field, file_field, errand.max_bytes())?,
    };
    errand.run(service.as_deref().unwrap_or_default(), appdata)
}

fn fields(texts: &[(String, String)], files: &[(String, String)], limit: u64) -> Outcome<Appdata> {
    let mut appdata = Appdata::new();
    for (key, text) in texts {
        appdata = appdata.text(key.as_str(), Some(text));
    }
    for (key, file) in files {
        appdata = appdata.bytes(key.as_str(), read_input(Some(Path::new(file)), limit)?);
    }
    Ok(appdata)
}

fn object(path: &Path, limit: u64) -> Outcome<Appdata> {
    let wrong = |why: &dyn Display| {
        Failure::told(exit::DATA, "bad-json", format!("--appdata {}: {why}", path.display()))
    };
    let text = String::from_utf8(read_input(Some(path), limit)?).map_err(|error| wrong(&error))?;
    match Json::parse(text).map_err(|error| wrong(&error))? {
        Json::Object(fields) => Ok(Appdata::from(&fields)),
        _ => Err(wrong(&"not a JSON object")),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not of the form KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_key_and_a_value() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("=b").is_err() && pair("ab").is_err());
    }
}
