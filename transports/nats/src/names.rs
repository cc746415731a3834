//! How queues, topics and groups are called on the server.
//!
//! | what | subject | stream |
//! |---|---|---|
//! | queue `jobs` | `polybus.q.jobs` | `polybus+q+jobs` |
//! | its dead letters | `polybus.d.jobs` | `polybus+d+jobs` |
//! | topic `logs` | `logs` | `polybus+t+logs`, if it is durable |
//! | group `all` of it | | a consumer of that stream |
//! | its dead letters | `polybus.d.logs@all` | `polybus+d+logs@all` |
//! | redriven to that group | `polybus.r.logs.all` | that of the topic |
//! | part 7 of a large body | `polybus.p.<id>.7` | `polybus+p+parts` |
//! | who serves queue `jobs` | `polybus.s.jobs` | |
//! | plain requests for queue `jobs`, where a door is kept | `jobs` | |
//! | who listens to topic `logs` | `polybus.l.logs` | |
//!
//! With a tenant `lab`, subjects begin with `lab.` and streams with `lab+` instead of `polybus+`. In names of streams
//! and consumers, and in the subjects of what is redriven to a group, a dot is written as `=`.

use polybus_contract::{Intake, Name};

/// The one consumer of a queue.
pub(crate) const WORKERS: &str = "workers";

/// The names of one tenant.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// In front of subjects: nothing, or a word and a dot.
    subjects: String,
    /// In front of streams.
    streams: String,
}

/// A stream and the consumer of it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) stream: String,
    pub(crate) consumer: String,
}

impl Names {
    pub(crate) fn new(prefix: Option<&Name>) -> Self {
        match prefix {
            Some(prefix) => Self { subjects: format!("{prefix}."), streams: format!("{prefix}+") },
            None => Self { subjects: String::new(), streams: "polybus+".to_owned() },
        }
    }

    fn own(&self, kind: char, name: &str) -> String {
        format!("{}polybus.{kind}.{name}", self.subjects)
    }

    fn stream(&self, kind: char, name: &str) -> String {
        format!("{}{kind}+{}", self.streams, name.replace('.', "="))
    }

    /// Of a part of a large body, or of all of them.
    pub(crate) fn part_subject(&self, part: &str) -> String {
        self.own('p', part)
    }

    pub(crate) fn parts_stream(&self) -> String {
        self.stream('p', "parts")
    }

    pub(crate) fn queue_subject(&self, queue: &Name) -> String {
        self.own('q', queue.as_str())
    }

    pub(crate) fn topic_subject(&self, topic: &Name) -> String {
        format!("{}{topic}", self.subjects)
    }

    /// Where the dead letters of an intake go; `None`: it holds dead letters itself.
    pub(crate) fn dead_subject(&self, intake: &Intake) -> Option<String> {
        living(intake).map(|key| self.own('d', &key))
    }

    /// What an intake's stream holds for it.
    pub(crate) fn subject(&self, intake: &Intake) -> String {
        match intake {
            Intake::Queue(name) => match name.living() {
                Some(living) => self.own('d', living.as_str()),
                None => self.queue_subject(name),
            },
            Intake::Group { topic, .. } => self.topic_subject(topic),
        }
    }

    /// Where the redriven letters of an intake go.
    pub(crate) fn redrive_subject(&self, intake: &Intake) -> String {
        match intake {
            Intake::Queue(queue) => self.queue_subject(queue),
            Intake::Group { topic, group } => self.redriven(topic, &flat(group)),
        }
    }

    /// What a topic's stream takes beside the topic: everything that is redriven to one of its groups.
    pub(crate) fn redrive_subjects(&self, topic: &Name) -> String {
        self.redriven(topic, "*")
    }

    fn redriven(&self, topic: &Name, group: &str) -> String {
        self.own('r', &format!("{}.{group}", flat(topic)))
    }

    /// Where somebody answers who consumes from this intake.
    pub(crate) fn serve_subject(&self, queue: &Name) -> String {
        self.own('s', queue.as_str())
    }

    /// Where somebody answers who listens to this topic.
    pub(crate) fn listen_subject(&self, topic: &Name) -> String {
        self.own('l', topic.as_str())
    }

    pub(crate) fn queue_stream(&self, queue: &Name) -> String {
        self.stream('q', queue.as_str())
    }

    pub(crate) fn topic_stream(&self, topic: &Name) -> String {
        self.stream('t', topic.as_str())
    }

    /// The stream of an intake's dead letters.
    pub(crate) fn dead_stream(&self, intake: &Intake) -> Option<String> {
        living(intake).map(|key| self.stream('d', &key))
    }

    /// What an intake is consumed from.
    pub(crate) fn source(&self, intake: &Intake) -> Source {
        match intake {
            Intake::Queue(name) => {
                let stream = match name.living() {
                    Some(living) => self.stream('d', living.as_str()),
                    None => self.queue_stream(name),
                };
                Source { stream, consumer: WORKERS.to_owned() }
            }
            Intake::Group { topic, group } => {
                Source { stream: self.topic_stream(topic), consumer: flat(group) }
            }
        }
    }

    /// Whether a stream is one of this tenant.
    pub(crate) fn owns(&self, stream: &str) -> bool {
        stream.starts_with(&self.streams)
    }

    /// What a stream of this tenant holds: its kind, and the name it stands for.
    pub(crate) fn of_stream(&self, stream: &str) -> Option<(char, String)> {
        let rest = stream.strip_prefix(&self.streams)?;
        let (kind, name) = rest.split_once('+')?;
        let mut letters = kind.chars();
        letters.next().filter(|_| letters.next().is_none()).map(|kind| (kind, name.replace('=', ".")))
    }
}

/// A name as one word.
pub(crate) fn flat(name: &Name) -> String {
    name.as_str().replace('.', "=")
}

/// What the dead letters of an intake are called after.
fn living(intake: &Intake) -> Option<String> {
    match intake {
        Intake::Queue(name) if name.is_dead() => None,
        Intake::Queue(name) => Some(name.to_string()),
        Intake::Group { topic, group } => Some(format!("{topic}@{group}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn b5_tenants_do_not_meet() {
        let (none, lab) = (Names::new(None), Names::new(Some(&name("lab"))));
        let queue = name("anon_0.5.5");
        assert_eq!(none.queue_stream(&queue), "polybus+q+anon_0=5=5");
        assert_eq!(lab.queue_subject(&queue), "lab.polybus.q.anon_0.5.5");
        assert_eq!(none.topic_subject(&name("logs")), "logs");
        assert_eq!(lab.of_stream("lab+q+anon_0=5=5"), Some(('q', "anon_0.5.5".to_owned())));
        assert_eq!(lab.of_stream("polybus+q+x"), None);
    }

    #[test]
    fn groups_and_dead_letters() {
        let names = Names::new(None);
        let group = Intake::Group { topic: name("a.b"), group: name("c.d") };
        assert_eq!(names.source(&group), Source { stream: "polybus+t+a=b".into(), consumer: "c=d".into() });
        assert_eq!(names.dead_stream(&group).unwrap(), "polybus+d+a=b@c=d");
        assert_eq!(names.redrive_subject(&group), "polybus.r.a=b.c=d");
        assert_eq!(names.redrive_subjects(&name("a.b")), "polybus.r.a=b.*");
        let dead = Intake::Queue(name("jobs.dead"));
        assert_eq!(names.source(&dead).stream, "polybus+d+jobs");
        assert_eq!(names.dead_stream(&dead), None);
    }
}
