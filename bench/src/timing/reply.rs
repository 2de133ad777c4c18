//! The answer to a mail that names a key of the gateway's: what is inside opens, or the padding of its key is wrong, or
//! its last block is; and where the content has a tag, it opens, or its tag is wrong. Over one session, in the order of
//! dice, each mail from another network (XFORWARD), so that what a network may fail at most does not stop the measurement,
//! and to so many people that no key's answers are put off.

use std::net::Ipv4Addr;
use std::time::Instant;

use kenin::demo::authority::{Authority, Holder, Term};
use kenin_keys::{Kek, KeyFacts, KeyFolder, KeyId, SealedKey, State, Uses};
use kenin_pki::Address;
use kenin_pki::crypto::{Aes, ContentKind, KeyType, Secret, SigningKey};
use kenin_pki::time::UnixTime;
use kenin_smime::Limits;
use kenin_smime::encrypt::{Addressee, Protect};
use kenin_smime::open::EncryptedLayer;
use kenin_tests::client::{Client, stuffed};
use kenin_tests::forge::mime;
use kenin_tests::kenin::Gateway;
use kenin_tests::world::{Dice, write_secret};
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};

use super::welch::Compared;
use crate::kenin::{Kenin, introduce};
use crate::load::Trouble;
use crate::smtp::Sink;

/// Times the answers to so many mails of each class, prints the table and returns what `results/` keeps.
pub(super) fn measure(mails: usize) -> Result<Value, Trouble> {
    introduce();
    let bad = CLASSES.iter().filter(|class| !class.is_good()).count();
    let people = people(mails * bad / FAILURES + 1)?;
    let sink = Sink::start(CANARY)?;
    let gateway = Kenin::opening(sink.address, TABLES, |gateway| put(gateway, &people))?;
    let mut visitor = Visitor {
        client: Client::greeted(gateway.address()),
        people: &people,
        sent: 0,
    };
    check(&mut visitor, &sink)?;
    let mut dice = Dice::new(1);
    let mut order: Vec<Class> = CLASSES.iter().flat_map(|one| vec![*one; mails]).collect();
    for last in (1..order.len()).rev() {
        let other = usize::try_from(dice.below(last as u64 + 1))?;
        order.swap(last, other);
    }
    let mut times: [Vec<f64>; CLASSES.len()] = Default::default();
    for class in order {
        let took = visitor.send(class)?;
        let place = CLASSES.iter().position(|one| *one == class);
        if let Some(times) = place.and_then(|place| times.get_mut(place)) {
            times.push(took);
        }
    }
    println!("answers, {mails} mails a class in the order of dice; milliseconds and Welch's t\n");
    println!(
        "{:<34}{:>12}{:>10}{:>10}{:>10}",
        "", "mean", "p50", "p99", "max"
    );
    let mut classes = Vec::new();
    for (class, times) in CLASSES.iter().zip(&times) {
        classes.push(shown(*class, times));
    }
    let [opens, padding, block, opens_by_tag, tag] = &times;
    let mut pairs = Vec::new();
    println!();
    for (name, first, second) in [
        ("opens, padding wrong", opens, padding),
        ("opens, last block wrong", opens, block),
        ("padding wrong, last block wrong", padding, block),
        // Who sends a mail knows its cipher.
        ("GCM: opens, tag wrong", opens_by_tag, tag),
    ] {
        let compared = Compared::of(first, second);
        println!(
            "{name:<34}{:>12.4}{:>10.2}   at most {:.2}, of the fastest {:.0} %",
            compared.whole.difference,
            compared.whole.t,
            compared.most.t,
            compared.share * 100.0
        );
        pairs.push(json!({ "pair": name, "compared": compared.json() }));
    }
    Ok(json!({
        "bench": "timing reply", "unit": "milliseconds", "mails": mails,
        "classes": classes, "pairs": pairs,
    }))
}

fn shown(class: Class, times: &[f64]) -> Value {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted.get(place).copied().unwrap_or(f64::NAN)
    };
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    println!(
        "{:<34}{mean:>12.4}{p50:>10.3}{p99:>10.3}{max:>10.3}",
        class.name()
    );
    json!({ "class": class.name(), "mean": mean, "p50": p50, "p99": p99, "max": max })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Opens,
    Padding,
    Block,
    OpensByTag,
    Tag,
}

impl Class {
    const fn name(self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::Padding => "padding of the key wrong",
            Self::Block => "last block wrong",
            Self::OpensByTag => "GCM: opens",
            Self::Tag => "GCM: the tag is wrong",
        }
    }

    const fn is_good(self) -> bool {
        matches!(self, Self::Opens | Self::OpensByTag)
    }

    const fn cipher(self) -> ContentKind {
        match self {
            Self::Opens | Self::Padding | Self::Block => ContentKind::AesCbc(Aes::Bits256),
            Self::OpensByTag | Self::Tag => ContentKind::AesGcm(Aes::Bits256),
        }
    }

    const fn smime_type(self) -> &'static str {
        match self {
            Self::Opens | Self::Padding | Self::Block => "enveloped-data",
            Self::OpensByTag | Self::Tag => "authEnveloped-data",
        }
    }
}

/// Nobody's time counts before the gateway does what is to be measured: it opens what is right, and passes the rest on
/// as it came.
fn check(visitor: &mut Visitor<'_>, sink: &Sink) -> Result<(), Trouble> {
    let (good, bad): (Vec<Class>, Vec<Class>) =
        CLASSES.into_iter().partition(|class| class.is_good());
    for class in &good {
        visitor.send(*class)?;
    }
    sink.wait(good.len())
        .map_err(|error| format!("the gateway does not open its people's mail: {error}"))?;
    for class in bad {
        visitor.send(class)?;
        if sink.marked() > good.len() {
            return Err(format!("the gateway opens what does not open: {}", class.name()).into());
        }
    }
    Ok(())
}

/// Who sends.
struct Visitor<'p> {
    client: Client,
    people: &'p [Holder],
    sent: u32,
}

impl Visitor<'_> {
    /// Sends a new mail and gives the milliseconds from its last octet to the answer.
    fn send(&mut self, class: Class) -> Result<f64, Trouble> {
        let number = usize::try_from(self.sent)?;
        let place = number % self.people.len();
        let holder = self.people.get(place).ok_or("there is nobody")?;
        // A network of its own: 10.x.y.0/24.
        let from = Ipv4Addr::from(0x0a00_0001 | (self.sent << 8));
        self.sent += 1;
        let mut raw = mime::headers("Mallory <mallory@evil.example>");
        let type_field = format!(
            "Content-Type: application/pkcs7-mime; smime-type={}; name=smime.p7m\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
            class.smime_type()
        );
        raw.extend_from_slice(type_field.as_bytes());
        raw.extend(mime::base64(&object(holder, class, number)?));
        let wire = stuffed(&raw);
        let content = wire.strip_suffix(DOT).unwrap_or(&wire);
        self.say(&format!("XFORWARD ADDR={from}"), 250)?;
        self.say("MAIL FROM:<mallory@evil.example>", 250)?;
        self.say(&format!("RCPT TO:<{}>", address(place)), 250)?;
        self.say("DATA", 354)?;
        self.client.send(content);
        let begin = Instant::now();
        self.client.send(DOT);
        let reply = self.client.reply();
        let took = begin.elapsed();
        match reply {
            Some(reply) if reply.code == 250 => Ok(took.as_secs_f64() * 1e3),
            reply => Err(format!("{reply:?} to a mail whose class is {class:?}").into()),
        }
    }

    fn say(&mut self, line: &str, code: u16) -> Result<(), Trouble> {
        let reply = self.client.command(line);
        match reply.code == code {
            true => Ok(()),
            false => Err(format!("{reply:?} to {line}").into()),
        }
    }
}

/// EnvelopedData or AuthEnvelopedData for somebody that nobody has seen before.
fn object(holder: &Holder, class: Class, number: usize) -> Result<Vec<u8>, Trouble> {
    let content = format!("Content-Type: text/plain\r\n\r\n{CANARY}, number {number}\r\n");
    let recipients = [Addressee::of(&holder.certificate)];
    let protect = Protect {
        recipients: &recipients,
        cipher: class.cipher(),
    };
    let mut object = protect.protect_cms(content.as_bytes())?;
    match class {
        Class::Opens | Class::OpensByTag => Ok(object),
        Class::Padding => {
            let right = wrapped_key(&object).ok_or("no recipient")?;
            let wrong = wrong_key(holder, right.len(), number)?;
            let place = object.windows(right.len()).position(|it| it == right);
            let place = place.ok_or("no wrapped key")?;
            object.splice(place..place + right.len(), wrong);
            Ok(object)
        }
        Class::Block => {
            // The encrypted content is the last thing in it. One change in 256 leaves a padding that can be read.
            for bit in 0..8 {
                let mut changed = object.clone();
                if let Some(last) = changed.last_mut() {
                    *last ^= 1 << bit;
                }
                if opens(holder, &changed) == Some(false) {
                    return Ok(changed);
                }
            }
            Err("a block that was changed opens".into())
        }
        Class::Tag => {
            // The tag is the last thing in it.
            if let Some(last) = object.last_mut() {
                *last ^= 1;
            }
            match opens(holder, &object) {
                Some(false) => Ok(object),
                _ => Err("what has another tag opens".into()),
            }
        }
    }
}

fn wrapped_key(object: &[u8]) -> Option<Vec<u8>> {
    let layer = EncryptedLayer::of_cms(object, &Limits::default())?;
    let wrapped = layer.recipients().first()?.wrapped.as_ref()?;
    Some(wrapped.encrypted_key.clone())
}

/// A ciphertext of the same key whose block is of no type that there is (RFC 8017 §7.2.1).
fn wrong_key(holder: &Holder, length: usize, number: usize) -> Result<Vec<u8>, Trouble> {
    let rsa = Rsa::public_key_from_der(holder.key.public_key().spki())?;
    let mut dice = Dice::new(number as u64);
    let octets = (0..length).map(|_| u8::try_from(dice.below(256)));
    let mut block = octets.collect::<Result<Vec<u8>, _>>()?;
    if let [first, second, ..] = block.as_mut_slice() {
        (*first, *second) = (0, 0xff);
    }
    let mut encrypted = vec![0; length];
    rsa.public_encrypt(&block, &mut encrypted, Padding::NONE)?;
    Ok(encrypted)
}

/// Whether its content opens; nothing where it has no key that does.
fn opens(holder: &Holder, object: &[u8]) -> Option<bool> {
    let layer = EncryptedLayer::of_cms(object, &Limits::default())?;
    let wrapped = layer.recipients().first()?.wrapped.as_ref()?;
    let rejection = holder.key.rejection_secret().ok()?;
    let key = wrapped.unwrap(&holder.key, &rejection, layer.key_len());
    Some(layer.open_with(&key.ok()?).is_ok())
}

/// So many people with keys.
fn people(count: usize) -> Result<Vec<Holder>, Trouble> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let mut authority = Authority::new("Bench", KeyType::P256, UnixTime(now.tv_sec))?;
    let one = |number| {
        let address = address(number);
        authority.issue("Somebody", &address, KeyType::Rsa(2048), Term::Valid)
    };
    let people: Result<Vec<Holder>, _> = (0..count).map(one).collect();
    Ok(people?)
}

fn address(number: usize) -> String {
    format!("somebody{number}@example.jp")
}

/// Writes what the tables name, and everybody's key into the gateway's folder.
fn put(gateway: &Gateway, people: &[Holder]) -> Result<(), Trouble> {
    write_secret(&gateway.folder.join("keys.key"), &KEK);
    write_secret(&gateway.folder.join("quarantine.key"), &[8; 32]);
    let kek = Kek::from_key(&Secret::new(KEK.to_vec()))?;
    let folder = KeyFolder::create(&gateway.folder.join("state/keys"))?;
    let changes = folder.change()?;
    for (number, holder) in people.iter().enumerate() {
        let facts = KeyFacts {
            id: KeyId::random()?,
            tenant: "default".to_owned(),
            version: 1,
            state: State::Active,
            uses: Uses {
                decrypt: true,
                sign: false,
            },
            addresses: vec![Address::parse(&address(number))?],
            public: holder.key.public_key().clone(),
            certificates: vec![holder.certificate.clone()],
        };
        let pkcs8 = Secret::new(holder.key.to_pkcs8()?);
        changes.add(&SealedKey::seal(facts, &pkcs8, &kek)?)?;
    }
    Ok(())
}

const CLASSES: [Class; 5] = [
    Class::Opens,
    Class::Padding,
    Class::Block,
    Class::OpensByTag,
    Class::Tag,
];
const TABLES: &str =
    "[keys]\nkey_file = \"keys.key\"\n[quarantine]\nkey_file = \"quarantine.key\"\n";
const KEK: [u8; 32] = [7; 32];
/// What only who opens a mail can see.
const CANARY: &str = "only for those who have the key";
/// Failures of one key, at most: from 200 in an hour on its answers are put off.
const FAILURES: usize = 150;
const DOT: &[u8] = b".\r\n";
