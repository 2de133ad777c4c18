//! A time stamp authority (RFC 3161) by the `openssl` program: what it stamps, Kenin had no hand in.
//!
//! Its clock is the system's, so that a test takes its own times from [`year_of`] a token.

use std::path::PathBuf;
use std::process::Command;

use crate::forge::certificates::{Authority, extension, key_usage, pem};
use crate::forge::der::{oid, seq};
use crate::forge::keys::Key;
use crate::world::{Folder, run};

/// id-aa-timeStampToken.
pub const TIME_STAMP_TOKEN: &str = "1.2.840.113549.1.9.16.2.14";
/// id-kp-timeStamping.
const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";

/// An authority for time stamps below a root of its own.
pub struct Tsa {
    /// Its root.
    pub root: Authority,
    /// The serial number of the certificate that it stamps with.
    pub serial: Vec<u8>,
    folder: Folder,
}

impl Tsa {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let root = Authority::root(&format!("{name} Root"));
        let key = Key::p256();
        let mut form = root.person_form(name, "tsa@times.example", &key);
        // RFC 3161 §2.3: critical, and for nothing else.
        form.extensions = vec![
            key_usage(0xc0),
            extension("2.5.29.37", true, &seq([oid(TIME_STAMPING)])),
        ];
        let own = root.issue(&form, key);
        let folder = Folder::new();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
        write("tsa.pem", pem("CERTIFICATE", &own.certificate).as_bytes());
        write("tsa.key", &own.key.pem());
        write("root.pem", pem("CERTIFICATE", &root.certificate).as_bytes());
        let file = |name: &str| folder.join(name).display().to_string();
        let configuration = format!(
            "[tsa]\ndefault_tsa = own\n[own]\nserial = {}\nsigner_cert = {}\nsigner_key = {}\n\
             signer_digest = sha256\ndefault_policy = 1.3.6.1.4.1.99999.7\ndigests = sha256\n\
             accuracy = secs:1\ness_cert_id_alg = sha256\n",
            file("serial"),
            file("tsa.pem"),
            file("tsa.key"),
        );
        write("tsa.cnf", configuration.as_bytes());
        Self {
            root,
            serial: own.serial,
            folder,
        }
    }

    /// The TimeStampToken over the octets of a signature, its authority's certificate inside.
    pub fn stamp(&self, signature_octets: &[u8]) -> Vec<u8> {
        std::fs::write(self.file("stamped"), signature_octets).unwrap();
        let mut query = self.openssl("-query");
        query.arg("-data").arg(self.file("stamped"));
        query.args(["-sha256", "-cert", "-out"]);
        run(query.arg(self.file("query.tsq")));
        let mut reply = self.openssl("-reply");
        reply.arg("-queryfile").arg(self.file("query.tsq"));
        reply.args(["-token_out", "-out"]);
        run(reply.arg(self.file("token.der")));
        std::fs::read(self.file("token.der")).unwrap()
    }

    /// Whether `openssl` finds a token over these octets to be this authority's.
    pub fn accepts(&self, token: &[u8], signature_octets: &[u8]) -> bool {
        std::fs::write(self.file("checked"), signature_octets).unwrap();
        std::fs::write(self.file("checked.der"), token).unwrap();
        let mut command = Command::new("openssl");
        command.args(["ts", "-verify", "-token_in", "-in"]);
        command.arg(self.file("checked.der"));
        command.arg("-data").arg(self.file("checked"));
        command.arg("-CAfile").arg(self.file("root.pem"));
        command.output().unwrap().status.success()
    }

    fn openssl(&self, what: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(["ts", what, "-config"]);
        command.arg(self.file("tsa.cnf"));
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The year in which a token was made: of its genTime, the only GeneralizedTime to the second in it.
pub fn year_of(token: &[u8]) -> u32 {
    let time = token
        .windows(17)
        .filter_map(|bytes| bytes.strip_prefix(b"\x18\x0f"))
        .find(|text| text[14] == b'Z' && text[..14].iter().all(u8::is_ascii_digit))
        .expect("a token has a genTime");
    std::str::from_utf8(&time[..4]).unwrap().parse().unwrap()
}
