//! The broker, in this process.

use std::ffi::OsStr;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{Error, Result, Transport};
use polybus_embedded::Embedded;
use polybus_zeromq::{Broker, BrokerConfig, Identities, Place};
use tokio::io::AsyncReadExt;

/// Set to where it listens, a blank, and the URL of the bus behind it; then perhaps a blank and `secret`.
pub(crate) const HOW: &str = "POLYBUS_KIT_ZMQ";

/// How often something is said: a silent link shall be found soon.
const HEARTBEAT: Duration = Duration::from_millis(1500);

pub(crate) fn serve(how: &OsStr) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let served = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(run(&how.to_string_lossy())).map_err(|error: Error| error.to_string())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the broker of the kit: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(how: &str) -> Result<()> {
    let mut words = how.split(' ');
    let place = Place::from_url(words.next().unwrap_or_default())?;
    let url = words.next().unwrap_or_default().to_owned();
    let identities = words.next().map(|secret| {
        let rights =
            ["send", "serve", "publish", "subscribe", "desk"].map(|right| format!("{right} = ['*']\n"));
        Identities::parse(&format!("[[user]]\nname = 'kit'\nsecret = '{secret}'\n{}", rights.concat()))
    });
    let identities = identities.transpose().map_err(|fault| {
        Error::new(polybus_contract::Kind::Configuration, polybus_contract::Operation::Configure)
            .with_detail(fault)
    })?;
    let config = BrokerConfig::new(vec![place]).with_identities(identities).with_heartbeat(HEARTBEAT);
    let open = move || Ok(Arc::new(Embedded::from_url(&url)?) as Arc<dyn Transport>);
    let broker = Broker::start(config, open).await?;
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}", broker.places()[0]).and_then(|()| out.flush());
    // It is stopped by the end of its input.
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    broker.drain(Duration::from_secs(10)).await;
    Ok(())
}
