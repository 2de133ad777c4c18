//! Mail that is protected and opened for people: one site signs and encrypts for its author, the other opens for its
//! reader, and a thief between them gets nothing. What is told is what was heard, what arrived, and what the key processes
//! wrote down.

use std::path::Path;
use std::slice::from_ref;

use kenin_keys::Uses;
use kenin_pki::crypto::{KeyType, SoftKey};
use kenin_pki::extension::KeyUsage;
use kenin_policy::{StampKey, cipher_name};
use kenin_smime::{Limits, examine};

use super::authority::{Authority, AuthorityError, Holder, Term};
use super::delivered::{self, Row, body, stamp_of, value_of};
use super::house::{House, Plan, Sent};
use super::{broken, forge, wrapped};
use crate::exit::Failure;

/// What came of it: a row for each act, and how it went in words.
pub(super) struct Story {
    pub(super) rows: Vec<Row>,
    pub(super) text: String,
}

/// Has Bob write to Alice, and Mallory steal.
pub(super) async fn tell(folder: &Path, authority: &mut Authority) -> Result<Story, Failure> {
    let bob = authority
        .issue("Bob", BOB, KeyType::P256, Term::Valid)
        .map_err(broken)?;
    let alice = reader(authority, "Alice", ALICE).map_err(broken)?;
    let mallory = reader(authority, "Mallory", MALLORY).map_err(broken)?;
    let office = Plan {
        folder: &folder.join("office"),
        hostname: OFFICE,
        submission: true,
        rules: RULES,
        keys: &[(&bob, SIGNS)],
        known: &[&alice.certificate],
    };
    let home = Plan {
        folder: &folder.join("home"),
        hostname: HOME,
        submission: false,
        rules: "",
        keys: &[(&alice, OPENS), (&mallory, OPENS)],
        known: &[],
    };
    let mut office = House::start(office, authority).await?;
    let mut home = House::start(home, authority).await?;
    let story = story(&mut office, &mut home).await;
    office.stop().await;
    home.stop().await;
    Ok(story)
}

/// Somebody with a key that mail is encrypted for.
fn reader(authority: &mut Authority, name: &str, address: &str) -> Result<Holder, AuthorityError> {
    let key = SoftKey::generate(KeyType::P256)?;
    let usage = KeyUsage::DIGITAL_SIGNATURE | KeyUsage::KEY_AGREEMENT;
    let certificate = authority.certify_for(name, address, &key, Term::Valid, usage)?;
    Ok(Holder { key, certificate })
}

async fn story(office: &mut House, home: &mut House) -> Story {
    let mut text = Text::default();
    let letter = letter();

    let sent = office.send(BOB, ALICE, &letter).await;
    let uses = office.uses(1).await;
    let left = on_the_wire(&sent, &uses);
    text.act(FIRST);
    text.say("Bob writes", &reading(&letter));
    text.say("he hears", from_ref(&sent.reply));
    text.say("on the wire", &ciphertext(&sent));
    text.say("keys used there", &[counted(&uses)]);
    text.end(&left);

    // Where nothing came out of the first gateway, nothing goes into the second.
    let wire = sent.arrived.map(|mail| mail.bytes).unwrap_or_default();
    let sent = home.send(BOB, ALICE, &wire).await;
    let before = home.uses(1).await;
    let opened = opened(&sent, &before, &home.authserv_id, &home.key);
    text.act(SECOND);
    text.say("the client hears", from_ref(&sent.reply));
    if let Some(mail) = &sent.arrived {
        text.say("Alice reads", &reading(&mail.bytes));
        let stamp = stamp_of(&mail.bytes, &home.authserv_id);
        let found = value_of(&mail.bytes, DECRYPTION).unwrap_or_default();
        let lines = [
            format!("Authentication-Results: {stamp}"),
            format!("X-Kenin-Decryption: {found}"),
        ];
        text.say("its stamp", &lines);
    }
    text.say("keys used there", &[counted(&before)]);
    text.end(&opened);

    let stolen = forge::replace(&wire, b"From: Bob <bob@office.example>", FROM_MALLORY);
    let noise = [FROM_MALLORY, b"\r\n", &forge::encrypted()].concat();
    let sent = home.send(MALLORY, MALLORY, &stolen).await;
    let nobodys = home.send(MALLORY, MALLORY, &noise).await;
    let again = home.send(BOB, ALICE, &wire).await;
    let after = home.uses(before.len().saturating_add(1)).await;
    let theft = Theft {
        stolen,
        sent,
        nobodys,
        again,
        before,
        after,
    };
    let closed = theft.row();
    text.act(THIRD);
    text.say("Mallory hears", from_ref(&theft.sent.reply));
    text.say("and hears", &[format!("{} {BESIDE}", theft.nobodys.reply)]);
    text.say("he gets", &ciphertext(&theft.sent));
    let (before, after) = (counted(&theft.before), counted(&theft.after));
    let uses = [
        format!("{before}: before"),
        format!("{after}: after it, and after Bob's mail came to Alice once more"),
    ];
    text.say("keys used there", &uses);
    text.end(&closed);

    Story {
        rows: vec![left, opened, closed],
        text: text.0,
    }
}

/// How often keys were used, and what for.
fn counted(uses: &[String]) -> String {
    format!("{} ({})", uses.len(), uses.join(", "))
}

/// What a mail that must be encrypted is when it has left.
fn on_the_wire(sent: &Sent, uses: &[String]) -> Row {
    let mut row = row(
        "must be encrypted: on the wire",
        "encrypted, for one reader",
    );
    let Some(mail) = arrived(&mut row, sent) else {
        return row;
    };
    let examined = examine(&mail, &Limits::default(), &[]);
    let layer = examined.encryption.iter().find(|layer| layer.root);
    match layer {
        Some(layer) => {
            row.verdict = "encrypted".to_owned();
            let cipher = layer.algorithm_oid.as_deref();
            row.reason = cipher.map_or("", cipher_name).to_owned();
            if layer.recipients != 1 {
                let what = format!("it is encrypted for {}", layer.recipients);
                row.problems.push(what);
            }
        }
        None => row.problems.push("it is not encrypted".to_owned()),
    }
    if is_readable(&mail) {
        row.problems.push("it can be read".to_owned());
    }
    if uses != ["sign"] {
        row.problems.push(format!("keys used: {}", counted(uses)));
    }
    row
}

/// What its reader gets.
fn opened(sent: &Sent, uses: &[String], authserv_id: &str, key: &StampKey) -> Row {
    let mut row = row("its reader's key is here: opened", "pass (ok), opened");
    let Some(mail) = arrived(&mut row, sent) else {
        return row;
    };
    delivered::opened(&mut row, &mail, authserv_id, key);
    if !shows(&mail, TEXT) || value_of(&mail, b"Subject").as_deref() != Some(SUBJECT) {
        row.problems.push("it is not what Bob wrote".to_owned());
    }
    let found = value_of(&mail, DECRYPTION).unwrap_or_default();
    if !found.starts_with("opened;") || !found.ends_with("sender=proven") {
        row.problems.push(format!("X-Kenin-Decryption: {found}"));
    }
    if !stamp_of(&mail, authserv_id).contains(&format!("body.smime-identifier={BOB}")) {
        row.problems.push("the signature is not Bob's".to_owned());
    }
    // What comes back from behind the gateway could hold what was opened.
    let back = sent.arrived.as_ref().map(|mail| mail.mail_from.as_str());
    if !back.is_some_and(|path| path.starts_with("<>")) {
        row.problems.push("what comes back goes outside".to_owned());
    }
    if uses != ["unwrap"] {
        row.problems.push(format!("keys used: {}", counted(uses)));
    }
    row
}

/// What Mallory tried, and what was tried beside it.
struct Theft {
    /// What he sent: Bob's mail as it was on the wire, under his own name.
    stolen: Vec<u8>,
    /// What came of that.
    sent: Sent,
    /// What came of a mail of his that is encrypted for nobody who has a key here.
    nobodys: Sent,
    /// What came of Bob's mail when it was sent to Alice once more, behind all that.
    again: Sent,
    /// Uses of keys before.
    before: Vec<String>,
    /// And after all of it.
    after: Vec<String>,
}

impl Theft {
    fn row(&self) -> Row {
        let mut row = row("taken by a thief: stays closed", "no result");
        let Some(mail) = arrived(&mut row, &self.sent) else {
            return row;
        };
        if !shows(&self.stolen, FROM_MALLORY) {
            row.problems.push("there was nothing to steal".to_owned());
        }
        if !is_as_sent(&mail, &self.stolen) {
            row.problems.push("it is not as he sent it".to_owned());
        }
        if is_readable(&mail) {
            row.problems.push("the thief can read it".to_owned());
        }
        if value_of(&mail, DECRYPTION).is_some() {
            row.problems.push("it says that it was opened".to_owned());
        }
        if self.sent.reply != self.nobodys.reply {
            let other = &self.nobodys.reply;
            row.problems.push(format!(
                "the thief hears {}, and {other} where there is no key",
                self.sent.reply
            ));
        }
        let again = self.again.arrived.as_ref();
        if !again.is_some_and(|mail| shows(&mail.bytes, TEXT)) {
            row.problems.push("Alice can no longer read it".to_owned());
        }
        // One more, for Alice: what Mallory's mail had used would stand before that.
        let mut expected = self.before.clone();
        expected.push("unwrap".to_owned());
        if self.after != expected {
            row.problems.push(format!(
                "keys used: {} before and {} after",
                counted(&self.before),
                counted(&self.after)
            ));
        }
        row
    }
}

/// A row of which nothing is known yet.
fn row(title: &'static str, expected: &str) -> Row {
    Row {
        title,
        verdict: "-".to_owned(),
        reason: String::new(),
        expected: expected.to_owned(),
        problems: Vec::new(),
        statement: None,
    }
}

/// What arrived; that it was not answered with 250 is a problem, and that nothing did.
fn arrived(row: &mut Row, sent: &Sent) -> Option<Vec<u8>> {
    if !sent.reply.starts_with("250 ") {
        row.problems.push(format!("the reply is: {}", sent.reply));
    }
    let mail = sent.arrived.as_ref();
    if mail.is_none() {
        row.problems.push("it was not delivered".to_owned());
    }
    mail.map(|mail| mail.bytes.clone())
}

/// Whether a mail arrived octet for octet as it was sent, below the trace fields on top.
fn is_as_sent(arrived: &[u8], sent: &[u8]) -> bool {
    let above = arrived.strip_suffix(sent);
    above.is_some_and(|above| {
        let lines = above.split(|octet| *octet == b'\n');
        let mut begun = lines.filter(|line| !matches!(line.first(), None | Some(b' ' | b'\t')));
        begun.all(|line| line.starts_with(b"Received:"))
    })
}

/// Whether anybody can read of the letter in a mail, as it is or in its base64.
fn is_readable(mail: &[u8]) -> bool {
    let inside = wrapped::inside(mail);
    let parts = [mail, inside.as_slice()];
    let said = [TEXT, SUBJECT.as_bytes()];
    parts
        .iter()
        .any(|part| said.iter().any(|text| shows(part, text)))
}

fn shows(octets: &[u8], text: &[u8]) -> bool {
    octets.windows(text.len()).any(|window| window == text)
}

/// Subject and text of a mail as a person reads them, where it can be read.
fn reading(mail: &[u8]) -> Vec<String> {
    let subject = value_of(mail, b"Subject").unwrap_or_default();
    let all = String::from_utf8_lossy(mail);
    let wanted = String::from_utf8_lossy(TEXT);
    let line = all.lines().find(|line| line.contains(&*wanted));
    let text = line.unwrap_or("(what Bob wrote is not there)").to_owned();
    vec![format!("Subject: {subject}"), text]
}

/// What anybody sees of a mail that arrived: what it says it is, and how its body begins.
fn ciphertext(sent: &Sent) -> Vec<String> {
    let Some(mail) = &sent.arrived else {
        return vec!["(nothing arrived)".to_owned()];
    };
    let field = |name: &str| {
        let value = value_of(&mail.bytes, name.as_bytes()).unwrap_or_default();
        let value = value.replace('\t', " ");
        format!("{name}: {value}")
    };
    let text = String::from_utf8_lossy(body(&mail.bytes)).into_owned();
    let first = text.lines().find(|line| !line.is_empty());
    let begins = first.unwrap_or("(nothing)");
    vec![
        field("From"),
        field("Subject"),
        field("Content-Type"),
        format!("{begins}…"),
    ]
}

/// The letter, as Bob's mail program gives it to his gateway.
fn letter() -> Vec<u8> {
    let head = format!(
        "From: Bob <{BOB}>\r\nTo: Alice <{ALICE}>\r\nSubject: {SUBJECT}\r\n\
         Date: Sun, 22 Nov 2026 09:00:00 +0900\r\nMessage-ID: <offer@office.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\nDear Alice,\r\n\r\n"
    );
    [head.as_bytes(), TEXT, b"\r\n\r\nBob\r\n"].concat()
}

/// The story, line by line.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    /// Another act begins.
    fn act(&mut self, lines: &str) {
        for line in lines.lines() {
            let line = format!("  {line}");
            self.0.push_str(&format!("{}\n", line.trim_end()));
        }
    }

    /// Something that was found, beside what it is.
    fn say(&mut self, what: &str, lines: &[String]) {
        let mut what = what;
        for line in lines {
            let line: String = line.chars().take(WIDTH).collect();
            self.0.push_str(&format!("     {what:<17} {line}\n"));
            what = "";
        }
    }

    /// How an act ended.
    fn end(&mut self, row: &Row) {
        let end = match row.problems.is_empty() {
            true => "as it should be".to_owned(),
            false => format!("NO: {}", row.problems.join("; ")),
        };
        self.0.push_str(&format!("     -> {end}\n\n"));
    }
}

/// Above all of it.
pub(super) const TITLE: &str = "Mail that is protected and opened for people";

const FIRST: &str = "Bob works at office.example, Alice and Mallory have their mailboxes at home.example. Each site\n\
    has a gateway, with the private keys of its own people in a process that does nothing else.\n\
    \n\
    1. Bob writes to Alice as to anybody. His gateway must encrypt what goes to home.example, knows\n\
    \u{20}  her certificate, and signs for him.";
const SECOND: &str = "2. What was on the wire comes to Alice's gateway, which has her key.";
const THIRD: &str = "3. Mallory has caught it on the wire, and sends it to himself: from his own address, to his own\n\
    \u{20}  mailbox, through the gateway that has Alice's key (and his).";
/// What he hears besides.
const BESIDE: &str = "(to a mail for which nobody here has a key)";

/// Whose gateway signs and encrypts.
const BOB: &str = "bob@office.example";
/// Whose gateway opens.
const ALICE: &str = "alice@home.example";
/// Who has a key and a mailbox there too.
const MALLORY: &str = "mallory@home.example";
const FROM_MALLORY: &[u8] = b"From: Mallory <mallory@home.example>";
const OFFICE: &str = "gw.office.example";
const HOME: &str = "gw.home.example";
const SUBJECT: &str = "Our offer, between the two of us";
const TEXT: &[u8] = b"we offer 1,000 yen, and nobody else may know.";
const DECRYPTION: &[u8] = b"X-Kenin-Decryption";
/// Characters of a line that was found.
const WIDTH: usize = 96;

const SIGNS: Uses = Uses {
    decrypt: false,
    sign: true,
};
const OPENS: Uses = Uses {
    decrypt: true,
    sign: false,
};

const RULES: &str = r#"[[rule]]
when = { recipient_domain = "home.example" }
then = { encrypt = "must", sign = "clear" }
"#;

#[cfg(test)]
mod tests;
