//! User and password, token, `NKey`, credentials file.

use std::path::Path;

use nkeys::KeyPair;
use polybus_brokers::{Broker, Options};
use polybus_contract::{Kind, Transport};
use tempfile::TempDir;

use crate::jwt::Realm;
use crate::{ENDS, broker, is_refused, open, works};

/// Neither right nor wrong secrets show.
const SECRET: &str = "correct-horse-battery-staple";

#[tokio::test(flavor = "multi_thread")]
async fn k5s_users_and_passwords() {
    for version in ENDS {
        let Some(broker) = broker(version, &Options::default()).await else { return };
        works(&open(&broker.url())).await;
        let error = is_refused(&broker.stranger_url(), &[Broker::WRONG_PASSWORD]).await;
        assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
        let nobody = format!("nats://{}", broker.address());
        assert_eq!(is_refused(&nobody, &[]).await.kind(), Kind::Unauthorized);
    }
}

/// Without accounts the token is that of the whole server.
#[tokio::test(flavor = "multi_thread")]
async fn k5s_tokens() {
    for version in ENDS {
        let config =
            format!("accounts: {{}}\nsystem_account: \"\"\nauthorization: {{token: \"{SECRET}@%\"}}\n");
        let Some(broker) = broker(version, &Options::default().with_config(config)).await else { return };
        let bus = open(&format!("nats://{SECRET}%40%25@{}", broker.address()));
        works(&bus).await;
        assert!(!format!("{bus:?} {:?}", bus.profile()).contains(SECRET));
        let wrong = format!("nats://{SECRET}@{}", broker.address());
        assert_eq!(is_refused(&wrong, &[SECRET]).await.kind(), Kind::Unauthorized);
    }
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn k5s_nkeys() {
    let folder = tempfile::tempdir().unwrap();
    for version in ENDS {
        let (user, stranger) = (KeyPair::new_user(), KeyPair::new_user());
        let config = format!(
            "accounts: {{main: {{jetstream: enabled, users: [{{nkey: {}}}]}}, SYS: {{users: [{{user: s, password: s}}]}}}}\n",
            user.public_key()
        );
        let Some(broker) = broker(version, &Options::default().with_config(config)).await else { return };
        let url = |file: &str| format!("nats://{}?nkey={file}", broker.address());
        let (right, wrong) = (user.seed().unwrap(), stranger.seed().unwrap());
        let bus = open(&url(&file(&folder, "right", &format!("{right}\n"))));
        works(&bus).await;
        assert!(!format!("{bus:?} {:?}", bus.profile()).contains(&right));
        let error = is_refused(&url(&file(&folder, "wrong", &wrong)), &[&wrong]).await;
        assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
        let error = is_refused(&url(&file(&folder, "garbage", SECRET)), &[SECRET]).await;
        assert_ne!(error.kind(), Kind::Internal, "{error}");
    }
    says_which_file("nkey", folder.path()).await;
}

/// A user whom an operator and an account signed for.
#[tokio::test(flavor = "multi_thread")]
async fn k5s_credentials_files() {
    let folder = tempfile::tempdir().unwrap();
    for version in ENDS {
        let (realm, other) = (Realm::make(), Realm::make());
        let options = Options::default().with_config(&*realm.config);
        let Some(broker) = broker(version, &options).await else { return };
        let url = |file: &str| format!("nats://{}?creds={file}", broker.address());
        let bus = open(&url(&file(&folder, "right", &realm.creds)));
        works(&bus).await;
        assert!(!format!("{bus:?} {:?}", bus.profile()).contains(&realm.seed));
        let error = is_refused(&url(&file(&folder, "wrong", &other.creds)), &[&other.seed]).await;
        assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
        let garbage = file(&folder, "garbage", &format!("{SECRET}\n{SECRET}\n"));
        let error = is_refused(&url(&garbage), &[SECRET]).await;
        assert_eq!(error.kind(), Kind::Configuration, "{error}");
        assert!(error.to_string().contains(&garbage), "{error}");
    }
    says_which_file("creds", folder.path()).await;
}

/// A file that is missing is named, whatever the server may be.
async fn says_which_file(option: &str, folder: &Path) {
    let missing = folder.join("missing").display().to_string();
    let error = is_refused(&format!("nats://127.0.0.1:1?{option}={missing}"), &[]).await;
    assert_eq!(error.kind(), Kind::Configuration);
    assert!(error.to_string().contains(&missing), "{error}");
}
