//! Cases of the vectors through the services.

use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::Value;

use crate::{Case, Desk, Error};

/// One line of `rpc.jsonl`: the fields of a request, and the reply to them.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceCall {
    /// Name of the case.
    pub id: String,
    /// The service.
    pub service: String,
    /// The fields.
    pub appdata: Value,
    /// The reply's retcode.
    pub retcode: i32,
    /// The reply's standard output, base64.
    pub stdout_b64: String,
}

/// All calls of a folder of vectors.
///
/// # Errors
/// If `rpc.jsonl` cannot be read or a line is no call.
pub fn service_calls(folder: &Path) -> Result<Vec<ServiceCall>, Error> {
    let text = fs::read_to_string(folder.join("rpc.jsonl"))?;
    let call = |line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}").into());
    text.lines().filter(|line| !line.trim().is_empty()).map(call).collect()
}

impl ServiceCall {
    /// Makes the call with these further options, and tells what is wrong with its outcome.
    ///
    /// # Errors
    /// If the client cannot be run.
    pub fn fault(&self, desk: &Desk, options: &str) -> Result<Option<String>, Error> {
        let Self { id, service, appdata, retcode, stdout_b64 } = self;
        let line = format!("polybus call {service} --appdata - {options}");
        let output = desk.run(line.trim_end(), appdata.to_string())?;
        let stdout = BASE64.decode(stdout_b64.as_bytes())?;
        let right = output.status.code() == Some(*retcode) && output.stdout == stdout;
        Ok((!right).then(|| format!("{id}: expected {retcode} and {} bytes: {output:?}", stdout.len())))
    }
}

impl Case {
    /// The same through a service: the command line of a client that asks for what the local tool does. None if no client
    /// can.
    #[must_use]
    pub fn through_service(&self, folder: &Path) -> Option<Self> {
        let words: Vec<&str> = self.argv.iter().map(String::as_str).collect();
        let asked = match words.as_slice() {
            ["ipgrep", "-a", "--context", "-n", map, file] => vec!["anon_client", "-m", map, "-r", file],
            ["ipgrep", "-a", "--context", "-s", "-n", map, file] => {
                vec!["anon_client", "-s", "-m", map, "-r", file]
            }
            ["ipgrep", "--json", "-n", map, file] => vec!["anon_client", "-J", "-m", map, "-r", file],
            ["crosscor", rest @ ..] if !rest.contains(&"--break") => {
                [&["polybus", "crosscor"], rest].concat()
            }
            _ => return None,
        };
        // The services refuse an empty text, as their clients always did.
        let empty =
            |file: &&str| fs::metadata(folder.join(file)).is_ok_and(|file| file.is_file() && file.len() == 0);
        let reads_nothing = asked.last().is_some_and(empty);
        let argv = asked.into_iter().map(str::to_owned).collect();
        (!reads_nothing).then(|| Self { argv, ..self.clone() })
    }

    /// The bytes of the files that the command line names: a bus has a largest message.
    #[must_use]
    pub fn input_bytes(&self, folder: &Path) -> u64 {
        let size = |word: &String| fs::metadata(folder.join(word)).ok().filter(fs::Metadata::is_file);
        self.argv.iter().skip(1).filter_map(size).map(|file| file.len()).sum()
    }
}
