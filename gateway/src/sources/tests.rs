use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenin_certstore::fetch::{Fetched, Fetching as Under, HttpError, Limits, Request, Sink};
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_policy::TrustPolicy;

use super::*;

/// An authority of the tests.
pub(crate) struct Ca {
    pub(crate) key: SoftKey,
    pub(crate) certificate: Certificate,
}

/// One of this name, below another or by itself.
pub(crate) fn ca(name: &str, above: Option<&Ca>) -> Ca {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let form = CertificateBuilder::new(common_name(name).unwrap(), key.public_key());
    let form = form.authority(None);
    let certificate = match above {
        Some(above) => form.issued_by(&above.certificate, &above.key),
        None => form.self_signed(&key),
    };
    Ca {
        certificate: certificate.unwrap(),
        key,
    }
}

/// The sources of a `trust.toml` whose anchors' files are `0.pem`, `1.pem` and so on.
pub(crate) fn read(trust: &str, anchors: &[&Ca]) -> Result<Option<Sources>, ConfigError> {
    let text = "hostname = \"a.b\"\n[next_hop]\naddress = \"[::1]:25\"\n[[listener]]\n\
                mode = \"after-queue\"\naddress = \"[::1]:10025\"\n";
    let config = Config::parse(text, Path::new("/nowhere/kenin.toml")).unwrap();
    let load = |path: &Path| -> Result<Vec<Certificate>, String> {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let place: usize = stem.and_then(|stem| stem.parse().ok()).unwrap();
        Ok(vec![anchors[place].certificate.clone()])
    };
    let policy = TrustPolicy::from_toml(trust, "trust.toml", &load).unwrap();
    Sources::read(&config, policy.fetching(), trust, &mut FileSet::default())
}

/// What a test put in the place of the network.
#[derive(Default)]
pub(crate) struct Canned {
    /// By URL.
    pub(crate) bodies: HashMap<String, Body>,
    pub(crate) asked: AtomicUsize,
}

/// Makes an answer from what was posted.
pub(crate) type Body = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

impl Canned {
    pub(crate) fn put(mut self, url: &str, body: Vec<u8>) -> Self {
        let body: Body = Box::new(move |_| body.clone());
        self.bodies.insert(url.to_owned(), body);
        self
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Fetch for Canned {
    fn fetch<'a>(
        &'a self,
        request: &'a Request<'a>,
        _limits: &'a Limits,
        sink: Sink<'a>,
    ) -> Under<'a> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let body = self.bodies.get(&request.place().to_string());
            let body = body.ok_or(HttpError::Status(404))?;
            let body = body(request.body().unwrap_or_default());
            for piece in body.chunks(1000) {
                sink(piece).map_err(HttpError::Sink)?;
            }
            Ok(Fetched {
                place: request.place().clone(),
                bytes: u64::try_from(body.len()).unwrap(),
            })
        })
    }
}

#[test]
fn without_an_entry_nothing_is_fetched() {
    let root = ca("Root", None);
    let text =
        "[fetch]\nallow_networks = [\"10.0.0.0/8\"]\n[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\n";
    assert!(read(text, &[&root]).unwrap().is_none());
}

#[test]
fn mistakes_are_told_at_their_place() {
    let root = ca("Root", None);
    let anchor = "[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\n";
    let fetch = "fetch = { crl = [\"http://ca.example/a.crl\"] }\n";
    for (text, line, words) in [
        (
            format!("{anchor}fetch = {{ crl = [\"gopher://x/\"] }}\n"),
            4,
            "only http, https",
        ),
        (
            format!("{anchor}[anchor.fetch]\ncrl = [\n\"http://a@b/\"]\n"),
            6,
            "user's name",
        ),
        (
            format!("{anchor}fetch = {{ crl = [\"ldap://dir.example/cn=CA\"] }}\n"),
            4,
            "nothing of it",
        ),
        (
            format!("{anchor}fetch = {{ ocsp = \"ldap://dir.example/cn=CA?x\" }}\n"),
            4,
            "over HTTP",
        ),
        (
            format!("{anchor}fetch = {{ ocsp = \"http://ca.example:8080\" }}\n"),
            4,
            "port 8080",
        ),
        (
            format!(
                "{anchor}fetch = {{ from_certificates = true, hosts = [\"ca.example:80\"] }}\n"
            ),
            4,
            "name of a host",
        ),
        (
            format!("{anchor}{fetch}[fetch]\nallow_networks = [\"10.1.2.3/8\"]\n"),
            6,
            "behind the prefix",
        ),
        (
            format!("{anchor}{fetch}[fetch]\nca = \"lost.pem\"\n"),
            6,
            "lost.pem",
        ),
    ] {
        let error = read(&text, &[&root]).unwrap_err();
        let place = error.place.as_ref().unwrap();
        assert_eq!(place.line, line, "{text} {error}");
        assert!(error.to_string().contains(words), "{text} {error}");
    }
}

#[test]
fn only_listed_hosts_are_fetched_from() {
    let root = ca("Root", None);
    let text = "[fetch]\nports = [8080]\n[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\n\
                fetch = { from_certificates = true, hosts = [\"CRL.example.jp\", \"192.0.2.7\"] }\n";
    let sources = read(text, &[&root]).unwrap().unwrap();
    for url in [
        "http://crl.example.jp/a",
        "https://crl.example.jp:8080/a",
        "http://192.0.2.7/",
        "ldap://crl.example.jp/cn=CA?certificateRevocationList;binary",
        "ldaps://crl.example.jp/cn=CA?cACertificate",
    ] {
        assert!(sources.listed(url).is_some(), "{url}");
    }
    for url in [
        "http://ocsp.example.jp/",
        "http://crl.example.jp.evil.example/",
        "http://evil.example/?http://crl.example.jp/",
        "http://crl.example.jp@evil.example/",
        "http://crl.example.jp:25/",
        "ldap://crl.example.jp/cn=CA",
        "ldap:///cn=CA?certificateRevocationList;binary",
        "ldap://dir.example.jp/cn=CA?certificateRevocationList;binary",
        "file:///etc/passwd",
        "http://3221225991/",
        "",
    ] {
        assert!(sources.listed(url).is_none(), "{url}");
    }
}

#[test]
fn an_authority_counts_below_its_own_anchor_only() {
    let (root, other) = (ca("Root", None), ca("Other", None));
    let middle = ca("Middle", Some(&root));
    let low = ca("Low", Some(&middle));
    // Another key in the same name proves nothing.
    let false_root = ca("Root", None);
    let impostor = ca("Low", Some(&false_root));
    let text = "[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\nfetch = { crl = [\"http://a.example/\"] }\n\
                [[anchor]]\nname = \"b\"\nfile = \"1.pem\"\nfetch = { crl = [\"http://b.example/\"] }\n";
    let sources = read(text, &[&root, &other]).unwrap().unwrap();
    let known = CertStore::new(vec![middle.certificate.clone()], Vec::new(), &[]);
    let names = |authority: &Ca| -> Vec<String> {
        let above = sources.above(&authority.certificate, &known, &[]);
        above.iter().map(|entry| entry.name.clone()).collect()
    };
    for authority in [&root, &middle, &low] {
        assert_eq!(names(authority), ["a"]);
    }
    assert_eq!(names(&other), ["b"]);
    assert!(names(&false_root).is_empty() && names(&impostor).is_empty());
    assert!(sources.tell_of(&low.certificate, &known));
    let nothing = CertStore::default();
    assert!(sources.above(&low.certificate, &nothing, &[]).is_empty());
    let more = [middle.certificate.clone()];
    assert_eq!(sources.above(&low.certificate, &nothing, &more).len(), 1);
}
