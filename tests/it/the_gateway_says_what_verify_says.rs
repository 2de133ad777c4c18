//! A sample of every row through the live gateway: the stamp has the result, the reason, the signer
//! and the section that `kenin verify` prints, and PyPI `authres` reads the same from it.

use std::path::Path;
use std::time::Duration;

use kenin_tests::forge::rows::ROWS;
use kenin_tests::forge::{Shape, Town};
use kenin_tests::kenin::{AUTHSERV_ID, Gateway, Setup, envelope};
use kenin_tests::readers::authres;
use kenin_tests::sink::{Sink, split};
use kenin_tests::verify;
use kenin_tests::world::Folder;

/// Shapes that need no trust files of their own and that an SMTP client may send.
fn sample(town: &Town) -> Vec<Shape> {
    let mut out = Vec::new();
    for (_, make) in ROWS {
        let fit = |shape: &Shape| {
            let plain = !shape.extra.no_crls
                && shape.extra.crls.is_empty()
                && shape.extra.options.is_empty();
            // Bare CR and LF are refused before any verdict: SMTP-01.
            let bytes = &shape.raw;
            let lone = bytes.iter().enumerate().any(|(i, b)| {
                (*b == b'\r' && bytes.get(i + 1) != Some(&b'\n'))
                    || (*b == b'\n' && (i == 0 || bytes[i - 1] != b'\r'))
            });
            plain && !lone && !bytes.contains(&0)
        };
        let shapes: Vec<Shape> = make(town).into_iter().filter(fit).collect();
        let step = (shapes.len() / 12).max(1);
        out.extend(shapes.into_iter().step_by(step));
    }
    out
}

/// An address outside ASCII is shown percent-encoded, and quoted where that needs it.
fn is_shown_as(address: &str, shown: &str) -> bool {
    let mut encoded = String::new();
    for byte in address.bytes() {
        if byte.is_ascii() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded.eq_ignore_ascii_case(&shown.replace('"', ""))
}

#[test]
fn stamps_agree_with_verdicts_and_authres_reads_them() {
    agree("");
}

/// Parsed in threads or by processes, it is the same mail.
#[test]
fn threads_say_the_same() {
    agree("[workers]\nisolate = false\n");
}

fn agree(tables: &str) {
    let town = Town::get();
    let shapes = sample(town);
    assert!(shapes.len() >= 200, "{}", shapes.len());
    let folder = Folder::new();
    let trust = town.write(folder.path());
    let files: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(n, shape)| {
            let path = folder.join(format!("{n:04}.eml"));
            // What the wire makes of it: a message ends in CRLF.
            let mut raw = shape.raw.clone();
            if !raw.ends_with(b"\r\n") {
                raw.extend(b"\r\n");
            }
            std::fs::write(&path, raw).unwrap();
            path
        })
        .collect();
    let paths: Vec<&Path> = files.iter().map(|p| p.as_path()).collect();
    // Judged now, as the gateway judges: nothing in the sample depends on the day.
    let options: Vec<String> = verify::options(&trust, true)
        .into_iter()
        .filter(|o| !o.starts_with("--at"))
        .collect();
    let (said, _, _) = verify::verify(&options, &paths);

    let sink = Sink::start();
    let gateway = Gateway::start(&Setup {
        tables: tables.to_owned(),
        ..Setup::new(sink.address)
    });
    let mut client = gateway.client();
    let mut sent = Vec::new();
    for (n, shape) in shapes.iter().enumerate() {
        let reply = client.mail(&envelope(), &shape.raw).unwrap();
        if reply.code == 250 {
            sent.push(n);
        } else {
            // Header limits and the like; never a loss.
            assert_eq!(reply.code / 100, 5, "{}: {}", shape.name, reply.text());
        }
    }
    assert!(
        sent.len() * 100 >= shapes.len() * 95,
        "{} of {} sent",
        sent.len(),
        shapes.len()
    );
    let got = sink.wait(sent.len(), Duration::from_secs(60));
    let values: Vec<String> = got
        .iter()
        .map(|mail| {
            let all = mail.fields("Authentication-Results");
            assert_eq!(all.len(), 1, "{all:?}");
            all[0].clone()
        })
        .collect();
    let mut wrong = Vec::new();
    for ((n, mail), value) in sent.iter().zip(&got).zip(&values) {
        let (shape, said) = (&shapes[*n], &said[*n]);
        let title = format!("{} {}", shape.row, shape.name);
        assert_eq!(
            mail.split().1,
            split(
                &[
                    &shape.raw[..],
                    if shape.raw.ends_with(b"\r\n") {
                        b""
                    } else {
                        b"\r\n"
                    }
                ]
                .concat()
            )
            .1,
            "{title}"
        );
        // A pass needs no reason in the comment.
        let want = if said.reason() == "ok" {
            "smime=pass".to_owned()
        } else {
            format!("smime={} ({}", said.result(), said.reason())
        };
        if said.result() != "null" && !value.contains(&want) {
            wrong.push(format!(
                "{title}: stamp {value:?}, verdict {} ({})",
                said.result(),
                said.reason()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let Some(read) = authres(&values) else { return };
    for ((n, read), value) in sent.iter().zip(&read).zip(&values) {
        let said = &said[*n];
        assert_eq!(read.authserv_id, AUTHSERV_ID);
        let root: Vec<_> = said.json["signatures"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["root"] != false)
            .collect();
        if said.result() == "null" {
            assert!(read.results.is_empty(), "{value}");
            continue;
        }
        let Some(result) = read.results.first() else {
            panic!("{value}: no result")
        };
        assert_eq!(result.method, "smime", "{value}");
        assert_eq!(result.result, said.result(), "{value}");
        let property = |name: &str| {
            result
                .properties
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        let Some(signature) = root.first() else {
            continue;
        };
        if let Some(part) = property("body.smime-part") {
            assert_eq!(Some(part), signature["section"].as_str(), "{value}");
        } else {
            assert_ne!(said.result(), "pass", "{value}: no body.smime-part");
        }
        if let Some(address) = signature["signer"]["addresses"][0].as_str() {
            if let Some(shown) = property("body.smime-identifier") {
                let all = signature["signer"]["addresses"].as_array().unwrap();
                assert!(
                    all.iter()
                        .filter_map(|a| a.as_str())
                        .any(|a| is_shown_as(a, shown)),
                    "{value}: not {address}"
                );
            } else {
                assert_ne!(said.result(), "pass", "{value}: no body.smime-identifier");
            }
        }
        let (serial, issuer) = (property("body.smime-serial"), property("body.smime-issuer"));
        assert_eq!(
            serial.is_some(),
            issuer.is_some(),
            "{value}: both or neither"
        );
        if let Some(serial) = serial {
            let ours = signature["signer"]["serial"].as_str().unwrap();
            assert_eq!(
                serial.to_lowercase().trim_start_matches('0'),
                ours.trim_start_matches('0'),
                "{value}"
            );
        }
    }
}
