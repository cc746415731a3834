//! Programs that run beside a test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Desk, Error};

/// Whatever a test waits for comes within this time, or the test fails.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// A program in the background. Dropping it kills it.
#[derive(Debug)]
pub struct Background {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    told: String,
}

impl Background {
    /// Starts a command.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut command: Command) -> Result<Self, Error> {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn()?;
        let out = lines(child.stdout.take().ok_or("standard output is a pipe")?);
        let err = lines(child.stderr.take().ok_or("standard error is a pipe")?);
        Ok(Self { child, out, err, told: String::new() })
    }

    /// Waits for a line of standard error that holds `text`.
    ///
    /// # Errors
    /// If it does not come, with what came.
    pub fn tells(&mut self, text: &str) -> Result<String, Error> {
        let began = Instant::now();
        while let Ok(line) = self.err.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
            self.told.push_str(&line);
            self.told.push('\n');
            if line.contains(text) {
                return Ok(line);
            }
        }
        Err(format!("\"{text}\" was not told, only:\n{}", self.told).into())
    }

    /// Waits for a line of standard output that holds `text`.
    ///
    /// # Errors
    /// If it does not come, with what came.
    pub fn prints(&self, text: &str) -> Result<String, Error> {
        let (began, mut printed) = (Instant::now(), String::new());
        while let Ok(line) = self.out.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
            if line.contains(text) {
                return Ok(line);
            }
            printed.push_str(&line);
            printed.push('\n');
        }
        let told: String = self.err.try_iter().collect::<Vec<_>>().join("\n");
        Err(format!("\"{text}\" was not printed, only:\n{printed}and told:\n{}{told}", self.told).into())
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If that cannot be known.
    pub fn runs(&mut self) -> Result<bool, Error> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends SIGTERM and waits for the end; gives the exit code and what it told.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn terminate(mut self) -> Result<(Option<i32>, String), Error> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.ends()
    }

    /// Waits for the end; gives the exit code and what it told.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn ends(&mut self) -> Result<(Option<i32>, String), Error> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let rest: Vec<String> = self.err.iter().collect();
                return Ok((status.code(), format!("{}{}", self.told, rest.join("\n"))));
            }
            if began.elapsed() > PATIENCE {
                return Err("it does not end".into());
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Desk {
    /// Starts a command line, split at blanks, in the background.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, line: &str) -> Result<Background, Error> {
        Background::start(self.command(line)?)
    }

    /// Starts `polybus serve` or another server and waits until it serves `service` on the queue base at this bus.
    ///
    /// # Errors
    /// If it does not.
    pub fn serve(&self, line: &str, service: &str, base: &str, bus: &str) -> Result<Background, Error> {
        let server = self.start(line)?;
        let ask = format!("polybus call {service} --field usage=true --require-server -q {base} {bus}");
        self.until_success(&ask, "")?;
        Ok(server)
    }

    /// Runs a command line again and again until it ends with success.
    ///
    /// # Errors
    /// If it never does, with its last output.
    pub fn until_success(&self, line: &str, input: &str) -> Result<Output, Error> {
        let began = Instant::now();
        loop {
            let output = self.run(line, input)?;
            if output.status.success() {
                return Ok(output);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{line}: {output:?}").into());
            }
            thread::sleep(LOOK);
        }
    }
}
