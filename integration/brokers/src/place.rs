//! Where a broker can run.

use std::future::Future;
use std::path::PathBuf;

use crate::options::Place;
use crate::{Error, Kind, Options, engine, local};

/// What is run.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Image(String),
    Program(PathBuf),
}

/// Starts something in a container, or if there is no way to do that, as a program of this machine.
pub(crate) async fn at_any<T, F: Future<Output = Result<T, Error>>>(
    kind: Kind,
    options: &Options,
    start: impl Fn(Choice) -> F,
) -> Result<T, Error> {
    let place = options.place()?;
    let container = match image(kind, options, place).await {
        Err(why) => why,
        Ok(image) => match start(Choice::Image(image)).await {
            // An image that cannot be pulled, most likely.
            Err(Error::Engine { why, .. }) => why,
            result => return result,
        },
    };
    let program = match place {
        Place::Container => Err("not tried, since a container was asked for".to_owned()),
        Place::Any | Place::Local => local::find(kind, options.program(kind)),
    };
    match program {
        Ok(program) => start(Choice::Program(program)).await,
        Err(local) => Err(Error::Missing { kind, container, local }),
    }
}

async fn image(kind: Kind, options: &Options, place: Place) -> Result<String, String> {
    if place == Place::Local {
        return Err("not tried, since a local program was asked for".to_owned());
    }
    let images = match options.image(kind) {
        Some(image) => vec![image],
        None => vec![kind.local_image(), kind.official_image()],
    };
    engine::image_at_hand(images).await.map_err(|error| error.to_string())
}
