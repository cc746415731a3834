//! A: message identity and content.

use polybus_contract::Message;

use crate::case::{Case, CaseResult, case, ensure};
use crate::stage::Stage;
use crate::stamp::digest_of;

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(A1 bytes_exact [Queue, Settle] "payloads of 0, 1, 255 and 65,536 bytes, of all byte values, arrive digest for digest"),
];

async fn bytes_exact(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    for size in [0_usize, 1, 255, 256, 65_536] {
        let mut body: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        stage.choose(|rng| rng.shuffle(&mut body));
        let digest = digest_of(&body);
        let options = polybus_contract::PublishOptions::default().with_confirm(stage.confirm_queue());
        let target = polybus_contract::Target::Queue(queue.clone());
        bus.publish(&target, Message::new(body), options).await?;
        let delivery = stage.next(consumer.incoming(), "c").await?;
        let arrived = delivery.message().body().read(1 << 20).await?;
        ensure!(
            digest_of(&arrived) == digest,
            "{size} bytes were sent, {} other ones arrived",
            arrived.len()
        );
        delivery.ack().await?;
    }
    Ok(())
}
