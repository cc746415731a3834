//! An operator of NATS with one account and one user, as `nsc` makes them.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// What server and user are given.
pub(crate) struct Realm {
    /// Lines for the server: no accounts of its own but those that the operator signed.
    pub(crate) config: String,
    /// The credentials file of the user.
    pub(crate) creds: String,
    /// And the secret in it.
    pub(crate) seed: String,
}

impl Realm {
    pub(crate) fn make() -> Self {
        let (operator, account, system) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let user = KeyPair::new_user();
        let limits = |storage: i64| {
            json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
                "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage,
                "consumer": storage,
            })
        };
        let of_operator = token(&operator, &operator, &json!({ "type": "operator", "version": 2 }));
        let of_account =
            token(&operator, &account, &json!({ "type": "account", "version": 2, "limits": limits(-1) }));
        let of_system =
            token(&operator, &system, &json!({ "type": "account", "version": 2, "limits": limits(0) }));
        let everything = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let of_user = token(&account, &user, &everything);
        let config = format!(
            "accounts: {{}}\noperator: \"{of_operator}\"\nsystem_account: \"{}\"\nresolver: MEMORY\n\
             resolver_preload: {{\n  \"{}\": \"{of_account}\"\n  \"{}\": \"{of_system}\"\n}}\n",
            system.public_key(),
            account.public_key(),
            system.public_key(),
        );
        let seed = user.seed().unwrap();
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        Self { config, creds, seed }
    }
}

/// What `issuer` says of `subject`.
fn token(issuer: &KeyPair, subject: &KeyPair, says: &Value) -> String {
    let claims = json!({
        "jti": subject.public_key(), "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(),
        "name": "test", "nats": says,
    });
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}
