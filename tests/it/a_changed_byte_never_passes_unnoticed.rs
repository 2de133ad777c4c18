//! Signed mails with one bit changed, one byte lost or one byte added, at seeded places: never an
//! error, never a panic, and `pass` only where neither the signed content nor From changed.

use std::path::Path;

use kenin_tests::forge::Town;
use kenin_tests::openssl_mail::{Workshop, signed_part};
use kenin_tests::verify::{options, verify};
use kenin_tests::world::{Dice, Folder};

const CHANGES: usize = 300;

#[test]
fn seeded_changes_of_every_form() {
    let town = Town::get();
    let folder = Folder::new();
    let trust = town.write(folder.path());
    let workshop = Workshop::new(town);
    let streamed = workshop
        .mails(30)
        .into_iter()
        .find(|mail| {
            mail.kind.name.contains("sha256") && mail.kind.name.ends_with("opaque streamed")
        })
        .unwrap();
    let forms = [
        (
            "clear",
            town.clear_signed(&town.bob, "bob@example.jp", "Every byte counts, here"),
        ),
        (
            "opaque",
            town.opaque(&town.alice, "alice@example.jp", "Every byte counts, inside"),
        ),
        ("streamed", streamed.raw),
    ];
    let mut dice = Dice::new(0x0b17_f11b);
    for (form, raw) in &forms {
        let mut files = Vec::new();
        let mut changed = Vec::new();
        for n in 0..CHANGES {
            let mut bytes = raw.clone();
            let at = dice.below(bytes.len() as u64) as usize;
            match dice.below(4) {
                0 => {
                    bytes.remove(at);
                }
                1 => bytes.insert(at, dice.below(256) as u8),
                _ => bytes[at] ^= 1 << dice.below(8),
            }
            let path = folder.join(format!("{form}-{n:04}.eml"));
            std::fs::write(&path, &bytes).unwrap();
            files.push(path);
            changed.push(bytes);
        }
        let paths: Vec<&Path> = files.iter().map(|p| p.as_path()).collect();
        let (said, code, talk) = verify(&options(&trust, true), &paths);
        assert!(code == 1 || code == 0, "{code}: {talk}");
        assert!(!talk.contains("panicked"), "{talk}");
        let from = kenin_tests::sink::fields(raw, "From");
        for ((path, bytes), said) in files.iter().zip(&changed).zip(&said) {
            assert!(
                said.json["error"].is_null(),
                "{}: {}",
                path.display(),
                said.json
            );
            if said.result() != "pass" {
                continue;
            }
            let same_from = kenin_tests::sink::fields(bytes, "From");
            let address = |f: &[String]| f.concat().to_lowercase();
            assert!(
                address(&same_from).contains(
                    address(&from)
                        .split(['<', '>'])
                        .nth(1)
                        .unwrap_or("example.jp")
                ),
                "{form}: {same_from:?} for {from:?}"
            );
            if *form == "clear" {
                let lines = |part: Option<Vec<u8>>| {
                    let part = part.unwrap_or_default();
                    String::from_utf8_lossy(&part)
                        .replace("\r\n", "\n")
                        .into_bytes()
                };
                assert_eq!(
                    lines(signed_part(bytes)),
                    lines(signed_part(raw)),
                    "{}",
                    path.display()
                );
            }
        }
        let passes = said.iter().filter(|s| s.result() == "pass").count();
        println!("{form}: {passes} of {CHANGES} changes did not matter");
        assert!(passes < CHANGES / 2, "{form}: {passes}");
    }
}
