//! A real directory: OpenLDAP's slapd with people of a test's own, in clear, with StartTLS and with LDAPS, started and
//! stopped here.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::forge::certificates::{Authority, SERVER_AUTH, alt_names, ext_key_usage, pem};
use crate::forge::der::tlv;
use crate::forge::keys::Key;
use crate::world::{Folder, Process, free_address, run};

/// The entry below which everybody is.
pub const BASE: &str = "dc=example,dc=jp";
/// Who may read where nobody else may, and the password.
pub const READER: (&str, &str) = ("cn=reader,dc=example,dc=jp", "letmein");

/// Somebody in the directory.
#[derive(Clone, Debug)]
pub struct Entry(String);

impl Entry {
    /// A person of this name and no more.
    pub fn person(name: &str) -> Self {
        Self(format!(
            "dn: cn={name},{BASE}\nobjectClass: inetOrgPerson\nobjectClass: mailUser\ncn: {name}\nsn: {name}\n"
        ))
    }

    /// An entry that sends whoever comes by to another server.
    pub fn referral(name: &str, to: &str) -> Self {
        Self(format!(
            "dn: cn={name},{BASE}\nobjectClass: referral\nobjectClass: extensibleObject\ncn: {name}\nref: {to}\n"
        ))
    }

    /// A place where lists lie (RFC 4523 §3.2), as JPKI has one for each municipality.
    pub fn distribution_point(name: &str) -> Self {
        Self(format!(
            "dn: cn={name},{BASE}\nobjectClass: cRLDistributionPoint\ncn: {name}\n"
        ))
    }

    /// An authority of this name, whose certificates and lists may lie here (RFC 4523 §3.1).
    pub fn authority(name: &str) -> Self {
        Self(format!(
            "dn: cn={name},{BASE}\nobjectClass: organizationalRole\nobjectClass: pkiCA\ncn: {name}\n"
        ))
    }

    /// With another value of text.
    #[must_use]
    pub fn with(mut self, attribute: &str, text: &str) -> Self {
        let _ = writeln!(self.0, "{attribute}: {text}");
        self
    }

    /// With another value of octets.
    #[must_use]
    pub fn octets(mut self, attribute: &str, octets: &[u8]) -> Self {
        let text = openssl::base64::encode_block(octets).replace('\n', "");
        let _ = writeln!(self.0, "{attribute}:: {text}");
        self
    }

    /// With a certificate where most directories have it.
    #[must_use]
    pub fn certificate(self, certificate: &[u8]) -> Self {
        self.octets("userCertificate;binary", certificate)
    }
}

/// A running directory.
pub struct Slapd {
    /// In clear, or with StartTLS.
    pub plain: SocketAddr,
    /// TLS from the first byte.
    pub secure: SocketAddr,
    folder: Folder,
    process: Option<Process>,
}

impl Slapd {
    /// One that everybody may read.
    pub fn start(people: &[Entry]) -> Self {
        Self::start_for("access to * by * read\n", people)
    }

    /// One that only [`READER`] may read.
    pub fn start_private(people: &[Entry]) -> Self {
        Self::start_for("access to * by users read by anonymous auth\n", people)
    }

    fn start_for(access: &str, people: &[Entry]) -> Self {
        let folder = Folder::new();
        let authority = write_server_certificate(folder.path());
        std::fs::write(folder.join("ca.pem"), authority).unwrap();
        std::fs::create_dir(folder.join("db")).unwrap();
        let dir = folder.path().display();
        let (dn, password) = READER;
        let text = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\n\
             attributetype ( 1.3.6.1.4.1.99999.2.1 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch \
             SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n\
             objectclass ( 1.3.6.1.4.1.99999.2.2 NAME 'mailUser' SUP top AUXILIARY MAY proxyAddresses )\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             TLSCACertificateFile {dir}/ca.pem\nTLSCertificateFile {dir}/server.pem\n\
             TLSCertificateKeyFile {dir}/server.key\nTLSVerifyClient never\n\
             database mdb\nsuffix \"{BASE}\"\nrootdn \"cn=admin,{BASE}\"\ndirectory {dir}/db\n{access}"
        );
        std::fs::write(folder.join("slapd.conf"), text).unwrap();
        let mut ldif = format!(
            "dn: {BASE}\nobjectClass: domain\ndc: example\n\n\
             dn: {dn}\nobjectClass: person\ncn: reader\nsn: reader\nuserPassword: {password}\n\n"
        );
        for Entry(lines) in people {
            ldif.push_str(lines);
            ldif.push('\n');
        }
        std::fs::write(folder.join("people.ldif"), ldif).unwrap();
        run(Command::new("/usr/sbin/slapadd")
            .arg("-q")
            .arg("-f")
            .arg(folder.join("slapd.conf"))
            .arg("-l")
            .arg(folder.join("people.ldif")));
        let mut slapd = Self {
            plain: free_address(),
            secure: free_address(),
            folder,
            process: None,
        };
        slapd.restart();
        slapd
    }

    /// The authority of its certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Starts it (again) with the same people.
    pub fn restart(&mut self) {
        self.stop();
        let mut command = Command::new("/usr/sbin/slapd");
        command
            .arg("-f")
            .arg(self.folder.join("slapd.conf"))
            .arg("-h")
            .arg(format!("ldap://{}/ ldaps://{}/", self.plain, self.secure))
            // In the foreground, and silent.
            .args(["-d", "0"]);
        let mut process = Process::start(command, &self.folder.join("slapd.log"));
        process.ready(self.plain);
        process.ready(self.secure);
        self.process = Some(process);
    }

    /// Stops it as its administrator would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            process.wait();
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// SIGSTOP: it is there, and says nothing.
    pub fn pause(&mut self) {
        if let Some(process) = &mut self.process {
            process.pause();
        }
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        if let Some(process) = &mut self.process {
            process.resume();
        }
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(Signal::TERM);
        }
    }
}

/// A certificate for 127.0.0.1 and its key in `server.pem` and `server.key`; gives its authority in PEM.
pub fn write_server_certificate(folder: &Path) -> String {
    let authority = Authority::root("Server Root");
    let key = Key::p256();
    let mut form = authority.person_form("127.0.0.1", "server@example.jp", &key);
    form.extensions[0] = alt_names(&[tlv(0x87, &[127, 0, 0, 1])]);
    form.extensions[2] = ext_key_usage(&[SERVER_AUTH]);
    let server = authority.issue(&form, key.clone());
    let chain = pem("CERTIFICATE", &server.certificate);
    std::fs::write(folder.join("server.pem"), chain).unwrap();
    crate::world::write_secret(&folder.join("server.key"), &key.pem());
    pem("CERTIFICATE", &authority.certificate)
}
