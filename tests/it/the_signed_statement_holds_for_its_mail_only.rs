//! HDR-03: `X-Kenin-Verdict` read by code that shares nothing with Kenin: a compact JWS whose key is
//! the one that the gateway serves, over this header and this body; changed or moved, it does not
//! hold.

use std::time::Duration;

use kenin_tests::forge::keys::{Hash, Key};
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{AUTHSERV_ID, Gateway, Setup, envelope};
use kenin_tests::sink::{Received, Sink, fields, split};
use kenin_tests::world::write_secret;
use openssl::pkey::{Id, PKey};
use openssl::sign::Verifier;
use serde_json::Value;

fn base64url(text: &str) -> Vec<u8> {
    let mut plain = text.replace('-', "+").replace('_', "/");
    while !plain.len().is_multiple_of(4) {
        plain.push('=');
    }
    openssl::base64::decode_block(&plain).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn encoded(bytes: &[u8]) -> String {
    openssl::base64::encode_block(bytes)
        .replace('+', "-")
        .replace('/', "_")
        .replace('=', "")
}

/// RFC 6376 §3.4.2, relaxed: the last field of this name, or nothing.
fn relaxed(raw: &[u8], name: &str) -> Option<String> {
    let values = fields(raw, name);
    let [value] = values.as_slice() else {
        return None;
    };
    let words: Vec<&str> = value.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
    Some(format!("{name}:{}\r\n", words.join(" ")))
}

/// The statement of a delivered mail, if it holds.
fn read(raw: &[u8], keys: &Value) -> Result<Value, String> {
    let all = fields(raw, "X-Kenin-Verdict");
    let [field] = all.as_slice() else {
        return Err(format!("{} statements", all.len()));
    };
    let jws: String = field.split_whitespace().collect();
    let parts: Vec<&str> = jws.split('.').collect();
    let [head, payload, signature] = parts.as_slice() else {
        return Err("no JWS".to_owned());
    };
    let header: Value = serde_json::from_slice(&base64url(head)).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .ok_or("a key that nobody serves")?;
    let public = base64url(key["x"].as_str().unwrap());
    let public = PKey::public_key_from_raw_bytes(&public, Id::ED25519).unwrap();
    let mut verifier = Verifier::new_without_digest(&public).unwrap();
    let signed = format!("{head}.{payload}");
    if !verifier
        .verify_oneshot(&base64url(signature), signed.as_bytes())
        .unwrap()
    {
        return Err("signature".to_owned());
    }
    let claims: Value = serde_json::from_slice(&base64url(payload)).unwrap();
    if claims["iss"] != AUTHSERV_ID {
        return Err("issuer".to_owned());
    }
    let covered: String = ["from", "date", "message-id", "subject"]
        .iter()
        .filter_map(|n| relaxed(raw, n))
        .collect();
    if claims["hh"] != encoded(&Hash::Sha256.of(covered.as_bytes())) {
        return Err("header".to_owned());
    }
    let names = ["from", "date", "message-id", "subject"];
    let absent: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), fields(raw, name).len()))
        .filter(|(_, count)| *count != 1)
        .map(|(name, count)| (name, count.into()))
        .collect();
    if claims["hn"] != Value::Object(absent) {
        return Err("header".to_owned());
    }
    // RFC 6376 §3.4.3, simple: empty lines at the end do not count.
    let mut body = split(raw).1.to_vec();
    while body.ends_with(b"\r\n\r\n") {
        body.truncate(body.len() - 2);
    }
    if claims["bh"] != encoded(&Hash::Sha256.of(&body)) {
        return Err("body".to_owned());
    }
    Ok(claims)
}

fn gateway(sink: &Sink) -> (Gateway, Value) {
    let mut gateway = Gateway::prepare(&Setup::new(sink.address));
    write_secret(&gateway.folder.join("stamp.key"), &Key::ed25519().pem());
    let config = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(
        gateway.config(),
        format!("{config}\n[stamp]\nkey = \"stamp.key\"\n"),
    )
    .unwrap();
    gateway.restart();
    let (status, keys) = gateway.get("/.well-known/kenin-keys");
    assert_eq!(status, 200, "{keys}");
    (gateway, serde_json::from_str(&keys).unwrap())
}

fn delivered(gateway: &Gateway, sink: &Sink, raw: &[u8]) -> Received {
    let before = sink.count();
    assert_eq!(gateway.send(&envelope(), raw).code, 250);
    sink.wait(before + 1, Duration::from_secs(30))
        .pop()
        .unwrap()
}

#[test]
fn a_reader_that_shares_no_code_accepts_it() {
    let town = Town::get();
    let sink = Sink::start();
    let (gateway, keys) = gateway(&sink);
    let good = town.clear_signed(&town.bob, "Bob <bob@example.jp>", "stated");
    let text = String::from_utf8(good.clone()).unwrap();
    for (raw, result, reason) in [
        (good.clone(), "pass", "ok"),
        (
            text.replace("stated", "Stated").into_bytes(),
            "fail",
            "digest-mismatch",
        ),
        (
            text.replace("From: Bob <bob@", "From: <alice@")
                .into_bytes(),
            "policy",
            "from-mismatch",
        ),
        (
            mime::plain(&mime::headers("a@b.example"), "unsigned\r\n\r\n\r\n"),
            "none",
            "not-signed",
        ),
        (
            text.replace("Subject: Forged", "Subject:  Two\r\n\t lines   of it ")
                .into_bytes(),
            "pass",
            "ok",
        ),
        (
            text.replace("Subject: Forged\r\n", "").into_bytes(),
            "pass",
            "ok",
        ),
        (
            text.replace("Subject: Forged", "Subject: one\r\nSubject: two")
                .into_bytes(),
            "pass",
            "ok",
        ),
    ] {
        let got = delivered(&gateway, &sink, &raw);
        let claims = read(&got.raw, &keys)
            .unwrap_or_else(|e| panic!("{e}: {}", got.fields("X-Kenin-Verdict")[0]));
        assert_eq!(claims["v"], 1);
        assert_eq!(
            (claims["result"].as_str(), claims["reason"].as_str()),
            (Some(result), Some(reason))
        );
        assert!(claims["id"].is_string() && claims["iat"].is_i64() && claims["rev"].is_string());
    }
    let got = delivered(&gateway, &sink, &good);
    let claims = read(&got.raw, &keys).unwrap();
    assert_eq!(claims["signer"][0], "bob@example.jp");
}

#[test]
fn changed_or_moved_it_does_not_hold() {
    let town = Town::get();
    let sink = Sink::start();
    let (gateway, keys) = gateway(&sink);
    let one = delivered(
        &gateway,
        &sink,
        &town.clear_signed(&town.bob, "bob@example.jp", "one"),
    );
    let two = delivered(
        &gateway,
        &sink,
        &town.clear_signed(&town.bob, "bob@example.jp", "two"),
    );
    let text = String::from_utf8(one.raw.clone()).unwrap();
    let held = |text: &str| read(text.as_bytes(), &keys).map(|_| ());
    held(&text).unwrap();
    assert_eq!(
        held(&text.replace("From: bob@", "From: boss@")),
        Err("header".to_owned())
    );
    assert_eq!(
        held(&text.replace("Subject: Forged", "Subject: Other")),
        Err("header".to_owned())
    );
    assert_eq!(
        held(&text.replace("\r\none\r\n", "\r\nOne\r\n")),
        Err("body".to_owned())
    );
    // What was not there cannot come in later, not even in a form that is not covered.
    let bare = town.clear_signed(&town.bob, "bob@example.jp", "bare");
    let bare = String::from_utf8(bare)
        .unwrap()
        .replace("Subject: Forged\r\n", "");
    let bare = delivered(&gateway, &sink, bare.as_bytes());
    let bare = String::from_utf8(bare.raw).unwrap();
    held(&bare).unwrap();
    for subject in ["Subject: Pay now\r\n", "Subject: Pay\r\nSubject: now\r\n"] {
        let with = bare.replacen("From: bob@", &format!("{subject}From: bob@"), 1);
        assert_eq!(held(&with), Err("header".to_owned()), "{subject}");
    }
    let moved = String::from_utf8(two.raw.clone()).unwrap();
    let field = |text: &str| {
        let at = text.find("X-Kenin-Verdict:").unwrap();
        let rest = &text[at..];
        let mut end = 0;
        for line in rest.split_inclusive("\r\n") {
            if end > 0 && !line.starts_with([' ', '\t']) {
                break;
            }
            end += line.len();
        }
        rest[..end].to_owned()
    };
    let swapped = moved.replace(&field(&moved), &field(&text));
    assert_eq!(held(&swapped), Err("body".to_owned()));
    let doubled = text.replace(&field(&text), &(field(&text) + &field(&moved)));
    assert_eq!(held(&doubled), Err("2 statements".to_owned()));
}
