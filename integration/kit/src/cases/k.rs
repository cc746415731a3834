//! K: security. Case ids end in `s`, so that they are not taken for the kit's rules K1 to K10.

use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{
    Bounds, ConsumeOptions, Intake, Message, PublishOptions, Reason, Target, Transport, TransportExt,
};

use crate::case::{Case, CaseResult, Fail, case, ensure};
use crate::stage::Stage;

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(K1s tls_required [] "a bus that is asked for with TLS is not used without it"),
    case!(K2s wrong_name [] "a certificate of another host is refused"),
    case!(K3s signature_tamper [Queue, Settle, DeadLetters] "a signed message that was changed goes to the dead letters"),
    case!(K4s signature_replay [Queue, Settle, DeadLetters] "a signed message outside its time window goes to the dead letters"),
    case!(K5s secrets_hidden [Queue, Settle] "no text of errors, handles, deliveries or health shows a payload or a password"),
];

/// How long a handle may try before it must say that it cannot connect.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

fn not_run<T>(why: &str) -> CaseResult<T> {
    Err(Fail::NotRun(why.to_owned()))
}

async fn tls_required(stage: &Stage) -> CaseResult {
    let [plain, right, _] = insisting(stage)?;
    // What is refused below is not refused because TLS does not work at all.
    stage.bounded("connect with TLS", right.connect(stage.times().patience)).await??;
    is_refused(stage, &*plain, "a bus without TLS that was asked for with it").await
}

async fn wrong_name(stage: &Stage) -> CaseResult {
    let [_, right, wrong] = insisting(stage)?;
    stage.bounded("connect with TLS", right.connect(stage.times().patience)).await??;
    is_refused(stage, &*wrong, "a bus with the certificate of another host").await
}

fn insisting(stage: &Stage) -> CaseResult<[Arc<dyn Transport>; 3]> {
    let none = || Fail::NotRun("the subject gives no listeners with and without TLS".to_owned());
    stage.subject().insisting().ok_or_else(none)
}

/// Whether a handle does not connect, and says so in time.
async fn is_refused(stage: &Stage, handle: &dyn Transport, what: &str) -> CaseResult {
    let connected = stage.bounded("connect", handle.connect(REFUSED_WITHIN)).await?;
    ensure!(connected.is_err(), "{what} was used");
    stage.bounded("a close", handle.drain(Duration::ZERO)).await?;
    Ok(())
}

async fn signature_tamper(_stage: &Stage) -> CaseResult {
    not_run("the contract has no signatures yet")
}

async fn signature_replay(_stage: &Stage) -> CaseResult {
    not_run("the contract has no signatures yet")
}

/// What must not show anywhere.
const SECRET: &str = "correct-horse-battery-staple";

/// Whether a text hides the payload.
fn hidden(what: &str, text: &str) -> CaseResult {
    ensure!(!text.contains(SECRET), "{what} shows a payload: {}", text.replace(SECRET, "***"));
    Ok(())
}

async fn secrets_hidden(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_bounds(Bounds::new(1, 1 << 20))).await?;
    let secret = || Message::new(SECRET);
    bus.publish(
        &Target::Queue(queue.clone()),
        secret(),
        PublishOptions::default().with_confirm(stage.confirm_queue()),
    )
    .await?;
    for to in [queue.clone(), stage.name("not-declared")?] {
        let options = PublishOptions::default().with_confirm(stage.confirm_queue());
        let refused = stage.bounded("a publish", bus.publish(&Target::Queue(to), secret(), options)).await?;
        if let Err(error) = refused {
            hidden("an error", &error.to_string())?;
            hidden("the Debug of an error", &format!("{error:?}"))?;
        }
    }
    let intake = Intake::Queue(queue);
    let mut incoming = stage.consume(&*bus, &intake, ConsumeOptions::default()).await?;
    let delivery = stage.next(&mut incoming, "the consumer").await?;
    hidden("the Debug of a delivery", &format!("{delivery:?} {:?}", delivery.message()))?;
    hidden("the Debug of a stream", &format!("{incoming:?}"))?;
    let settled = stage.bounded("a reject", delivery.reject(Reason::Rejected, "of no use")).await?;
    hidden("the answer to a settle", &format!("{settled:?}"))?;
    hidden("the Debug of a handle", &format!("{bus:?}"))?;
    hidden("health", &format!("{:?}", bus.health()))?;
    hidden("the report of a close", &format!("{:?}", bus.close().await))
}
