//! Mail for some eyes only: it comes encrypted for people whose keys are held, or has to be encrypted before it leaves; and
//! the gateway that does so.

use std::sync::{Arc, OnceLock};

use super::{HeldMail, Secret};
use crate::client::Envelope;
use crate::forge::certificates::{Person, pem};
use crate::forge::enveloped::{self, Way, encrypted, with_last_bit_changed};
use crate::forge::mime;
use crate::held::Desk;
use crate::kenin::{Gateway, Setup, kenin};
use crate::opened::{self, BOB, CAROL, MALLORY, People, TABLES};
use crate::sink::{Search, fields, split};

/// What stands in each of these mails, and in no other.
pub(super) const CANARY: &str = "the canary sings behind seven seals";
/// A rule besides those of the circle.
const RULES: &str =
    "[[rule]]\nwhen = { recipient_domain = \"must.example\" }\nthen = { encrypt = \"must\" }\n";

const READER: &str = "reader@example.jp";
/// Somebody whose certificate is in the store.
const ANN: &str = "ann@must.example";
/// Somebody who has none.
const NOBODY: &str = "nobody@must.example";

/// A mail for some eyes only.
pub(super) struct Sealed {
    pub(super) envelope: Envelope,
    pub(super) raw: Vec<u8>,
    pub(super) secret: Secret,
}

/// The mail of a number, one kind after the other.
pub(super) fn letter(number: usize, id: &str, from: &str) -> Sealed {
    let name = id.trim_matches(['<', '>']);
    let entity = mime::text(&format!("{CANARY}: {name}"));
    let letter = Letter {
        from,
        header: enveloped::fields(from, name),
        inside: openssl::sha::sha256(split(&entity).1),
        entity,
    };
    let people = People::get();
    match number % 8 {
        0 => letter.sealed(Way::Gcm, &people.bob, &[BOB], &[BOB]),
        1 => letter.open(&[ANN]),
        // Only one of them may have it opened, whoever else has a key.
        2 => letter.sealed(Way::Cbc, &people.bob, &[BOB, MALLORY, READER], &[BOB]),
        3 => letter.open(&[ANN, READER]),
        // The next hop does not take it, and it is held.
        4 => letter.sealed(Way::Gcm, &people.carol, &[CAROL], &[CAROL]),
        // Uses that fail are counted: not of a key that has to work for others.
        5 => letter.broken(&people.mallory, MALLORY),
        6 => letter.sealed(Way::Gcm, &people.stranger, &[BOB], &[]),
        _ => letter.open(&[NOBODY]),
    }
}

struct Letter<'l> {
    from: &'l str,
    header: Vec<u8>,
    entity: Vec<u8>,
    inside: [u8; 32],
}

impl Letter<'_> {
    /// Encrypted for somebody, and sent to these, for whom it is opened or not.
    fn sealed(&self, way: Way, reader: &Person, to: &[&str], opens: &[&str]) -> Sealed {
        let object = encrypted(way, &[reader], &self.entity);
        let secret = Secret {
            came_encrypted: true,
            opens: owned(opens),
            named: owned(opens),
            inside: self.inside,
        };
        self.made(to, enveloped::mail(&self.header, &object), secret)
    }

    /// The same, changed on the way.
    fn broken(&self, reader: &Person, to: &str) -> Sealed {
        let object = encrypted(Way::Gcm, &[reader], &self.entity);
        let secret = Secret {
            came_encrypted: true,
            opens: Vec::new(),
            named: owned(&[to]),
            inside: self.inside,
        };
        let object = with_last_bit_changed(&object);
        self.made(&[to], enveloped::mail(&self.header, &object), secret)
    }

    /// As its sender wrote it.
    fn open(&self, to: &[&str]) -> Sealed {
        let secret = Secret {
            inside: self.inside,
            ..Secret::default()
        };
        let raw = [self.header.as_slice(), &self.entity].concat();
        self.made(to, raw, secret)
    }

    fn made(&self, to: &[&str], raw: Vec<u8>, secret: Secret) -> Sealed {
        Sealed {
            envelope: Envelope {
                to: owned(to),
                ..Envelope::new(self.from, READER)
            },
            raw,
            secret,
        }
    }
}

fn owned(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

fn ann() -> &'static Person {
    static ANN_HERSELF: OnceLock<Person> = OnceLock::new();
    ANN_HERSELF.get_or_init(|| enveloped::reader("Ann", ANN))
}

/// Looks for the canary, with the key of who gets mail encrypted.
pub(super) fn search() -> Arc<Search> {
    Arc::new(Search {
        canary: CANARY.to_owned(),
        reader: ann().clone(),
    })
}

/// Whether the sink has to refuse it for good, so that Kenin holds it.
pub(super) fn is_over_quota(recipient: &str) -> bool {
    recipient.contains(CAROL)
}

/// A gateway with keys, a quarantine that tells nobody, the rule and the certificate.
///
/// # Panics
/// When it does not take the certificate.
pub(super) fn started(mut setup: Setup) -> Gateway {
    setup.mail.push_str(RULES);
    setup.tables = format!("{TABLES}notify = \"nobody\"\n");
    let mut gateway = opened::started(&setup);
    let file = gateway.folder.join("ann.pem");
    std::fs::write(&file, pem("CERTIFICATE", &ann().certificate)).unwrap();
    let (file, config) = (file.display().to_string(), gateway.config());
    let output = kenin(&[
        "cert",
        "import",
        &file,
        "--config",
        &config.display().to_string(),
    ]);
    assert!(output.status.success(), "{output:?}");
    gateway.restart();
    gateway
}

/// What it holds.
///
/// # Panics
/// When that cannot be read.
pub(super) fn held(gateway: &Gateway) -> Vec<HeldMail> {
    let desk = Desk::of(gateway, &[]);
    let list = desk.list();
    let held = list.iter().map(|one| {
        let raw = desk.raw(one["id"].as_str().unwrap());
        let to = one["recipients"].as_array().unwrap().iter();
        HeldMail {
            id: fields(&raw, "Message-ID").concat(),
            body: openssl::sha::sha256(split(&raw).1),
            to: to.map(|to| to.as_str().unwrap().to_owned()).collect(),
        }
    });
    held.collect()
}
