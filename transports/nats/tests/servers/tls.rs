//! TLS: the authority, the name in the certificate, the certificate of the client.

use polybus_brokers::{Kind as Version, Options, Tls};
use polybus_contract::Kind;

use crate::{ENDS, broker, is_refused, open, works};

async fn with(version: Version, tls: Tls) -> Option<polybus_brokers::Broker> {
    broker(version, &Options::default().with_tls(tls)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_must_be_known() {
    for version in ENDS {
        let Some(broker) = with(version, Tls::Server).await else { return };
        works(&open(&broker.url())).await;
        let (user, password) = broker.login();
        let at = format!("{user}:{password}@{}", broker.address());
        // Nobody whom the system trusts signed for it, whether TLS is asked for or the server wants it.
        for url in [format!("nats+tls://{at}"), format!("nats://{at}")] {
            let error = is_refused(&url, &[password]).await;
            assert!(error.to_string().contains("certificate"), "{error}");
        }
        let ca = broker.certificates().unwrap().ca.display().to_string();
        let named = format!("nats+tls://{at}?ca={ca}&server_name=localhost");
        works(&open(&named)).await;
        let other = format!("nats+tls://{at}?ca={ca}&server_name=other.example.org");
        assert!(is_refused(&other, &[password]).await.to_string().contains("not valid for name"));
        let missing = is_refused(&format!("nats+tls://{at}?ca=/no/such/file"), &[password]).await;
        assert_eq!(missing.kind(), Kind::Configuration);
        assert!(missing.to_string().contains("/no/such/file"), "{missing}");
        let key = broker.certificates().unwrap().server_key.display().to_string();
        let no_certificate = format!("nats+tls://{at}?ca={key}&server_name=localhost");
        assert_eq!(is_refused(&no_certificate, &[password]).await.kind(), Kind::Configuration);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_needs_that_name() {
    for version in ENDS {
        let Some(broker) = with(version, Tls::WrongName).await else { return };
        let error = is_refused(&broker.url(), &[broker.login().1]).await;
        assert!(error.to_string().contains("not valid for name"), "{error}");
        works(&open(&format!("{}&server_name=other.example.org", broker.url()))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate() {
    for version in ENDS {
        let Some(broker) = with(version, Tls::Mutual).await else { return };
        works(&open(&broker.url())).await;
        works(&open(&format!("{}&server_name=localhost", broker.url()))).await;
        let (user, password) = broker.login();
        let files = broker.certificates().unwrap();
        let bare = format!("nats+tls://{user}:{password}@{}?ca={}", broker.address(), files.ca.display());
        let error = is_refused(&bare, &[password]).await;
        assert!(matches!(error.kind(), Kind::Unauthorized | Kind::Disconnected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k1s_there_is_no_way_around_tls() {
    let Some(broker) = broker(Version::NATS_2_15, &Options::default()).await else { return };
    is_refused(&broker.tls_url(), &[broker.login().1]).await;
}
