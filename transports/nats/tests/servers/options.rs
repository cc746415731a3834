//! What the options of the URL make of queues, and what queues then survive.

use async_nats::jetstream::{self, stream};
use polybus_brokers::{Broker, Kind as Version, Options};
use polybus_contract::{Durability, Feature, Kind, Message, Queue, Topology, Transport, TransportExt};

use crate::{ENDS, PATIENCE, broker, name, open};

/// The stream as any other program sees it.
pub(crate) async fn config_of(broker: &Broker, stream: &str) -> stream::Config {
    let (user, password) = broker.login();
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    let client = options.connect(broker.address()).await.unwrap();
    jetstream::new(client).get_stream(stream).await.unwrap().cached_info().config.clone()
}

fn wanting(durability: Durability) -> Topology {
    Topology::new().queue(Queue::new(name("jobs")).with_durability(Some(durability)))
}

#[tokio::test(flavor = "multi_thread")]
async fn h1_files_survive_a_kill_and_memory_does_not() {
    for version in ENDS {
        let Some(broker) = broker(version, &Options::default()).await else { return };
        let file = open(&format!("{}?prefix=file&dedup_window=7", broker.url()));
        let memory = open(&format!("{}?prefix=memory&storage=memory", broker.url()));
        assert_eq!(memory.profile().capability.durability(), Durability::Volatile);
        let refused = memory.declare(&wanting(Durability::Process)).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unsupported(Feature::SurvivesProcess));
        let refused = file.declare(&wanting(Durability::Disk)).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unsupported(Feature::SurvivesPower));
        file.declare(&wanting(Durability::Process)).await.unwrap();
        memory.declare(&wanting(Durability::Volatile)).await.unwrap();
        // Who finds what another one made has what it is, not what it would have made.
        let late = open(&format!("{}?prefix=memory", broker.url()));
        let conflict = late.declare(&wanting(Durability::Process)).await.unwrap_err();
        assert_eq!(conflict.kind(), Kind::Conflict, "{conflict}");

        for (bus, survives) in [(&file, Durability::Process), (&memory, Durability::Volatile)] {
            let confirmed = bus.send(&name("jobs"), Message::new("x")).await.unwrap();
            assert_eq!(confirmed.durability, survives);
        }
        let made = config_of(&broker, "file+q+jobs").await;
        assert_eq!((made.storage, made.num_replicas), (stream::StorageType::File, 1));
        assert_eq!(made.duplicate_window.as_secs(), 7);
        assert_eq!(config_of(&broker, "file+d+jobs").await.storage, stream::StorageType::File);
        let made = config_of(&broker, "memory+q+jobs").await;
        assert_eq!((made.storage, made.duplicate_window.as_secs()), (stream::StorageType::Memory, 120));

        broker.kill().await.unwrap();
        broker.restart().await.unwrap();
        for (bus, left) in [(&file, 1), (&memory, 0)] {
            bus.connect(PATIENCE).await.unwrap();
            let jobs = polybus_contract::Intake::Queue(name("jobs"));
            let found = bus.admin().unwrap().inspect(&jobs).await.unwrap();
            assert_eq!(found.ready, Some(left), "{}", bus.profile().instance);
        }
    }
}

/// The server does not tell whether it syncs its files, so whoever writes the URL says it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_synced_survives_the_loss_of_power_as_stated() {
    // Servers before 2.10 know no such setting.
    let options =
        Options::default().with_config("jetstream: {store_dir: \"/tmp/synced\", sync_interval: always}\n");
    let Some(broker) = broker(Version::NATS_2_15, &options).await else { return };
    let bus = open(&format!("{}?sync=always", broker.url()));
    bus.declare(&wanting(Durability::Disk)).await.unwrap();
    let confirmed = bus.send(&name("jobs"), Message::new("x")).await.unwrap();
    assert_eq!(confirmed.durability, Durability::Disk);
    let memory = open(&format!("{}?sync=always&storage=memory", broker.url()));
    let refused = memory.declare(&wanting(Durability::Disk)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported(Feature::SurvivesPower));
    // Replicas are no disks.
    let replicas = open(&format!("{}?replicas=3", broker.url())).profile().capability;
    assert!(replicas.durability_replicated && replicas.durability_process && !replicas.durability_disk);
    let in_memory = open(&format!("{}?replicas=3&storage=memory", broker.url())).profile().capability;
    assert!(in_memory.durability_replicated && !in_memory.durability_process);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_makes_no_replicas() {
    for version in ENDS {
        let Some(broker) = broker(version, &Options::default()).await else { return };
        let bus = open(&format!("{}?replicas=3", broker.url()));
        let error = bus.declare(&wanting(Durability::Replicated)).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Conflict | Kind::Protocol), "{error}");
        assert!(error.to_string().contains("replicas"), "{error}");
    }
}

/// Inboxes and prefixes are other words, and all goes through.
#[tokio::test(flavor = "multi_thread")]
async fn words_of_an_account_that_restricts_them() {
    for version in ENDS {
        let Some(broker) = broker(version, &Options::default()).await else { return };
        let bus = open(&format!("{}?prefix=lab&inbox=lab.inbox&ping=1", broker.url()));
        crate::works(&bus).await;
        assert_eq!(config_of(&broker, "lab+q+jobs").await.subjects, ["lab.polybus.q.jobs"]);
    }
}
