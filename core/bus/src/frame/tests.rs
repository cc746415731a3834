//! The vectors, and what must hold for any bytes.

use proptest::prelude::*;

use super::*;

/// The lines of a table of vectors; `POLYBUS_VECTORS` names another folder of them.
pub(crate) fn vectors(file: &str) -> Vec<Object> {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../../integration/vectors/prisem");
    let folder = std::env::var("POLYBUS_VECTORS").unwrap_or_else(|_| ours.to_owned());
    let text = std::fs::read_to_string(format!("{folder}/{file}")).expect("vectors are there");
    let lines: Vec<Object> = text.lines().filter(|line| !line.trim().is_empty()).map(object).collect();
    assert!(!lines.is_empty(), "{file} holds vectors");
    lines
}

/// A field that is text, or base64 under the same name with `_b64`.
pub(crate) fn bytes_of(vector: &Object, field: &str) -> Vec<u8> {
    match vector.get(field).and_then(Json::as_str) {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            base64::decode(vector.get(&format!("{field}_b64")).and_then(Json::as_str).expect("text or bytes"))
                .expect("base64")
        }
    }
}

pub(crate) fn id(vector: &Object) -> &str {
    vector.get("id").and_then(Json::as_str).expect("an id")
}

fn object(line: &str) -> Object {
    Json::parse(line.to_owned())
        .expect("a vector is JSON")
        .as_object()
        .expect("a vector is an object")
        .clone()
}

fn read(body: Vec<u8>) -> Result<Received, ReadFault> {
    Received::read(&body.into(), DEFAULT_MAX_BYTES)
}

fn identity() -> Identity {
    Identity::new("anon_client", "example.org")
}

#[test]
fn frames_are_read_as_the_vectors_say() {
    for vector in vectors("frames.jsonl") {
        let got = read(bytes_of(&vector, "frame"))
            .map_or_else(|fault| fault.normalised(), |frame| frame.normalised());
        assert_eq!(got.compact_sorted(), vector.get("expect").unwrap().compact_sorted(), "{}", id(&vector));
    }
}

#[test]
fn strict_faults_are_those_of_the_vectors() {
    for vector in vectors("strict.jsonl") {
        let faults: Json =
            check_strict(&bytes_of(&vector, "frame")).into_iter().map(Json::from).collect::<Vec<_>>().into();
        assert_eq!(&faults, vector.get("faults").unwrap(), "{}", id(&vector));
    }
}

#[test]
fn size_is_checked_first() {
    assert_eq!(Received::read(&vec![0xff; 10].into(), 9), Err(ReadFault::TooLarge { size: 10, limit: 9 }));
    assert!(Received::read(&br#"{"appdata":{}}"#.to_vec().into(), 14).is_ok());
}

#[test]
fn a_fault_becomes_a_refusal() {
    let fault = read(b"[]".to_vec()).unwrap_err();
    let answer = fault.refusal().answer("anon");
    assert_eq!(answer.retcode, 65);
    assert_eq!(answer.stderr, "anon: refused: bad-frame: the frame is no JSON object\n");
    let frame = Frame::reply("anon", &answer, &identity()).write(DEFAULT_MAX_BYTES).unwrap();
    assert_eq!(check_strict(&frame), [""; 0]);
    let reply = read(frame).unwrap().reply().unwrap().unwrap();
    let error = reply.error.unwrap();
    assert_eq!((error.code.as_str(), reply.retcode), ("bad-frame", 65));
    assert_eq!(error.detail.unwrap().get("error").and_then(Json::as_str), Some("not-object"));
}

#[test]
fn names_of_keys_vary_and_null_is_missing() {
    let frame =
        read(br#"{"NAME":"anon","ProtocolVer":0.50,"release":2,"pid":"-3","APPDATA":{}}"#.to_vec()).unwrap();
    assert_eq!(frame.name(), Some("anon"));
    assert_eq!((frame.protocolver(), frame.release(), frame.pid()), (Some("0.5"), Some("2"), Some(-3)));
    assert!(frame.is_compatible());
    assert_eq!(read(br#"{"appdata":null,"AppData":{}}"#.to_vec()), Err(ReadFault::BadAppdata));
    assert_eq!(read(br#"{"command":null,"result":5}"#.to_vec()), Err(ReadFault::NoAppdata));
}

#[test]
fn a_large_payload_is_not_copied() {
    let content = "A".repeat(1 << 20);
    let body = bytes::Bytes::from(format!(r#"{{"appdata":{{"data":"{content}"}}}}"#));
    let frame = Received::read(&body, DEFAULT_MAX_BYTES).unwrap();
    let data = frame.appdata().get("data").and_then(Json::as_str).unwrap();
    assert!(body.as_ptr_range().contains(&data.as_ptr()));
    assert!(format!("{frame:?}").len() < 200, "no payload in debug output");
}

#[test]
fn generation_0_is_answered_in_its_own_shape() {
    let request =
        read(br#"{"protocol_version":"0.3.0","command":{"program":"ipgrep_anon","data":""}}"#.to_vec());
    let request = request.unwrap();
    assert_eq!(request.generation(), Some("0"));
    let reply = read(Answer::ok("hello\n").write_generation0(&request, &identity())).unwrap();
    assert_eq!(reply.protocolver(), Some("0.3.0"));
    assert_eq!(reply.reply().unwrap().unwrap().stdout, b"hello\n");
    assert!(reply.time().unwrap() > 0);
    let refused = Refusal::new(RefusalCode::NoData, "no data").answer("anon");
    let reply = read(refused.write_generation0(&request, &identity())).unwrap();
    assert_eq!(reply.reply().unwrap().unwrap().stdout, b"anon: refused: no-data: no data\n");
}

#[test]
fn the_writer_refuses_what_is_not_strict() {
    let appdata = Appdata::new().text("data", Some("aGl=")).text("json", Some("yes")).int("retcode", 256);
    let error = Frame::request("", appdata, &identity()).at(0).write(DEFAULT_MAX_BYTES).unwrap_err();
    let want = [
        "base64:data",
        "bool:json",
        "missing:stderr",
        "missing:stdout",
        "type:name",
        "type:retcode",
        "type:time",
    ];
    assert_eq!(error, WriteError::NotStrict { faults: want.map(str::to_owned).to_vec() });
}

#[test]
fn the_writer_keeps_the_limit() {
    let frame = Frame::request("anon", Appdata::new().bytes("data", "hello"), &identity());
    let size = frame.write(u64::MAX).unwrap().len() as u64;
    assert!(frame.write(size).is_ok());
    assert_eq!(frame.write(size - 1), Err(WriteError::TooLarge { size, limit: size - 1 }));
}

#[test]
fn other_versions_still_have_nine_keys() {
    let version: ProtocolVersion = "0.4".parse().unwrap();
    let body = Frame::request("anon", Appdata::new(), &identity()).protocol(&version).write(9999).unwrap();
    assert_eq!(check_strict(&body), [""; 0]);
    assert_eq!(read(body).unwrap().generation(), Some("0.4"));
}

prop_compose! {
    fn appdata()(
        data: Vec<u8>, netmap: Vec<u8>, json: bool, user: Option<String>, number: i64,
        other in "[a-z]{1,8}x", text: String,
    ) -> Appdata {
        Appdata::new()
            .bytes("data", data)
            .bytes("netmap", netmap)
            .flag("json", json)
            .text("user", user.as_deref())
            .int("stime", number)
            .json(other, text)
    }
}

#[test]
fn verbatim_fields_go_out_as_they_are() {
    let wrong = Appdata::new().text("data", Some("!")).int("json", 1);
    let frame = Frame::request("anon", wrong, &identity());
    assert!(frame.write(DEFAULT_MAX_BYTES).is_err());
    let body = frame.verbatim(true).write(DEFAULT_MAX_BYTES).unwrap();
    assert_eq!(read(body).unwrap().appdata().get("data").and_then(Json::as_str), Some("!"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>) {
        let _ = read(body.clone()).map(|frame| frame.normalised().compact());
        let _ = check_strict(&body);
        let _ = terse_body(&body);
    }

    #[test]
    fn any_json_like_text_is_read_or_refused(text in "[{}\\[\\]\",:0-9eE.+a-z\\\\u-]{0,64}") {
        let body = format!("{{\"appdata\":{{\"retcode\":{text}}}}}");
        let _ = read(body.clone().into_bytes()).map(|frame| frame.normalised().compact());
        let _ = check_strict(body.as_bytes());
        // Whatever we accept, the reference parser accepts too, unless a float is out of its range.
        if Json::parse(text.as_str()).is_ok() && !text.contains(['e', 'E']) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
        if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
            prop_assert!(Json::parse(text).is_ok());
        }
    }

    #[test]
    fn what_is_written_is_strict_and_reads_back(appdata in appdata(), service in "[a-z]{1,9}") {
        let body = Frame::request(&service, appdata.clone(), &identity()).at(5).write(DEFAULT_MAX_BYTES).unwrap();
        prop_assert_eq!(check_strict(&body), Vec::<String>::new());
        let frame = read(body.clone()).unwrap();
        prop_assert_eq!(frame.name(), Some(service.as_str()));
        prop_assert_eq!((frame.time(), frame.library().is_some()), (Some(5), true));
        let again = Frame::request(&service, Appdata::from(frame.appdata()), &identity()).at(5);
        prop_assert_eq!(again.write(DEFAULT_MAX_BYTES).unwrap(), body);
    }

    #[test]
    fn replies_come_back_as_they_were_sent(retcode: u8, stdout: Vec<u8>, stderr: Vec<u8>) {
        let answer = Answer { retcode, stdout: stdout.clone().into(), stderr: stderr.clone().into(), ..Answer::default() };
        let body = Frame::reply("anon", &answer, &identity()).write(DEFAULT_MAX_BYTES).unwrap();
        prop_assert_eq!(check_strict(&body), Vec::<String>::new());
        let reply = read(body).unwrap().reply().unwrap().unwrap();
        prop_assert_eq!((reply.exit_code(), reply.stdout, reply.stderr), (retcode, stdout, stderr));
    }
}
