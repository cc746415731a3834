//! Who may do what.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use polybus_contract::{Error, Intake, Kind, Name, Operation, Result, Target};
use serde::Deserialize;

use crate::config::Secret;

/// What somebody wants to do to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Send to a queue, also requests.
    Send,
    /// Consume from a queue or its dead letters, and answer.
    Serve,
    /// Publish to a topic, also requests to all of its subscribers.
    Publish,
    /// Subscribe to a topic, or consume from a group of it.
    Subscribe,
    /// Everything at the desk.
    Desk,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "send",
            Self::Serve => "serve",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Desk => "desk",
        })
    }
}

/// A name, or the beginning of names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    open: bool,
}

impl Pattern {
    fn new(text: &str) -> std::result::Result<Self, String> {
        let (start, open) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        if start.contains('*') {
            return Err(format!("\"{}\": a star stands at the end only", text.escape_default()));
        }
        if !open && Name::new(start).is_err() {
            return Err(format!("\"{}\" is no name", text.escape_default()));
        }
        Ok(Self { text: start.to_owned(), open })
    }

    fn matches(&self, name: &str) -> bool {
        if self.open { name.starts_with(&self.text) } else { name == self.text }
    }
}

/// What one user may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    all: bool,
    send: Vec<Pattern>,
    serve: Vec<Pattern>,
    publish: Vec<Pattern>,
    subscribe: Vec<Pattern>,
    desk: Vec<Pattern>,
}

impl Rights {
    /// Of those whom nobody asks who they are.
    pub(crate) fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    fn patterns(&self, right: Right) -> &[Pattern] {
        match right {
            Right::Send => &self.send,
            Right::Serve => &self.serve,
            Right::Publish => &self.publish,
            Right::Subscribe => &self.subscribe,
            Right::Desk => &self.desk,
        }
    }

    fn has(&self, right: Right, name: &str) -> bool {
        self.all || self.patterns(right).iter().any(|pattern| pattern.matches(name))
    }

    /// Refuses what is not allowed.
    pub(crate) fn check(&self, right: Right, name: &Name, operation: Operation) -> Result<()> {
        // Who may serve a queue may consume its dead letters.
        let living = name.living();
        if self.has(right, living.as_ref().unwrap_or(name).as_str()) {
            return Ok(());
        }
        Err(missing(right, name, operation))
    }

    /// Refuses unless one of these is allowed.
    pub(crate) fn check_any(&self, rights: &[Right], name: &Name, operation: Operation) -> Result<()> {
        let found = rights.iter().any(|right| self.has(*right, name.as_str()));
        if found { Ok(()) } else { Err(missing(rights[0], name, operation)) }
    }

    pub(crate) fn to_target(&self, to: &Target, operation: Operation) -> Result<()> {
        match to {
            Target::Queue(name) => self.check(Right::Send, name, operation),
            Target::Topic(name) => self.check(Right::Publish, name, operation),
        }
    }

    pub(crate) fn at_intake(&self, from: &Intake, operation: Operation) -> Result<()> {
        match from {
            Intake::Queue(name) => self.check(Right::Serve, name, operation),
            Intake::Group { topic, .. } => self.check(Right::Subscribe, topic, operation),
        }
    }

    /// Whether they may do this to anything at all.
    pub(crate) fn has_some(&self, right: Right) -> bool {
        self.all || !self.patterns(right).is_empty()
    }

    /// Whether they see this name at the desk.
    pub(crate) fn sees(&self, intake: &Intake) -> bool {
        match intake {
            Intake::Queue(name) | Intake::Group { topic: name, .. } => self.has(Right::Desk, name.as_str()),
        }
    }
}

fn missing(right: Right, name: &Name, operation: Operation) -> Error {
    Error::new(Kind::Unauthorized, operation)
        .with_target(name)
        .with_detail(format!("add it to \"{right}\" of this user in the broker's file of identities"))
}

/// One user of the file.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) secret: Secret,
    pub(crate) rights: Arc<Rights>,
}

/// Users, their secrets and rights, as a file says.
///
/// The file is TOML, readable by nobody but its owner:
///
/// ```toml
/// [[user]]
/// name = "worker"
/// secret = "at least sixteen bytes, best random ones"
/// serve = ["anon_0.5.5", "lab.*"]
/// send = []
/// publish = ["log.*"]
/// subscribe = ["log.*"]
/// desk = ["*"]
/// ```
///
/// A star at the end stands for whatever follows. What is not listed is refused.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    users: HashMap<String, Identity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    secret: String,
    #[serde(default)]
    send: Vec<String>,
    #[serde(default)]
    serve: Vec<String>,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    desk: Vec<String>,
}

/// The shortest secret: a shorter one could be guessed from one proof that somebody overheard.
const SHORTEST: usize = 16;

impl Identities {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Kind::Configuration`], naming the file and what is wrong in it, never a secret.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(Kind::Configuration, Operation::Configure).with_target(path.display()).with_detail(why)
        };
        let mode = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(wrong(format!("others may read it (mode {:o}): chmod 600", mode & 0o777)));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&text).map_err(wrong)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong in it, never a secret.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        // Not the parser's own text: it shows the line, which may be that of a secret.
        let file: File = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            format!("line {line}: {}", error.message().split('`').next().unwrap_or_default().trim_end())
        })?;
        let mut users = HashMap::new();
        for user in file.user {
            let (name, identity) = user.identity()?;
            if users.insert(name.clone(), identity).is_some() {
                return Err(format!("the user \"{name}\" is there twice"));
            }
        }
        Ok(Self { users })
    }

    pub(crate) fn find(&self, user: &str) -> Option<&Identity> {
        self.users.get(user)
    }
}

impl User {
    fn identity(self) -> std::result::Result<(String, Identity), String> {
        let name = self.name;
        let odd = |c: char| c.is_control() || c.is_whitespace();
        if name.is_empty() || name.len() > 100 || name.contains(odd) {
            return Err("a name has 1 to 100 bytes and no blanks".to_owned());
        }
        if self.secret.len() < SHORTEST {
            return Err(format!("the secret of \"{name}\" is shorter than {SHORTEST} bytes"));
        }
        let patterns = |texts: &[String]| -> std::result::Result<Vec<_>, String> {
            texts.iter().map(|text| Pattern::new(text)).collect()
        };
        let rights = Rights {
            all: false,
            send: patterns(&self.send)?,
            serve: patterns(&self.serve)?,
            publish: patterns(&self.publish)?,
            subscribe: patterns(&self.subscribe)?,
            desk: patterns(&self.desk)?,
        };
        Ok((name, Identity { secret: self.secret.into(), rights: Arc::new(rights) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_what_is_listed_and_nothing_else() {
        let text = "[[user]]\nname = 'w'\nsecret = '0123456789abcdef'\nserve = ['jobs', 'lab.*']\n";
        let identities = Identities::parse(text).unwrap();
        let rights = &identities.find("w").unwrap().rights;
        let name = |text: &str| Name::new(text).unwrap();
        for (right, of, may) in [
            (Right::Serve, "jobs", true),
            (Right::Serve, "jobs.dead", true),
            (Right::Serve, "lab.x", true),
            (Right::Serve, "jobs2", false),
            (Right::Send, "jobs", false),
            (Right::Desk, "jobs", false),
        ] {
            let found = rights.check(right, &name(of), Operation::Consume);
            assert_eq!(found.is_ok(), may, "{right} {of}");
            assert!(found.err().is_none_or(|error| error.kind() == Kind::Unauthorized));
        }
        assert!(Rights::all().check(Right::Desk, &name("x"), Operation::Inspect).is_ok());
        assert!(identities.find("nobody").is_none());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        for (text, word) in [
            ("[[user]]\nname = 'w'\nsecret = 'shorts3cret'\n", "shorter"),
            ("[[user]]\nname = 'w'\nsecret = s3cret\n", "line"),
            ("[[user]]\nname = 'w'\nsecret = '0123456789s3cret'\nwarp = []\n", "unknown field"),
            ("[[user]]\nname = 'w'\nsecret = '0123456789s3cret'\nsend = ['a*b']\n", "star"),
            ("[[user]]\nname = ''\nsecret = '0123456789s3cret'\n", "name"),
            (&"[[user]]\nname = 'w'\nsecret = '0123456789s3cret'\n".repeat(2), "twice"),
        ] {
            let fault = Identities::parse(text).unwrap_err();
            assert!(fault.contains(word) && !fault.contains("s3cret"), "{fault}");
        }
    }
}
