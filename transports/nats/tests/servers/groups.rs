//! Groups of a durable topic share a stream.

use std::time::Duration;

use polybus_brokers::Options;
use polybus_contract::{
    ConsumeOptions, Group, Intake, Message, Name, Place, PublishOptions, Queue, Target, Topic, Topology,
    Transport,
};
use polybus_nats::Nats;

use crate::{ENDS, body, broker, name, next, open};

fn group(word: &str) -> Intake {
    Intake::Group { topic: name("logs"), group: name(word) }
}

async fn publish(bus: &Nats, from: u32, to: u32) {
    for number in from..to {
        let (target, options) = (Target::Topic(name("logs")), PublishOptions::default());
        bus.publish(&target, Message::new(number.to_string()), options).await.unwrap();
    }
}

async fn ready(bus: &Nats, word: &str) -> u64 {
    bus.admin().unwrap().inspect(&group(word)).await.unwrap().ready.unwrap()
}

async fn purge(bus: &Nats, word: &str) -> u64 {
    bus.admin().unwrap().purge(&group(word), Place::Ready).await.unwrap().messages
}

/// What waits for one group goes, the other group keeps it, what is in hand stays in hand, and what comes later comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_of_one_group_leaves_the_others() {
    for version in ENDS {
        let Some(broker) = broker(version, &Options::default()).await else { return };
        let bus = open(&broker.url());
        let of = |word: &str| {
            let queue = Queue::new(Name::new(word).unwrap()).with_lease(Duration::from_secs(30));
            Group::new(name("logs"), name(word)).with_queue(queue)
        };
        let topology = Topology::new().topic(Topic::durable(name("logs"))).group(of("all")).group(of("some"));
        bus.declare(&topology).await.unwrap();
        assert_eq!(purge(&bus, "all").await, 0);

        publish(&bus, 0, 2).await;
        let one = ConsumeOptions::default().with_credit(1_u32);
        let mut incoming = bus.consume(&group("all"), one.clone()).await.unwrap();
        let in_hand = next(&mut incoming).await;
        // Only what nobody asked for waits: one more may be on its way.
        incoming.stop();
        publish(&bus, 2, 2500).await;
        assert_eq!(purge(&bus, "all").await, 2499);
        assert_eq!((ready(&bus, "all").await, ready(&bus, "some").await), (0, 2500));
        in_hand.ack().await.unwrap();

        publish(&bus, 2500, 2501).await;
        let mut incoming = bus.consume(&group("all"), one).await.unwrap();
        let later = next(&mut incoming).await;
        assert_eq!((body(&later), later.attempt()), ("2500".to_owned(), 1));
        // What is given back waits again.
        later.retry(Duration::ZERO).await.unwrap();
        incoming.stop();
        assert_eq!(purge(&bus, "all").await, 1);
        assert_eq!(ready(&bus, "all").await, 0);
        let mut rest = bus.consume(&group("some"), ConsumeOptions::default()).await.unwrap();
        assert_eq!(body(&next(&mut rest).await), "0");
    }
}
