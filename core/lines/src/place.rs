//! Names, targets, intakes, objects and places.

use polybus_contract::{Intake, Name, Object, Place, Target};
use serde::{Deserialize, Serialize};

/// Where a message goes: `{"queue": NAME}` or `{"topic": NAME}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetLine {
    /// To a queue.
    Queue(String),
    /// To a topic.
    Topic(String),
}

impl From<&Target> for TargetLine {
    fn from(to: &Target) -> Self {
        match to {
            Target::Queue(name) => Self::Queue(name.to_string()),
            Target::Topic(name) => Self::Topic(name.to_string()),
        }
    }
}

/// A name as it stands on the wire, checked.
///
/// # Errors
/// Why it is no name.
pub fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

impl TargetLine {
    /// The target.
    ///
    /// # Errors
    /// Why its name is none.
    pub fn target(&self) -> Result<Target, String> {
        match self {
            Self::Queue(text) => name(text).map(Target::Queue),
            Self::Topic(text) => name(text).map(Target::Topic),
        }
    }
}

/// What is consumed from: `{"queue": NAME}` or `{"group": {"topic": NAME, "group": NAME}}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntakeLine {
    /// From a queue.
    Queue(String),
    /// From a durable group of a topic.
    Group {
        /// The topic.
        topic: String,
        /// The group's own name.
        group: String,
    },
}

impl From<&Intake> for IntakeLine {
    fn from(intake: &Intake) -> Self {
        match intake {
            Intake::Queue(name) => Self::Queue(name.to_string()),
            Intake::Group { topic, group } => {
                Self::Group { topic: topic.to_string(), group: group.to_string() }
            }
        }
    }
}

impl IntakeLine {
    /// The intake.
    ///
    /// # Errors
    /// Which of its names is none, and why.
    pub fn intake(&self) -> Result<Intake, String> {
        Ok(match self {
            Self::Queue(text) => Intake::Queue(name(text)?),
            Self::Group { topic, group } => Intake::Group { topic: name(topic)?, group: name(group)? },
        })
    }
}

/// What can be removed: an intake as [`IntakeLine`] has it, or `{"topic": NAME}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectLine {
    /// A queue.
    Queue(String),
    /// A topic.
    Topic(String),
    /// A durable group of a topic.
    Group {
        /// The topic.
        topic: String,
        /// The group's own name.
        group: String,
    },
}

impl From<&Object> for ObjectLine {
    fn from(object: &Object) -> Self {
        match object {
            Object::Queue(name) => Self::Queue(name.to_string()),
            Object::Topic(name) => Self::Topic(name.to_string()),
            Object::Group { topic, group } => {
                Self::Group { topic: topic.to_string(), group: group.to_string() }
            }
        }
    }
}

impl ObjectLine {
    /// The object.
    ///
    /// # Errors
    /// Which of its names is none, and why.
    pub fn object(&self) -> Result<Object, String> {
        Ok(match self {
            Self::Queue(text) => Object::Queue(name(text)?),
            Self::Topic(text) => Object::Topic(name(text)?),
            Self::Group { topic, group } => Object::Group { topic: name(topic)?, group: name(group)? },
        })
    }
}

/// Which messages of an intake: `"ready"` or `"dead"`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceLine {
    /// Those that wait to be handed out.
    Ready,
    /// Its dead letters.
    Dead,
}

impl From<Place> for PlaceLine {
    fn from(place: Place) -> Self {
        match place {
            Place::Ready => Self::Ready,
            Place::Dead => Self::Dead,
        }
    }
}

impl From<PlaceLine> for Place {
    fn from(place: PlaceLine) -> Self {
        match place {
            PlaceLine::Ready => Self::Ready,
            PlaceLine::Dead => Self::Dead,
        }
    }
}
