//! A client of NATS that knows nothing of Polybus: it asks, and reads one answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Error;

/// A connection.
#[derive(Debug)]
pub struct Nats {
    reader: BufReader<TcpStream>,
}

impl Nats {
    /// Connects.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn connect(address: &str, user: &str, password: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut this = Self { reader: BufReader::new(stream) };
        this.line()?;
        let login = json!({"user": user, "pass": password, "verbose": false, "pedantic": false, "lang": "test", "version": "0", "protocol": 1, "headers": true, "no_responders": true});
        this.write(&format!("CONNECT {login}\r\nSUB answers.* 1\r\n"))?;
        Ok(this)
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        Ok(self.reader.get_mut().write_all(text.as_bytes())?)
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        if line.is_empty() { Err("the server has gone".into()) } else { Ok(line.trim_end().to_owned()) }
    }

    /// Asks, and gives the answer.
    ///
    /// # Errors
    /// If there is none, or it says that it is an error.
    pub fn ask(&mut self, subject: &str, body: &Value) -> Result<Value, Error> {
        let body = body.to_string();
        self.write(&format!("PUB {subject} answers.1 {}\r\n{body}\r\n", body.len()))?;
        loop {
            let line = self.line()?;
            if line == "PING" {
                self.write("PONG\r\n")?;
            } else if line.starts_with("-ERR") || line.starts_with("HMSG") {
                return Err(format!("{subject}: {line}").into());
            } else if let Some(size) = line.strip_prefix("MSG ").and_then(|line| line.rsplit(' ').next()) {
                let mut bytes = vec![0; size.parse::<usize>()? + 2];
                self.reader.read_exact(&mut bytes)?;
                let answer: Value = serde_json::from_slice(&bytes)?;
                return if answer["error"].is_null() {
                    Ok(answer)
                } else {
                    Err(format!("{subject}: {answer}").into())
                };
            }
        }
    }

    /// Makes a stream for a queue of Polybus, with changes to what Polybus would make.
    ///
    /// # Errors
    /// As [`Nats::ask`].
    pub fn stream(&mut self, queue: &str, changes: &Value) -> Result<Value, Error> {
        let name = format!("polybus+q+{}", queue.replace('.', "="));
        let mut config = json!({
            "name": name, "subjects": [format!("polybus.q.{queue}")], "retention": "workqueue", "storage": "file",
            "num_replicas": 1, "max_msgs": 1_000_000, "max_bytes": 1 << 30, "max_consumers": -1, "max_age": 0,
            "discard": "new", "duplicate_window": 120_000_000_000_i64,
        });
        put(&mut config, changes);
        self.ask(&format!("$JS.API.STREAM.CREATE.{name}"), &config)
    }

    /// Makes a consumer on such a stream, with changes to what Polybus would make.
    ///
    /// # Errors
    /// As [`Nats::ask`].
    pub fn consumer(&mut self, queue: &str, name: &str, changes: &Value) -> Result<Value, Error> {
        let stream = format!("polybus+q+{}", queue.replace('.', "="));
        let mut config = json!({
            "durable_name": name, "deliver_policy": "all", "ack_policy": "explicit", "ack_wait": 30_000_000_000_i64,
            "max_deliver": -1, "max_ack_pending": -1, "replay_policy": "instant",
        });
        put(&mut config, changes);
        let body = json!({"stream_name": stream, "config": config});
        self.ask(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{name}"), &body)
    }
}

fn put(config: &mut Value, changes: &Value) {
    for (key, value) in changes.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
}
