//! What may be fetched and from where: `[fetch]` and `[anchor.fetch]` of `trust.toml`, as written.
//!
//! Nothing is fetched for an authority that is not named here. Whether a URL or network can be used is for who
//! fetches; every word comes with its place, so that a mistake in it can be told.

use std::ops::Range;

use kenin_pki::certificate::Certificate;
use serde::Deserialize;
use toml::Spanned;

use crate::toml_error::{self, ConfigError};

/// What may be fetched from a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetching {
    /// Networks in CIDR form that may be connected to although they are nobody's in public.
    pub networks: Vec<Written>,
    /// Ports that may be connected to besides those of HTTP and LDAP.
    pub ports: Vec<u16>,
    /// A PEM file of the authorities of web servers, instead of the public ones.
    pub ca: Option<Written>,
    /// Of each entry that has any, in the order written.
    pub sources: Vec<Sources>,
}

/// Where the status and the issuers of certificates below one `[[anchor]]` may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The name of the entry.
    pub anchor: String,
    /// The certificates of its file.
    pub certificates: Vec<Certificate>,
    /// URLs of revocation lists that are kept fresh.
    pub crl: Vec<Written>,
    /// The URL of a responder (RFC 6960) that is asked instead of those that certificates name.
    pub ocsp: Option<Written>,
    /// A responder is asked even where a fresh list tells the status.
    pub prefer_ocsp: bool,
    /// The hosts whose URLs in certificates may be fetched; none without `from_certificates`.
    pub hosts: Vec<Written>,
}

/// A word of the file and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The word.
    pub text: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Written {
    fn new(word: &Spanned<String>, text: &str) -> Self {
        let (line, column) = toml_error::place(text, word.span().start);
        Self {
            text: word.get_ref().clone(),
            line,
            column,
        }
    }
}

/// `[fetch]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchTable {
    #[serde(default)]
    allow_networks: Vec<Spanned<String>>,
    #[serde(default)]
    ports: Vec<Spanned<u16>>,
    ca: Option<Spanned<String>>,
}

impl FetchTable {
    pub(super) fn read(&self, text: &str, file: &str) -> Result<Fetching, ConfigError> {
        if let Some(zero) = self.ports.iter().find(|port| *port.get_ref() == 0) {
            let what = "0 is no port; write one from 1 to 65535";
            return Err(ConfigError::at(file, text, zero.span(), what));
        }
        let written = |word| Written::new(word, text);
        Ok(Fetching {
            networks: self.allow_networks.iter().map(written).collect(),
            ports: self.ports.iter().map(|port| *port.get_ref()).collect(),
            ca: self.ca.as_ref().map(written),
            sources: Vec::new(),
        })
    }
}

/// `[anchor.fetch]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchEntry {
    #[serde(default)]
    crl: Vec<Spanned<String>>,
    ocsp: Option<Spanned<String>>,
    prefer: Option<Spanned<Prefer>>,
    #[serde(default)]
    from_certificates: bool,
    hosts: Option<Spanned<Vec<Spanned<String>>>>,
}

/// What is wrong: with the table, or at a place in it.
pub(super) enum Mistake {
    Whole(&'static str),
    At(ConfigError),
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Prefer {
    Crl,
    Ocsp,
}

impl FetchEntry {
    pub(super) fn read(
        &self,
        anchor: String,
        certificates: Vec<Certificate>,
        text: &str,
        file: &str,
    ) -> Result<Sources, Mistake> {
        let at = |span: Range<usize>, what: &str| {
            Mistake::At(ConfigError::at(file, text, span, what.to_owned()))
        };
        let hosts = self.hosts.as_ref().map(Spanned::get_ref);
        if self.crl.is_empty() && self.ocsp.is_none() && !self.from_certificates {
            let what =
                "it fetches nothing; write crl, ocsp, or from_certificates = true with hosts";
            return Err(Mistake::Whole(what));
        }
        // Any host would be any machine that whoever makes a certificate likes to have asked.
        if self.from_certificates && hosts.is_none_or(Vec::is_empty) {
            let what = "from_certificates needs hosts: those whose URLs may be fetched";
            return Err(Mistake::Whole(what));
        }
        let listed = self
            .hosts
            .as_ref()
            .filter(|hosts| !hosts.get_ref().is_empty());
        if let Some(hosts) = listed.filter(|_| !self.from_certificates) {
            let what = "hosts are for from_certificates = true, and count for nothing without it";
            return Err(at(hosts.span(), what));
        }
        let prefers = |prefer: &&Spanned<Prefer>| *prefer.get_ref() == Prefer::Ocsp;
        let prefer = self.prefer.as_ref().filter(prefers);
        if let Some(prefer) = prefer.filter(|_| self.ocsp.is_none() && !self.from_certificates) {
            let what = "there is no responder to prefer; write ocsp = \"http://…\"";
            return Err(at(prefer.span(), what));
        }
        let written = |word| Written::new(word, text);
        Ok(Sources {
            anchor,
            certificates,
            crl: self.crl.iter().map(written).collect(),
            ocsp: self.ocsp.as_ref().map(written),
            prefer_ocsp: prefer.is_some(),
            hosts: hosts.into_iter().flatten().map(written).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::testing::World;
    use crate::trust::TrustPolicy;

    use super::*;

    fn parse(text: &str) -> Result<TrustPolicy, ConfigError> {
        let world = World::new();
        let load = |_: &Path| Ok(vec![world.root.certificate.clone()]);
        TrustPolicy::from_toml(text, "trust.toml", &load)
    }

    fn words(written: &[Written]) -> Vec<&str> {
        written.iter().map(|one| one.text.as_str()).collect()
    }

    #[test]
    fn all_settings() {
        let policy = parse(
            r#"
[fetch]
allow_networks = ["10.1.2.0/24", "192.0.2.1"]
ports = [8080]
ca = "web.pem"
[[anchor]]
name = "a"
file = "a.pem"
[anchor.fetch]
crl = ["http://crl.example.jp/a.crl",
  "http://crl.example.jp/b.crl"]
ocsp = "http://ocsp.example.jp"
prefer = "ocsp"
from_certificates = true
hosts = ["crl.example.jp"]
[[anchor]]
name = "b"
file = "b.pem"
use = ["time-stamping"]
fetch = { crl = ["http://tsa.example/c.crl"], prefer = "crl", from_certificates = false, hosts = [] }
[[anchor]]
name = "c"
file = "c.pem"
"#,
        )
        .unwrap();
        let fetching = policy.fetching();
        assert_eq!(words(&fetching.networks), ["10.1.2.0/24", "192.0.2.1"]);
        assert_eq!(fetching.ports, [8080]);
        assert_eq!(fetching.ca.as_ref().unwrap().text, "web.pem");
        let [a, b] = &fetching.sources[..] else {
            panic!("{fetching:?}")
        };
        assert_eq!((a.anchor.as_str(), a.certificates.len()), ("a", 1));
        assert_eq!(a.crl.len(), 2);
        assert_eq!((a.crl[1].line, a.crl[1].column), (11, 3));
        assert_eq!(a.ocsp.as_ref().unwrap().text, "http://ocsp.example.jp");
        assert!(a.prefer_ocsp);
        assert_eq!(words(&a.hosts), ["crl.example.jp"]);
        assert_eq!(b.anchor, "b");
        assert!(b.ocsp.is_none() && !b.prefer_ocsp && b.hosts.is_empty());
    }

    #[test]
    fn nothing_is_fetched_that_is_not_written() {
        let policy = parse("[[anchor]]\nname = \"a\"\nfile = \"a.pem\"\n").unwrap();
        assert_eq!(*policy.fetching(), Fetching::default());
    }

    #[test]
    fn mistakes_have_a_place() {
        let anchor = "[[anchor]]\nname = \"a\"\nfile = \"a.pem\"\n";
        for (lines, line, words) in [
            ("fetch = {}\n", 4, "fetches nothing"),
            ("fetch = { crl = [] }\n", 4, "fetches nothing"),
            ("fetch = { from_certificates = true }\n", 4, "needs hosts"),
            (
                "fetch = { from_certificates = true, hosts = [] }\n",
                4,
                "needs hosts",
            ),
            (
                "[anchor.fetch]\ncrl = [\"http://a/\"]\nhosts = [\"a\"]\n",
                6,
                "count for nothing",
            ),
            (
                "[anchor.fetch]\ncrl = [\"http://a/\"]\nprefer = \"ocsp\"\n",
                6,
                "no responder",
            ),
            (
                "[anchor.fetch]\ncrl = [\"http://a/\"]\nprefer = \"ocps\"\n",
                6,
                "did you mean \"ocsp\"",
            ),
            (
                "[anchor.fetch]\ncrls = [\"http://a/\"]\n",
                5,
                "did you mean \"crl\"",
            ),
            ("[anchor.fetch]\ncrl = \"http://a/\"\n", 5, ""),
            ("[fetch]\nports = [0]\n", 5, "no port"),
            ("[fetch]\nports = [70000]\n", 5, ""),
            ("[fetch]\nnetworks = []\n", 5, "unknown field"),
        ] {
            let text = format!("{anchor}{lines}");
            let error = parse(&text).unwrap_err();
            assert_eq!(error.line, line, "{lines} {error}");
            assert!(error.to_string().contains(words), "{lines} {error}");
        }
    }
}
