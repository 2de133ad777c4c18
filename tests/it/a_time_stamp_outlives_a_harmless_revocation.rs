//! `kenin verify` with time stamps of a real authority (`openssl ts`): a signature that was there before its
//! certificate was revoked stays good, if the key was sound all along and the stamp is beyond doubt. A stamp
//! that does not count is as if it were not there.

use std::path::PathBuf;

use kenin_tests::forge::certificates::{Person, Revoked, pem};
use kenin_tests::forge::cms::{SignedForm, SignerForm, attribute};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::kenin;
use kenin_tests::openssl_tsa::{TIME_STAMP_TOKEN, Tsa, year_of};
use kenin_tests::verify::verify;
use kenin_tests::world::Folder;

const PASS: (&str, &str) = ("pass", "ok");
const REVOKED: (&str, &str) = ("fail", "revoked");

/// What the verdict says of a revocation that it passes over.
const EXCUSED: &str = "a time stamp shows an earlier signature";

/// Whom a stamp is from, and what is known of that authority.
struct Authorities {
    /// Trusted for time stamps, and not revoked.
    good: Tsa,
    /// Trusted, and its certificate has been revoked.
    revoked: Tsa,
    /// Trusted, and nobody publishes what it has revoked.
    silent: Tsa,
    /// Trusted for mail only.
    for_mail: Tsa,
    /// Not trusted.
    stranger: Tsa,
}

/// A mail, what is known of its signer, and its verdict.
struct Row {
    name: String,
    mail: Vec<u8>,
    signer: Person,
    /// When the signer was revoked, and the reasonCode.
    revoked: Option<(Day, u8)>,
    expected: (&'static str, &'static str),
}

#[derive(Clone, Copy)]
enum Day {
    BeforeTheStamp,
    AfterTheStamp,
}

impl Authorities {
    fn new() -> Self {
        Self {
            good: Tsa::new("Times"),
            revoked: Tsa::new("Lost Times"),
            silent: Tsa::new("Silent Times"),
            for_mail: Tsa::new("Mail Times"),
            stranger: Tsa::new("Strange Times"),
        }
    }
}

/// A mail of somebody new, with the tokens that this makes of the signature beside it.
fn row(
    name: &str,
    revoked: Option<(Day, u8)>,
    expected: (&'static str, &'static str),
    tokens: impl FnOnce(&[u8]) -> Vec<Vec<u8>>,
) -> Row {
    let town = Town::get();
    let signer = town
        .issuer
        .person("Signer", "signer@example.jp", Key::p256());
    let part = mime::text("Of its time.");
    let mut form = SignerForm::new(&signer, &part);
    // ECDSA gives another value each time: what is stamped must be what is sent.
    let signature = form.key.sign(form.algorithm, &form.to_be_signed(&part));
    form.unsigned = tokens(&signature)
        .into_iter()
        .map(|token| attribute(TIME_STAMP_TOKEN, &[token]))
        .collect();
    form.signature = Some(signature);
    let certificates = [&signer.certificate[..], &town.issuer.certificate[..]];
    let cms = SignedForm::detached(&form, &part, &certificates).encode();
    let mail = mime::clear_signed(&mime::headers("Signer <signer@example.jp>"), &part, &cms);
    Row {
        name: name.to_owned(),
        mail,
        signer,
        revoked,
        expected,
    }
}

/// The same token with another signature of the authority's, whose value ends it.
fn broken(mut token: Vec<u8>) -> Vec<u8> {
    *token.last_mut().unwrap() ^= 1;
    token
}

#[rustfmt::skip]
fn rows(by: &Authorities) -> Vec<Row> {
    use Day::{AfterTheStamp, BeforeTheStamp};
    // superseded, and keyCompromise.
    let (moved, robbed) = (Some((AfterTheStamp, 4)), Some((AfterTheStamp, 1)));
    let mut rows = vec![
        row("superseded after the stamp", moved, PASS, |it| vec![by.good.stamp(it)]),
        row("a stamp beside a broken one", moved, PASS,
            |it| vec![broken(by.good.stamp(it)), by.good.stamp(it)]),
        row("stolen after the stamp", robbed, REVOKED, |it| vec![by.good.stamp(it)]),
        row("superseded before the stamp", Some((BeforeTheStamp, 4)), REVOKED,
            |it| vec![by.good.stamp(it)]),
        row("no stamp", moved, REVOKED, |_| Vec::new()),
        row("a stamp over another signature", moved, REVOKED,
            |_| vec![by.good.stamp(b"another signature")]),
        row("a broken stamp", moved, REVOKED, |it| vec![broken(by.good.stamp(it))]),
        row("a stamp of a revoked authority", moved, REVOKED, |it| vec![by.revoked.stamp(it)]),
        row("a stamp of an authority without a list", moved, REVOKED, |it| vec![by.silent.stamp(it)]),
        row("a stamp of an authority for mail", moved, REVOKED, |it| vec![by.for_mail.stamp(it)]),
        row("a stamp of a stranger", moved, REVOKED, |it| vec![by.stranger.stamp(it)]),
        row("not revoked, stamped", None, PASS, |it| vec![by.good.stamp(it)]),
        row("not revoked, a broken stamp", None, PASS, |it| vec![broken(by.good.stamp(it))]),
        row("not revoked, a stamp of a stranger", None, PASS, |it| vec![by.stranger.stamp(it)]),
        row("not revoked, no stamp", None, PASS, |_| Vec::new()),
    ];
    // Of the other reasons those count that leave the key sound.
    for (reason, name, expected) in [
        (0, "unspecified", REVOKED),
        (2, "cACompromise", REVOKED),
        (3, "affiliationChanged", PASS),
        (5, "cessationOfOperation", PASS),
        (6, "certificateHold", REVOKED),
        (9, "privilegeWithdrawn", PASS),
        (10, "aACompromise", REVOKED),
    ] {
        rows.push(row(name, Some((AfterTheStamp, reason)), expected, |it| vec![by.good.stamp(it)]));
    }
    rows
}

/// A configuration in a folder, and the options of `kenin verify` that go by it, in the year after the stamps.
fn configure(folder: &Folder, by: &Authorities, rows: &[Row], year: u32) -> Vec<String> {
    let town = Town::get();
    town.write(folder.path());
    let next = year + 1;
    let (date, this) = (format!("{next}0102000000Z"), format!("{next}0201000000Z"));
    let until = format!("{}0201000000Z", next + 1);
    let entries: Vec<Revoked<'_>> = rows
        .iter()
        .filter_map(|row| {
            let (day, reason) = row.revoked?;
            Some(Revoked {
                serial: &row.signer.serial,
                date: match day {
                    Day::BeforeTheStamp => "20220101000000Z",
                    Day::AfterTheStamp => date.as_str(),
                },
                reason,
            })
        })
        .collect();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write(
        "crls/issuer.crl",
        &town.issuer.crl_of(&entries, &this, &until),
    );
    write("crls/good.crl", &by.good.root.crl(&[]));
    write(
        "crls/revoked.crl",
        &by.revoked.root.crl(&[&by.revoked.serial]),
    );
    write("crls/for-mail.crl", &by.for_mail.root.crl(&[]));
    write("crls/stranger.crl", &by.stranger.root.crl(&[]));
    let mut trust = "intermediates = [\"intermediates\"]\ncrls = [\"crls\"]\n[[anchor]]\n\
                     name = \"test-root\"\nfile = \"anchors/root.pem\"\n"
        .to_owned();
    for (name, tsa, uses) in [
        ("good", &by.good, "time-stamping"),
        ("revoked", &by.revoked, "time-stamping"),
        ("silent", &by.silent, "time-stamping"),
        ("for-mail", &by.for_mail, "mail-signing"),
    ] {
        let file = format!("anchors/{name}.pem");
        write(&file, pem("CERTIFICATE", &tsa.root.certificate).as_bytes());
        trust.push_str(&format!(
            "[[anchor]]\nname = \"{name}\"\nfile = \"{file}\"\nuse = [\"{uses}\"]\n"
        ));
    }
    write("trust.toml", trust.as_bytes());
    let state = folder.join("state");
    std::fs::create_dir(&state).unwrap();
    let kenin = format!(
        "hostname = \"gw.example.jp\"\nstate_dir = \"{}\"\n[[listener]]\n\
         address = \"127.0.0.1:10025\"\nmode = \"before-queue\"\n[next_hop]\n\
         address = \"127.0.0.1:10026\"\n",
        state.display()
    );
    write("kenin.toml", kenin.as_bytes());
    vec![
        format!("--config={}", folder.join("kenin.toml").display()),
        format!("--at={next}-03-01T00:00:00Z"),
    ]
}

#[test]
fn a_time_stamp_outlives_a_harmless_revocation() {
    let by = Authorities::new();
    // The clock of `openssl` is the system's; all other times follow it.
    let year = year_of(&by.good.stamp(b"now"));
    let rows = rows(&by);
    let folder = Folder::new();
    let options = configure(&folder, &by, &rows, year);
    let files: Vec<PathBuf> = (0..)
        .zip(&rows)
        .map(|(n, row)| {
            let file = folder.join(format!("{n:02}.eml"));
            std::fs::write(&file, &row.mail).unwrap();
            file
        })
        .collect();

    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let (said, code, talk) = verify(&options, &paths);
    assert_eq!(code, 1, "{talk}");
    for (row, said) in rows.iter().zip(&said) {
        let (name, json) = (&row.name, &said.json);
        assert_eq!(
            (said.result(), said.reason()),
            row.expected,
            "{name} {json}"
        );
        // What is passed over is told, and nothing else is.
        let excused = row.revoked.is_some() && row.expected == PASS;
        let text = json.to_string();
        assert_eq!(text.contains(EXCUSED), excused, "{name} {json}");
        let check = if row.expected == PASS {
            "ok"
        } else {
            "revoked"
        };
        assert_eq!(said.check("revocation"), check, "{name} {json}");
    }

    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    let mut arguments = vec!["verify", "--format", "text"];
    arguments.extend(options.iter().chain(&names).map(String::as_str));
    let output = kenin(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    // One paragraph a file: its first line begins with the name.
    for (row, name) in rows.iter().zip(&names) {
        let begin = text.find(&format!("{name}: ")).unwrap();
        let rest = &text[begin..];
        let end = names
            .iter()
            .filter(|other| *other != name)
            .filter_map(|other| rest.find(&format!("{other}: ")))
            .min()
            .unwrap_or(rest.len());
        let told = &rest[..end];
        let (result, reason) = row.expected;
        assert!(
            told.lines()
                .next()
                .unwrap()
                .ends_with(&format!("[{result}: {reason}]")),
            "{} {told}",
            row.name
        );
        let excused = row.revoked.is_some() && row.expected == PASS;
        assert_eq!(told.contains(EXCUSED), excused, "{} {told}", row.name);
    }
}

/// The stamps of these tests are what another program takes for stamps.
#[test]
fn openssl_agrees_about_its_stamps() {
    let (tsa, other) = (Tsa::new("Times"), Tsa::new("Other Times"));
    let token = tsa.stamp(b"a signature");
    assert!(tsa.accepts(&token, b"a signature"));
    assert!(!tsa.accepts(&token, b"another one"));
    assert!(!tsa.accepts(&broken(token.clone()), b"a signature"));
    assert!(!other.accepts(&token, b"a signature"));
}
