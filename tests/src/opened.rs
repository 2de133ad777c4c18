//! A gateway that opens mail for people whose keys it holds.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::OnceLock;

use crate::forge::certificates::{Person, pem};
use crate::forge::enveloped::{self, Way, encrypted, reader, reader_by_agreement};
use crate::forge::mime;
use crate::kenin::{Gateway, Setup};
use crate::memory::written;
use crate::parts;
use crate::sink::Received;
use crate::world::{files, run, wait_for, write_secret};

/// Whose mail others want to read.
pub const BOB: &str = "bob@opened.example";
/// Somebody in the same house, with a key there too.
pub const MALLORY: &str = "mallory@opened.example";
/// A third one, with a key of P-256.
pub const CAROL: &str = "carol@opened.example";

/// Their certificates and private keys.
pub struct People {
    /// Of [`BOB`].
    pub bob: Person,
    /// Of [`MALLORY`].
    pub mallory: Person,
    /// Of [`CAROL`].
    pub carol: Person,
    /// Of somebody who has no key there.
    pub stranger: Person,
}

impl People {
    /// Those of this process.
    pub fn get() -> &'static Self {
        static PEOPLE: OnceLock<People> = OnceLock::new();
        PEOPLE.get_or_init(|| Self {
            bob: reader("Bob", BOB),
            mallory: reader("Mallory", MALLORY),
            carol: reader_by_agreement("Carol", CAROL),
            stranger: reader("Stranger", "stranger@elsewhere.example"),
        })
    }
}

/// A gateway that can open mail.
pub fn setup(next_hop: SocketAddr) -> Setup {
    Setup {
        tables: TABLES.to_owned(),
        ..Setup::new(next_hop)
    }
}

/// What a gateway that can open mail has in its configuration besides.
pub const TABLES: &str =
    "[keys]\nkey_file = \"kek\"\n[quarantine]\nkey_file = \"quarantine.key\"\n";

/// Writes the secrets that [`TABLES`] names.
pub fn write_secrets(gateway: &Gateway) {
    write_secret(&gateway.folder.join("kek"), &[7; 32]);
    write_secret(&gateway.folder.join("quarantine.key"), &[8; 32]);
}

/// Starts it with the keys of Bob, Mallory and Carol.
pub fn started(setup: &Setup) -> Gateway {
    let mut gateway = prepared(setup);
    gateway.restart();
    gateway
}

/// The same, not started.
pub fn prepared(setup: &Setup) -> Gateway {
    let gateway = Gateway::prepare(setup);
    write_secrets(&gateway);
    let people = People::get();
    for person in [&people.bob, &people.mallory, &people.carol] {
        import(&gateway, person, &[]);
    }
    gateway
}

/// Takes somebody's key in, for the addresses in the certificate or for these. Says its id.
pub fn import(gateway: &Gateway, person: &Person, addresses: &[&str]) -> String {
    import_under(&[], gateway, person, addresses)
}

/// The same, with words in front of the command line.
pub fn import_under(
    prefix: &[String],
    gateway: &Gateway,
    person: &Person,
    addresses: &[&str],
) -> String {
    let file = gateway.folder.join("new-key.pem");
    let certificate = pem("CERTIFICATE", &person.certificate);
    let both = [person.key.pem().as_slice(), certificate.as_bytes()].concat();
    write_secret(&file, &both);
    let mut words: Vec<OsString> = prefix.iter().map(OsString::from).collect();
    words.push(parts::kenin().into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command.args(["key", "import", "--config"]);
    command.arg(gateway.config()).arg(&file);
    for address in addresses {
        command.args(["--for", address]);
    }
    let id = run(command.env_remove("KENIN_CONFIG"));
    std::fs::remove_file(&file).unwrap();
    String::from_utf8(id).unwrap().trim().to_owned()
}

/// Puts somebody's certificate into the store, for mail that is encrypted here.
pub fn keep(gateway: &Gateway, person: &Person) {
    let file = gateway.folder.join("kept.pem");
    std::fs::write(&file, pem("CERTIFICATE", &person.certificate)).unwrap();
    let mut command = Command::new(parts::kenin());
    command.args(["cert", "import", "--config"]);
    command.arg(gateway.config()).arg(&file);
    run(command.env_remove("KENIN_CONFIG"));
}

/// A text in a part of its own.
pub fn text(canary: &str) -> Vec<u8> {
    mime::text(&format!("For your eyes only: {canary}"))
}

/// A mail from an address outside to Bob, with a Message-ID; what is in it is encrypted for Bob.
pub fn to_bob(way: Way, from: &str, id: &str, entity: &[u8]) -> Vec<u8> {
    let object = encrypted(way, &[&People::get().bob], entity);
    enveloped::mail(&enveloped::fields(from, id), &object)
}

/// Waits until a private key has been used so often, as the key process tells, and not once more.
pub fn used(gateway: &Gateway, times: usize) {
    told(gateway, "a key was used", times);
}

/// Waits until the log, which is written beside the mail, has told this so often, and not once more.
///
/// # Panics
/// When it told it more often.
pub fn told(gateway: &Gateway, text: &str, times: usize) {
    let said = || {
        let log = gateway.log();
        log.lines().filter(|line| line.contains(text)).count()
    };
    wait_for(text, || said() >= times);
    assert_eq!(said(), times, "{text}");
}

/// How many recipients came out in this state, as the metrics tell.
pub fn states(gateway: &Gateway, state: &str) -> u64 {
    let (_, text) = gateway.get("/metrics");
    let name = format!("kenin_decryptions_total{{state=\"{state}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

/// The one mail that this recipient got.
///
/// # Panics
/// When there is none, or another one.
pub fn of<'m>(mails: &'m [Received], recipient: &str) -> &'m Received {
    let line = format!("RCPT TO:<{recipient}>");
    let got = mails.iter().filter(|mail| {
        let mut all = mail.recipients.iter();
        all.any(|own| own.starts_with(&line))
    });
    let got: Vec<&Received> = got.collect();
    assert_eq!(got.len(), 1, "{recipient}");
    got[0]
}

/// Whether a mail arrived as it was sent, with nothing but a trace field on top.
pub fn is_as_it_came(mail: &Received, raw: &[u8]) -> bool {
    let before = mail.raw.strip_suffix(raw);
    before.is_some_and(|before| {
        let lines = before.split(|octet| *octet == b'\n');
        let begins = |line: &&[u8]| !matches!(line.first(), None | Some(b' ' | b'\t'));
        let mut begun = lines.filter(begins);
        begun.all(|line| line.starts_with(b"Received:"))
    })
}

/// What nobody else may find, however it is written: this text, everybody's private keys, these content-encryption keys.
pub fn secrets(canary: &str, content_keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let people = People::get();
    let three = [&people.bob, &people.mallory, &people.carol];
    let pieces = three.map(|person| person.key.private_pieces()).concat();
    let mut all = enveloped::forms(canary);
    all.extend(
        pieces
            .iter()
            .chain(content_keys)
            .flat_map(|one| written(one)),
    );
    all
}

/// What it tells of itself, in a file beside all else that it writes.
pub fn keep_metrics(gateway: &Gateway) {
    let (status, text) = gateway.get("/metrics");
    assert_eq!(status, 200);
    std::fs::write(gateway.folder.join("metrics"), text).unwrap();
}

/// The places in a gateway's folder, its log among them, where a text stands in clear.
pub fn traces(gateway: &Gateway, canary: &str) -> Vec<String> {
    let all = files(gateway.folder.path()).into_iter();
    let shows = all.filter(|path| {
        let octets = std::fs::read(path).unwrap_or_default();
        enveloped::shows(&octets, canary)
    });
    shows.map(|path| path.display().to_string()).collect()
}
