//! Every mail of the demo, explained: the explanation must agree with the verdict and give no control
//! character of a stranger to the terminal.

use clap::Parser;

use super::super::arguments::{Arguments, Command};
use super::*;
use crate::demo::cast::Cast;
use crate::demo::mails::{self, Expected};

fn engine(folder: &std::path::Path) -> Engine {
    let option = |option: &str, name: &str| format!("{option}={}", folder.join(name).display());
    let line = [
        "kenin".to_owned(),
        "explain".to_owned(),
        option("--anchor", "anchors"),
        option("--crl", "crls"),
        "x".to_owned(),
    ];
    let Command::Explain(explain) = Arguments::try_parse_from(line).unwrap().command else {
        panic!("not explain")
    };
    Engine::new(&[], &explain.judge).unwrap()
}

#[test]
fn every_mail_of_the_demo_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let cast = Cast::new(super::super::now()).unwrap();
    cast.authority.write(folder.path()).unwrap();
    let engine = engine(folder.path());
    for case in mails::all(&cast, "smime.gw.example").unwrap() {
        let read = case.mail.len();
        let judged = engine.judge(case.mail);
        let explanation = Explanation {
            judged: &judged,
            engine: &engine,
            paint: Paint::PLAIN,
        };
        let text = explanation.tree("a.eml", read).draw();
        let title = case.title;
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{title}: {text}"
        );
        assert!(
            text.contains("what ordinary programs show"),
            "{title}: {text}"
        );
        let json = explanation.json("a.eml", read);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["file"], "a.eml", "{title}");
        match case.expected {
            Expected::Stamped(result, reason) | Expected::Wrapped(result, reason) => {
                assert!(
                    text.contains(&format!("verdict: {result} ({reason})")),
                    "{title}: {text}"
                );
                assert!(text.contains(&format!("smime={result}")), "{title}: {text}");
                assert_eq!(json["result"], result, "{title}");
            }
            Expected::Unstamped => {
                assert!(text.contains("not opened"), "{title}: {text}");
                assert!(!text.contains("smime="), "{title}: {text}");
            }
            Expected::Refused(code, _) => assert!(text.contains(code), "{title}: {text}"),
        }
    }
}

#[test]
fn a_nested_signature_is_told_what_it_would_be_worth() {
    let folder = tempfile::tempdir().unwrap();
    let cast = Cast::new(super::super::now()).unwrap();
    cast.authority.write(folder.path()).unwrap();
    let engine = engine(folder.path());
    let cases = mails::all(&cast, "smime.gw.example").unwrap();
    let list = cases
        .into_iter()
        .find(|case| case.title.contains("list"))
        .unwrap();
    let judged = engine.judge(list.mail);
    let explanation = Explanation {
        judged: &judged,
        engine: &engine,
        paint: Paint::PLAIN,
    };
    let text = explanation.tree("a.eml", 0).draw();
    assert!(
        text.contains("worth, if it were on the whole message: pass (ok)"),
        "{text}"
    );
    assert!(
        text.contains("verdict: none (signature-not-at-root)"),
        "{text}"
    );
}

#[test]
fn a_serial_number_is_written_in_one_way() {
    let line = |serial: &[u8]| {
        let sid = SignerId::IssuerAndSerial {
            issuer: Vec::new(),
            serial: serial.to_vec(),
        };
        named_by(&sid)
    };
    assert_eq!(line(&[0, 0x80, 1]), "issuer and serial 8001");
    assert_eq!(line(&[0x0a, 0x1b]), "issuer and serial 0a1b");
    assert_eq!(line(&[0]), "issuer and serial 00");
}
