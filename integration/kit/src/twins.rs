//! Negative twins (K1): what a bus does not declare, it must refuse, typed, and nothing may change.

use polybus_contract::{
    ConsumeOptions, Feature, Intake, Kind, Message, Needs, PublishOptions, Result, Target, Topology, Unmet,
};

use crate::case::{CaseResult, ensure, refused};
use crate::stage::Stage;

/// Runs the negative twin of each feature and says what was refused.
///
/// # Errors
/// [`Fail::Broken`](crate::Fail::Broken) if something was accepted, refused as something else, or left a trace.
pub async fn run(stage: &Stage, missing: &[Feature]) -> CaseResult<Vec<String>> {
    let mut refusals = Vec::new();
    for feature in missing {
        refusals.push(twin(stage, *feature).await?);
    }
    Ok(refusals)
}

async fn twin(stage: &Stage, feature: Feature) -> CaseResult<String> {
    match feature {
        Feature::Queue => queue(stage).await,
        _ => as_need(stage, feature),
    }
}

/// Whether a call answered that the bus has no `feature`.
fn unsupported<T>(result: Result<T>, feature: Feature, call: &str) -> CaseResult {
    refused(result, &format!("{call} without {feature}"), |kind| kind == Kind::Unsupported(feature))
        .map(|_| ())
}

async fn queue(stage: &Stage) -> CaseResult<String> {
    let bus = stage.connect().await?;
    let queue = stage.queue("twin")?;
    let name = queue.name.clone();
    unsupported(bus.declare(&Topology::new().queue(queue)).await, Feature::Queue, "declare")?;
    let sent = bus.publish(&Target::Queue(name.clone()), Message::new("x"), PublishOptions::default()).await;
    unsupported(sent, Feature::Queue, "publish")?;
    let consumed = bus.consume(&Intake::Queue(name), ConsumeOptions::default()).await;
    unsupported(consumed, Feature::Queue, "consume")?;
    Ok("queues are refused by declare, publish and consume".to_owned())
}

/// No call asks for it, so it is refused where it is asked for: as a need, at start.
fn as_need(stage: &Stage, feature: Feature) -> CaseResult<String> {
    let unmet = Needs::of([feature]).unmet(&stage.capability());
    ensure!(unmet == [Unmet::Feature(feature)], "the need of {feature} is unmet and not named");
    Ok(format!("{feature} is refused as a need"))
}
