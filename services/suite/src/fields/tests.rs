//! The vectors, and the forms they do not show.

use polybus::frame::{Json, Object};

use super::*;

fn vectors(file: &str) -> Vec<Object> {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../../integration/vectors/prisem");
    let folder = std::env::var("POLYBUS_VECTORS").unwrap_or_else(|_| ours.to_owned());
    let text = std::fs::read_to_string(format!("{folder}/{file}")).expect("vectors are there");
    let lines: Vec<Object> = text.lines().filter(|line| !line.trim().is_empty()).map(object).collect();
    assert!(!lines.is_empty(), "{file} holds vectors");
    lines
}

fn object(line: &str) -> Object {
    Json::parse(line).expect("JSON").as_object().expect("an object").clone()
}

/// The answer to a request in the shape of the vectors.
fn outcome(service: &str, appdata: &Object) -> Json {
    match canonical(service, appdata).expect("a known service") {
        Ok(request) => {
            Object::new().with("params", request.params).with("query_sha256", request.query_sha256).into()
        }
        Err(refusal) => {
            let refuse = Object::new()
                .with("retcode", i64::from(refusal.code.retcode()))
                .with("code", refusal.code.as_str())
                .with("field", refusal.field.as_deref());
            Object::new().with("refuse", refuse).into()
        }
    }
}

#[test]
fn requests_are_read_as_the_vectors_say() {
    for vector in vectors("requests.jsonl") {
        let service = vector.get("service").and_then(Json::as_str).unwrap();
        let got = outcome(service, vector.get("appdata").and_then(Json::as_object).unwrap());
        let want = vector.get("expect").unwrap();
        assert_eq!(got.compact_sorted(), want.compact_sorted(), "{}", vector.get("id").unwrap().compact());
    }
}

fn field_at_fault(service: &str, appdata: &str) -> Option<String> {
    canonical(service, &object(appdata)).unwrap().err().and_then(|refusal| refusal.field)
}

#[test]
fn flags_in_every_form() {
    for (json, want) in [
        ("true", Some(true)),
        ("false", Some(false)),
        ("1", Some(true)),
        ("0", Some(false)),
        ("2", None),
        ("1.0", None),
        ("\" True\\t\"", Some(true)),
        ("\"FALSE\"", Some(false)),
        ("\" \"", Some(false)),
        ("\"on\"", None),
        ("[]", None),
        ("{}", None),
    ] {
        let appdata = object(&format!("{{\"json\":{json}}}"));
        assert_eq!(flag(&appdata, "json", false).ok(), want, "{json}");
    }
    assert!(flag(&object("{\"json\":null}"), "json", true).unwrap());
}

#[test]
fn the_first_bad_field_is_named_even_when_usage_is_asked_for() {
    let bad = r#"{"usage":"true","topn":-1,"etime":[],"searchfile":5}"#;
    assert_eq!(field_at_fault("rwfind", bad).as_deref(), Some("etime"));
    assert_eq!(field_at_fault("rwfind", r#"{"topn":-1,"searchfile":5}"#).as_deref(), Some("topn"));
    assert_eq!(field_at_fault("anon", r#"{"usage":"maybe"}"#).as_deref(), Some("usage"));
    assert_eq!(field_at_fault("crosscor", r#"{"iff":1}"#).as_deref(), Some("iff"));
    assert_eq!(field_at_fault("crosscor", r#"{"data":"eA","iff":"friend "}"#).as_deref(), Some("iff"));
}

#[test]
fn content_of_blanks_is_nothing_to_work_on() {
    assert_eq!(field_at_fault("anon", r#"{"data":" \r\n"}"#).as_deref(), Some("data"));
    assert_eq!(field_at_fault("lmsearch", "{}").as_deref(), Some("searchfile"));
}

#[test]
fn spelling_does_not_change_the_hash_but_the_question_does() {
    let hash = |appdata: &str| canonical("cifbulk", &object(appdata)).unwrap().unwrap().query_sha256;
    let plain = hash(r#"{"searchfile":"eA==","stime":5}"#);
    assert_eq!(plain, hash(r#"{"stime":" +5 ","searchfile":"eA","window":0,"other":[1],"user":7}"#));
    assert_ne!(plain, hash(r#"{"searchfile":"eA==","stime":6}"#));
}

#[test]
fn unknown_services_have_no_declaration() {
    assert!(canonical("filehash", &Object::new()).is_none());
}
