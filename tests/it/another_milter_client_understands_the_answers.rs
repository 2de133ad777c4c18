//! The milter as `miltertest` sees it, which uses Sendmail's own library: each version of the protocol,
//! with and without the right to leave answers out.

use std::process::Command;

use kenin_tests::forge::Town;
use kenin_tests::forge::keys::Hash;
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::openssl_mail::{Workshop, signed_part};

/// A milter alone, without an MTA.
fn milter() -> Gateway {
    let nowhere = kenin_tests::world::free_address();
    let mut gateway = Gateway::prepare(&Setup {
        mode: "milter",
        mail: "[[rule]]\nwhen = { recipient_domain = \"strict.example\" }\n\
               then = { enforce = \"strict\", require_signature = true }\n"
            .to_owned(),
        ..Setup::new(nowhere)
    });
    let old = std::fs::read_to_string(gateway.config()).unwrap();
    let new = old.replace("bare_newline = \"reject\"\n", "");
    assert_ne!(old, new);
    std::fs::write(gateway.config(), new).unwrap();
    gateway.restart();
    gateway
}

/// Text for a Lua string.
fn lua(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        out.push_str(&format!("\\{byte:03}"));
    }
    out.push('"');
    out
}

/// A script that shows a mail and then does what is said.
fn script(gateway: &Gateway, terms: &str, to: &str, raw: &[u8], then: &str) -> String {
    script_of(gateway, terms, &[shown(to, raw, then)])
}

/// A script that shows several over one connection.
fn script_of(gateway: &Gateway, terms: &str, mails: &[String]) -> String {
    let port = gateway.address.port();
    format!(
        "mt.set_timeout(30)\n\
         conn = mt.connect(\"inet:{port}@127.0.0.1\", 5, 1)\n\
         assert(conn ~= nil, \"no connection\")\n\
         assert(mt.negotiate(conn, {terms}) == nil, \"no negotiation\")\n\
         assert(mt.conninfo(conn, \"client.example\", \"192.0.2.1\") == nil)\n\
         assert(mt.helo(conn, \"client.example\") == nil)\n\
         {}\
         mt.disconnect(conn)\n",
        mails.concat()
    )
}

/// The part of a script that shows one mail.
fn shown(to: &str, raw: &[u8], then: &str) -> String {
    let at = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let (head, body) = (&raw[..at], &raw[at + 4..]);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let mut fields = String::new();
    for field in head.replace("\r\n ", "\n ").split("\r\n") {
        let (name, value) = field.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value);
        fields.push_str(&format!(
            "assert(mt.header(conn, {}, {}) == nil)\n",
            lua(name.as_bytes()),
            lua(value.as_bytes())
        ));
    }
    format!(
        "mt.macro(conn, SMFIC_MAIL, \"i\", \"4F1\")\n\
         assert(mt.mailfrom(conn, \"<bob@example.jp>\", \"BODY=8BITMIME\") == nil)\n\
         assert(mt.rcptto(conn, \"<{to}>\") == nil)\n\
         {fields}\
         assert(mt.eoh(conn) == nil)\n\
         assert(mt.bodystring(conn, {}) == nil)\n\
         assert(mt.eom(conn) == nil, \"no end of message\")\n\
         {then}\n",
        lua(body)
    )
}

fn play(gateway: &Gateway, script: &str) {
    let file = gateway.folder.join("script.lua");
    std::fs::write(&file, script).unwrap();
    let output = Command::new("miltertest")
        .arg("-s")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{said}{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        gateway.log()
    );
}

#[test]
fn every_version_gets_the_stamp_and_loses_the_forgery() {
    let town = Town::get();
    let gateway = milter();
    let honest = town.clear_signed(&town.bob, "bob@example.jp", "By miltertest");
    let forged = [
        b"X-Kenin-Verdict: forged\r\n".as_slice(),
        b"Authentication-Results: smime.gw.example.jp; smime=pass\r\n",
        &honest,
    ]
    .concat();
    let then = "assert(mt.getreply(conn) == SMFIR_ACCEPT, \"not accepted\")\n\
        assert(mt.eom_check(conn, MT_HDRDELETE, \"X-Kenin-Verdict\"), \"a forgery stays\")\n\
        assert(mt.eom_check(conn, MT_HDRDELETE, \"Authentication-Results\"), \"a forgery stays\")\n\
        assert(not mt.eom_check(conn, MT_HDRDELETE, \"Subject\"))\n\
        assert(not mt.eom_check(conn, MT_BODYCHANGE))\n\
        assert(mt.eom_check(conn, MT_HDRINSERT, \"X-Kenin-Verdict\") == false)\n\
        local stamp = mt.getheader(conn, \"Authentication-Results\", 0)\n\
        assert(stamp ~= nil and string.find(stamp, \"smime=pass\", 1, true), stamp)";
    // Version, steps and actions: miltertest takes the last two in another order than it documents.
    for terms in [
        "6, 0x1fffff, 0x1ff",
        "6, 0, 0x1ff",
        "6, 0x100000, 0x1ff",
        "4, 0x7ff, 0x3f",
        "2, 0x7f, 0x3f",
    ] {
        println!("{terms}");
        play(
            &gateway,
            &script(&gateway, terms, "reader@example.jp", &forged, then),
        );
    }
    kenin_tests::world::wait_for("the queue id is logged", || gateway.log().contains("4F1"));
}

/// Every kind that OpenSSL signs, tampered with, not signed, and with stamps that came along.
#[test]
fn a_thousand_mixed_mails_are_stamped_as_they_are() {
    const MAILS: usize = 1000;
    const TERMS: [&str; 4] = [
        "6, 0x1fffff, 0x1ff",
        "6, 0, 0x1ff",
        "4, 0x7ff, 0x3f",
        "2, 0x7f, 0x3f",
    ];
    let gateway = milter();
    let signed = Workshop::new(Town::get()).mails(MAILS / 4);
    let mut parts = Vec::new();
    let mut words = std::collections::BTreeMap::new();
    for number in 0..MAILS {
        let mail = &signed[number / 4];
        let right = match mail.kind.hash {
            Hash::Sha1 => "policy (weak-algorithm",
            Hash::Sha224 => "neutral",
            _ => "pass",
        };
        let (raw, word) = match number % 4 {
            0 => (mail.raw.clone(), right),
            // A letter of what is signed becomes another.
            1 if !mail.kind.opaque => {
                let mut raw = mail.raw.clone();
                let part = signed_part(&raw).unwrap();
                let begin = raw.windows(part.len()).position(|w| w == part).unwrap();
                let text = part.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
                match part[text..].iter().position(u8::is_ascii_lowercase) {
                    // Nobody knows what a digest is that is not supported.
                    Some(letter) if mail.kind.hash != Hash::Sha224 => {
                        let place = begin + text + letter;
                        raw[place] = if raw[place] == b'x' { b'y' } else { b'x' };
                        (raw, "fail (digest-mismatch")
                    }
                    _ => (raw, right),
                }
            }
            1 | 2 => {
                let raw =
                    format!("From: bob@example.jp\r\nSubject: {number}\r\n\r\nnot signed\r\n");
                (raw.into_bytes(), "none")
            }
            _ => {
                let forged = b"Authentication-Results: smime.gw.example.jp; smime=pass\r\n";
                ([forged.as_slice(), &mail.raw].concat(), right)
            }
        };
        *words.entry(word).or_insert(0) += 1;
        let then = format!(
            "assert(mt.getreply(conn) == SMFIR_ACCEPT, \"{number} is not accepted\")\n\
             assert(not mt.eom_check(conn, MT_BODYCHANGE))\n\
             assert(mt.eom_check(conn, MT_HDRDELETE, \"Authentication-Results\") == {})\n\
             local stamp = mt.getheader(conn, \"Authentication-Results\", 0)\n\
             assert(stamp ~= nil and string.find(stamp, \"smime={word}\", 1, true), \"{number}: \" .. tostring(stamp))",
            number % 4 == 3
        );
        parts.push(shown(
            "reader@example.jp",
            &raw,
            &format!("do\n{then}\nend"),
        ));
    }
    println!("{words:?}");
    for (place, some) in parts.chunks(50).enumerate() {
        let terms = TERMS[place % TERMS.len()];
        play(&gateway, &script_of(&gateway, terms, some));
    }
}

#[test]
fn a_refusal_has_its_code() {
    let gateway = milter();
    let raw = b"From: bob@example.jp\r\nSubject: x\r\n\r\nnot signed\r\n";
    // What the reply says is looked at where Postfix passes it on.
    let then = "assert(mt.getreply(conn) == SMFIR_REPLYCODE, \"not refused\")\n\
        assert(not mt.eom_check(conn, MT_HDRINSERT))";
    play(
        &gateway,
        &script(
            &gateway,
            "6, 0x1ff, 0x1fffff",
            "a@strict.example",
            raw,
            then,
        ),
    );
}

#[test]
fn an_mta_that_allows_nothing_gets_no_milter() {
    let gateway = milter();
    let port = gateway.address.port();
    let script = format!(
        "conn = mt.connect(\"inet:{port}@127.0.0.1\", 5, 1)\n\
         assert(mt.negotiate(conn, 6, 0x1fffff, 0) ~= nil, \"negotiated without any action\")\n"
    );
    play(&gateway, &script);
    kenin_tests::world::wait_for("the log says why", || {
        gateway.log().contains("does not allow header fields")
    });
}
