//! `polybus-kit serve`.

use polybus_kit::Subject;
use polybus_kit::process::serve_process;

use crate::{GOOD, Outcome};

/// Which bus.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bus to serve, by its URL. A bus in this process needs a name: embedded:kit
    #[arg(long, value_name = "URL")]
    bus: String,
}

pub(crate) fn serve(arguments: &Arguments) -> Outcome {
    let subject = Subject::from_url(&arguments.bus).map_err(|error| error.to_string())?;
    // One handle stays: a bus in this process lives as long as somebody holds it.
    let _anchor = subject.open();
    let served =
        async move { serve_process(move || subject.open(), tokio::io::stdin(), tokio::io::stdout()).await };
    let runtime = crate::runtime()?;
    runtime.block_on(served).map_err(|error| error.to_string())?;
    // Reading standard input cannot be cancelled; the kit has gone, so nothing is left to wait for.
    runtime.shutdown_background();
    Ok(GOOD)
}
