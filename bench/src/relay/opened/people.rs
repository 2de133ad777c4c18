//! Who writes to whom, and what: Alice signs, two people read. Kenin has a key of each; one of them has another key of her
//! own, for which her mail is encrypted again.

use std::net::SocketAddr;
use std::process::Command;

use kenin_tests::forge::certificates::{Person, pem};
use kenin_tests::forge::enveloped::{self, Parts, Way, encrypted, reader};
use kenin_tests::kenin::Gateway;
use kenin_tests::opened::{self, import};
use kenin_tests::parts;
use kenin_tests::sink::fields;
use kenin_tests::world::run;
use openssl::cms::CmsContentInfo;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::kenin::Kenin;
use crate::load::Trouble;
use crate::mails;
use crate::smtp::envelope;

/// A kind of mail.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// How it is encrypted, if it is.
    way: Option<Way>,
    /// Whether it is encrypted again.
    again: bool,
}

impl Kind {
    pub(super) const fn in_clear(name: &'static str) -> Self {
        Self {
            name,
            way: None,
            again: false,
        }
    }

    pub(super) const fn cbc(name: &'static str, again: bool) -> Self {
        Self {
            name,
            way: Some(Way::Cbc),
            again,
        }
    }

    pub(super) const fn gcm(name: &'static str, again: bool) -> Self {
        Self {
            name,
            way: Some(Way::Gcm),
            again,
        }
    }

    pub(super) const fn cipher(self) -> &'static str {
        match self.way {
            None => "in clear",
            Some(Way::Cbc) => "CBC",
            Some(Way::Gcm) => "GCM",
            Some(Way::TripleDes) => "Triple DES",
        }
    }

    /// As a client says it.
    pub(super) fn envelope(self) -> Vec<u8> {
        envelope("alice@example.jp", if self.again { CARLA } else { RUTH })
    }
}

/// Those who read.
pub(super) struct People {
    /// Gets her mail opened.
    ruth: Person,
    /// Gets it encrypted again: the key that Kenin has,
    carla: Person,
    /// and her own.
    card: Person,
    card_key: PKey<Private>,
}

impl People {
    pub(super) fn new() -> Result<Self, Trouble> {
        let card = reader("Carla", CARLA);
        Ok(Self {
            ruth: reader("Ruth", RUTH),
            carla: reader("Carla", CARLA),
            card_key: PKey::private_key_from_pem(&card.key.pem())?,
            card,
        })
    }

    /// A Kenin that has their keys, with more tables in its configuration.
    pub(super) fn move_in(&self, next_hop: SocketAddr, tables: &str) -> Result<Kenin, Trouble> {
        let tables = format!("{}{tables}", opened::TABLES);
        Kenin::opening(next_hop, &tables, |gateway| self.put(gateway))
    }

    fn put(&self, gateway: &Gateway) -> Result<(), Trouble> {
        opened::write_secrets(gateway);
        for person in [&self.ruth, &self.carla] {
            import(gateway, person, &[]);
        }
        let rule = format!(
            "[[rule]]\nwhen = {{ recipient = \"{CARLA}\" }}\nthen = {{ reencrypt = true }}\n"
        );
        std::fs::write(gateway.folder.join("mail.toml"), rule)?;
        let file = gateway.folder.join("card.pem");
        std::fs::write(&file, pem("CERTIFICATE", &self.card.certificate))?;
        let mut command = Command::new(parts::kenin());
        command.args(["cert", "import"]).arg(&file);
        command.arg("--config").arg(gateway.config());
        run(command.env_remove("KENIN_CONFIG"));
        Ok(())
    }

    /// A mail that nobody has seen before, unless with this number.
    pub(super) fn mail(&self, kind: Kind, number: u64) -> Vec<u8> {
        let entity = mails::signed_entity(SIZE, number);
        match kind.way {
            None => [header(number), entity].concat(),
            Some(way) => {
                let object = encrypted(way, &[self.reader(kind)], &entity);
                enveloped::mail(&header(number), &object)
            }
        }
    }

    /// The same whose key is another than it says; nothing where it has none.
    pub(super) fn closed_mail(&self, kind: Kind, number: u64) -> Option<Vec<u8>> {
        let entity = mails::signed_entity(SIZE, number);
        let object = encrypted(kind.way?, &[self.reader(kind)], &entity);
        let closed = Parts::of(&object).key(0, |key| {
            if let Some(octet) = key.last_mut() {
                *octet ^= 1;
            }
        });
        Some(enveloped::mail(&header(number), &closed.object()))
    }

    /// A large mail without its header.
    pub(super) fn large(&self, kind: Kind, size: usize) -> Vec<u8> {
        let entity = mails::signed_entity(size, size as u64);
        match kind.way {
            None => entity,
            Some(way) => enveloped::mail(b"", &encrypted(way, &[self.reader(kind)], &entity)),
        }
    }

    fn reader(&self, kind: Kind) -> &Person {
        match kind.again {
            true => &self.carla,
            false => &self.ruth,
        }
    }

    /// Whether a mail arrived, as it is on the wire, as it should: with its stamp, and with what Alice signed in it, for
    /// Ruth to see, and for Carla alone to open.
    pub(super) fn check(&self, kind: Kind, wire: &[u8]) -> Result<(), Trouble> {
        let mail = wire.strip_suffix(b".\r\n").unwrap_or(wire);
        let stamp = fields(mail, "Authentication-Results").concat();
        if !stamp.contains("smime=pass") {
            return Err(format!("not stamped as good, but {stamp:?}").into());
        }
        let number = number_of(mail).ok_or("no number in its Message-ID")?;
        let part = mails::part(SIZE, number);
        let right = match kind.again {
            true => !holds(mail, &part) && holds(&self.opened_by_carla(mail)?, &part),
            false => holds(mail, &part),
        };
        match right {
            true => Ok(()),
            false => Err("what was signed does not arrive".into()),
        }
    }

    fn opened_by_carla(&self, mail: &[u8]) -> Result<Vec<u8>, Trouble> {
        let (_, body) = kenin_tests::sink::split(mail);
        let digits: String = std::str::from_utf8(body)?.split_whitespace().collect();
        let object = openssl::base64::decode_block(&digits)?;
        let certificate = X509::from_der(&self.card.certificate)?;
        let object = CmsContentInfo::from_der(&object)?;
        Ok(object.decrypt(&self.card_key, &certificate)?)
    }
}

/// The header of the mail with this number.
pub(super) fn header(number: u64) -> Vec<u8> {
    enveloped::fields(mails::AUTHOR, &format!("{number}@bench.example"))
}

/// The number of a mail by its header.
pub(super) fn number_of(mail: &[u8]) -> Option<u64> {
    let id = fields(mail, "Message-ID").concat();
    let (number, _) = id.strip_prefix('<')?.split_once('@')?;
    number.parse().ok()
}

fn holds(mail: &[u8], part: &[u8]) -> bool {
    mail.windows(part.len()).any(|window| window == part)
}

const RUTH: &str = "ruth@opened.example";
const CARLA: &str = "carla@opened.example";
/// What Alice signs.
const SIZE: usize = 10_000;
