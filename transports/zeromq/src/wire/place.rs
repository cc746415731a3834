//! Names, targets, intakes and objects on the wire.

use polybus_contract::{Intake, Name, Object, Target};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetLine {
    Queue(String),
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

pub(crate) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

impl TargetLine {
    pub(crate) fn target(&self) -> Result<Target, String> {
        match self {
            Self::Queue(text) => name(text).map(Target::Queue),
            Self::Topic(text) => name(text).map(Target::Topic),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntakeLine {
    Queue(String),
    Group { topic: String, group: String },
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
    pub(crate) fn intake(&self) -> Result<Intake, String> {
        Ok(match self {
            Self::Queue(text) => Intake::Queue(name(text)?),
            Self::Group { topic, group } => Intake::Group { topic: name(topic)?, group: name(group)? },
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ObjectLine {
    Queue(String),
    Topic(String),
    Group { topic: String, group: String },
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
    pub(crate) fn object(&self) -> Result<Object, String> {
        Ok(match self {
            Self::Queue(text) => Object::Queue(name(text)?),
            Self::Topic(text) => Object::Topic(name(text)?),
            Self::Group { topic, group } => Object::Group { topic: name(topic)?, group: name(group)? },
        })
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlaceLine {
    Ready,
    Dead,
}

impl From<polybus_contract::Place> for PlaceLine {
    fn from(place: polybus_contract::Place) -> Self {
        match place {
            polybus_contract::Place::Ready => Self::Ready,
            polybus_contract::Place::Dead => Self::Dead,
        }
    }
}

impl From<PlaceLine> for polybus_contract::Place {
    fn from(place: PlaceLine) -> Self {
        match place {
            PlaceLine::Ready => Self::Ready,
            PlaceLine::Dead => Self::Dead,
        }
    }
}
