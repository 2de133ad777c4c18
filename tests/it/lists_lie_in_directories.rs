//! Revocation lists and issuers come from a directory (LDAP) as they do from a web server: as JPKI's, whose lists lie
//! under entries of their own. What is fetched is kept while the directory is away, no longer than it is fresh; what is
//! poisoned changes nothing (PKI-01), and nobody is connected to who was not listed (PKI-03).

use std::process::Output;
use std::slice::from_ref;
use std::time::Duration;

use kenin_tests::forge::certificates::{Authority, CertificateForm, Person, extension, name};
use kenin_tests::forge::der::{cat, explicit, oid, printable, seq, tlv, utf8};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::sink::Sink;
use kenin_tests::slapd::{BASE, Entry, Slapd};
use kenin_tests::world::wait_for;
use serde_json::Value;

const POINT: &str = "Kakuu-ku CRLDP";
const POISONED: &str = "Poisoned CRLDP";
const AUTHORITY: &str = "J-SIM CA";
/// After whatever the clock says, and before the end of the certificates.
const NEXT_UPDATE: &str = "20470101000000Z";
const LATER: &str = "2047-06-01T00:00:00Z";

/// A directory with the list of an authority, and the gateway that needs it.
struct World {
    sink: Sink,
    slapd: Slapd,
    gateway: Gateway,
    good: Person,
    lost: Person,
}

/// The words of `trust.toml`, and what the gateway has by itself.
struct Plan<'a> {
    /// `[anchor.fetch]`, made from where the directory is.
    fetch: &'a dyn Fn(&Slapd) -> String,
    /// The rest of `[fetch]`.
    reach: String,
    /// Whether it has the certificate of the authority; else it has the list, in a file.
    knows: bool,
}

impl World {
    fn new(plan: &Plan<'_>) -> Self {
        let town = Town::get();
        let authority = town.root.below(AUTHORITY);
        let keys = [Key::p256(), Key::p256()];
        let mut forms = [
            authority.person_form("Good", "good@example.jp", &keys[0]),
            authority.person_form("Lost", "lost@example.jp", &keys[1]),
        ];
        let serial = forms[1].serial.clone();
        let revoked: &[&[u8]] = &[&serial];
        let scope = extension("2.5.29.28", true, &seq([explicit(0, &full_name(&[]))]));
        let list = |by: &Authority, revoked: &[&[u8]]| {
            by.crl_for(revoked, "20250101000000Z", NEXT_UPDATE, from_ref(&scope))
        };
        let impostor = Authority::root_named(authority.name.clone());
        let binary = "certificateRevocationList;binary";
        let right = list(&authority, revoked);
        let slapd = Slapd::start(&[
            Entry::distribution_point(POINT).octets(binary, &right),
            Entry::distribution_point(POISONED).octets(binary, &list(&impostor, &[])),
            Entry::authority(AUTHORITY).octets("cACertificate;binary", &authority.certificate),
        ]);
        for form in &mut forms {
            form.extensions.extend(pointers(&slapd));
        }
        let [good, lost] = issue(&authority, &forms, keys);

        let sink = Sink::start();
        let (plain, secure) = (slapd.plain.port(), slapd.secure.port());
        let setup = Setup {
            anchor: format!(
                "[anchor.fetch]\n{}\n[fetch]\nports = [{plain}, {secure}]\n{}\n",
                (plan.fetch)(&slapd),
                plan.reach
            ),
            ..Setup::new(sink.address)
        };
        let mut gateway = Gateway::prepare(&setup);
        let (file, bytes) = match plan.knows {
            true => ("intermediates/jsim.der", &authority.certificate),
            false => ("crls/jsim.crl", &right),
        };
        std::fs::write(gateway.folder.join(file), bytes).unwrap();
        gateway.restart();
        Self {
            sink,
            slapd,
            gateway,
            good,
            lost,
        }
    }

    /// What the gateway writes about a mail of this person, who sends no chain along.
    fn stamp(&self, person: &Person, from: &str) -> String {
        let raw = signed(person, from);
        self.sink.clear();
        assert_eq!(self.gateway.send(&envelope(), &raw).code, 250);
        let mail = self.sink.wait(1, Duration::from_secs(30)).pop().unwrap();
        mail.fields("Authentication-Results")[0].clone()
    }

    fn good(&self) -> String {
        self.stamp(&self.good, "good@example.jp")
    }

    fn lost(&self) -> String {
        self.stamp(&self.lost, "lost@example.jp")
    }

    fn crl(&self, arguments: &[&str]) -> Output {
        let config = self.gateway.config().display().to_string();
        let first = ["crl", "--config", config.as_str()];
        kenin(&[&first[..], arguments].concat())
    }

    /// The lines of `kenin crl status`, without what only time changes.
    fn status(&self) -> Vec<Value> {
        let output = self.crl(&["status", "--format", "jsonl"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("age");
            line
        });
        lines.collect()
    }
}

fn signed(person: &Person, from: &str) -> Vec<u8> {
    let part = mime::text("Am I good?");
    let object = cms::detached(person, &[], &part);
    mime::clear_signed(&mime::headers(from), &part, &object)
}

fn issue(authority: &Authority, forms: &[CertificateForm; 2], keys: [Key; 2]) -> [Person; 2] {
    let [first, second] = keys;
    [
        authority.issue(&forms[0], first),
        authority.issue(&forms[1], second),
    ]
}

/// The full name of the distribution point: the entry's as it stands in lists, and more.
fn full_name(more: &[Vec<u8>]) -> Vec<u8> {
    let directory = name(&[
        ("2.5.4.6", printable("JP")),
        ("2.5.4.11", utf8("CRL Distribution Points")),
        ("2.5.4.3", utf8(POINT)),
    ]);
    explicit(0, &cat([explicit(4, &directory), cat(more)]))
}

/// Where certificates say that their list and their issuer lie.
fn pointers(slapd: &Slapd) -> [Vec<u8>; 2] {
    let uri = |url: &str| tlv(0x86, url.as_bytes());
    let point = full_name(&[uri(&list_url(slapd, POINT))]);
    let issuer = seq([
        oid("1.3.6.1.5.5.7.48.2"),
        uri(&url(slapd, AUTHORITY, "cACertificate")),
    ]);
    [
        extension("2.5.29.31", false, &seq([seq([explicit(0, &point)])])),
        extension("1.3.6.1.5.5.7.1.1", false, &seq([issuer])),
    ]
}

fn url(slapd: &Slapd, entry: &str, attribute: &str) -> String {
    let entry = entry.replace(' ', "%20");
    format!("ldap://{}/cn={entry},{BASE}?{attribute}", slapd.plain)
}

fn list_url(slapd: &Slapd, entry: &str) -> String {
    url(slapd, entry, "certificateRevocationList;binary")
}

fn reach() -> String {
    "allow_networks = [\"127.0.0.0/8\"]".to_owned()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_list_is_kept_while_the_directory_is_away_and_no_longer_than_it_is_fresh() {
    let mut world = World::new(&Plan {
        fetch: &|slapd| format!("crl = [\"{}\"]", list_url(slapd, POINT)),
        reach: reach(),
        knows: true,
    });
    wait_for("the list is there", || world.good().contains("smime=pass"));
    let lost = world.lost();
    assert!(lost.contains("smime=fail (revoked"), "{lost}");
    let (_, metrics) = world.gateway.get("/metrics");
    let metric = "kenin_fetch_total{kind=\"crl\",outcome=\"new\"} 1";
    assert!(metrics.contains(metric), "{metrics}");
    let url = list_url(&world.slapd, POINT);
    let before = world.status();
    let fetched = before.iter().find(|line| line["sources"][0] == *url);
    let fetched = fetched.expect("the list with its URL");
    assert_eq!(fetched["freshness"], "fresh");
    assert_eq!(fetched["entries"], 1);
    let again = world.crl(&["refresh", &url]);
    assert!(again.status.success(), "{}", words(&again));
    assert!(
        words(&again).starts_with(&format!("{url}: had already")),
        "{}",
        words(&again)
    );

    world.slapd.stop();
    let away = world.crl(&["refresh"]);
    assert_eq!(away.status.code(), Some(69), "{}", words(&away));
    assert_eq!(world.status(), before);
    world.gateway.restart();
    let (good, lost) = (world.good(), world.lost());
    assert!(good.contains("smime=pass"), "{good}");
    assert!(lost.contains("smime=fail (revoked"), "{lost}");

    // The same configuration, store and mail, after the list's end.
    let mail = world.gateway.folder.join("good.eml");
    std::fs::write(&mail, signed(&world.good, "good@example.jp")).unwrap();
    let (config, mail) = (world.gateway.config(), mail.display().to_string());
    let config = config.display().to_string();
    for (time, result) in [("2046-06-01T00:00:00Z", "pass"), (LATER, "temperror")] {
        let output = kenin(&[
            "verify", "--config", &config, "--at", time, "--format", "jsonl", &mail,
        ]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["result"], result, "{said}");
    }
}

#[test]
fn what_certificates_name_in_a_listed_directory_is_fetched_while_mail_waits() {
    // Once the list lies there, once the issuer's certificate.
    for knows in [true, false] {
        let mut world = World::new(&Plan {
            fetch: &|_| "from_certificates = true\nhosts = [\"127.0.0.1\"]".to_owned(),
            reach: reach(),
            knows,
        });
        let (good, lost) = (world.good(), world.lost());
        assert!(good.contains("smime=pass"), "{knows}: {good}");
        assert!(lost.contains("smime=fail (revoked"), "{knows}: {lost}");
        // Without it, and without what is remembered of it, nothing is good.
        world.slapd.stop();
        world.gateway.kill();
        let state = world.gateway.folder.join("state");
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        world.gateway.restart();
        let good = world.good();
        assert!(good.contains("smime=temperror"), "{knows}: {good}");
    }
}

#[test]
fn what_is_poisoned_or_not_listed_changes_nothing() {
    let both = |slapd: &Slapd| {
        let urls = [list_url(slapd, POINT), list_url(slapd, POISONED)];
        format!("crl = [\"{}\", \"{}\"]", urls[0], urls[1])
    };
    let world = World::new(&Plan {
        fetch: &both,
        reach: reach(),
        knows: true,
    });
    wait_for("the list is there", || world.good().contains("smime=pass"));
    let before = world.status();
    let poisoned = world.crl(&["refresh", &list_url(&world.slapd, POISONED)]);
    assert_eq!(poisoned.status.code(), Some(65), "{}", words(&poisoned));
    assert_eq!(world.status(), before);

    let world = World::new(&Plan {
        fetch: &both,
        reach: String::new(),
        knows: true,
    });
    let forbidden = world.crl(&["refresh"]);
    assert_eq!(forbidden.status.code(), Some(69), "{}", words(&forbidden));
    let why = "is not connected to: loopback";
    assert!(words(&forbidden).contains(why), "{}", words(&forbidden));
    let good = world.good();
    assert!(good.contains("smime=temperror"), "{good}");
}

#[test]
fn over_tls_the_directory_has_to_prove_its_name() {
    let secure = |slapd: &Slapd| {
        let url = list_url(slapd, POINT);
        let plain = format!("ldap://{}", slapd.plain);
        let url = url.replace(&plain, &format!("ldaps://{}", slapd.secure));
        format!("crl = [\"{url}\"]")
    };
    let world = World::new(&Plan {
        fetch: &secure,
        reach: reach(),
        knows: true,
    });
    let strange = world.crl(&["refresh"]);
    assert_eq!(strange.status.code(), Some(69), "{}", words(&strange));
    assert!(words(&strange).contains("no TLS"), "{}", words(&strange));
    let file = world.gateway.folder.join("trust.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let ca = world.slapd.ca().display().to_string();
    let text = text.replace("[fetch]\n", &format!("[fetch]\nca = \"{ca}\"\n"));
    std::fs::write(&file, text).unwrap();
    let known = world.crl(&["refresh"]);
    assert!(known.status.success(), "{}", words(&known));
    wait_for("the list is there", || world.good().contains("smime=pass"));
}
