//! What a worker judges by: told once, at its start, and made into a snapshot of its own, which has no store, no network and
//! no private key. It is made of what the edge holds, not of the files as they are by now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kenin_certstore::{CertStore, FileSet, Fingerprint};
use kenin_keys::octets::Malformed;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{PublicKey, SigningKey};
use kenin_policy::{MailRules, PathCache, StampKey, TrustPolicy, Wrapper};

use super::codec::{Coded, coded};
use crate::config::Config;
use crate::protect::Means;
use crate::snapshot::{Snapshot, State, Texts};

/// All that a worker is told before its first mail.
pub(super) struct Outfit {
    /// Files of settings.
    settings: Vec<(PathBuf, String)>,
    trust: String,
    rules: String,
    /// Of anchors, by the path as written.
    named: Vec<(PathBuf, Vec<Certificate>)>,
    /// Known besides.
    known: Vec<Certificate>,
    revision: String,
    /// The public half of the key of the statement, if there is one.
    stamp: Option<Vec<u8>>,
    /// What wraps mail, if there is something.
    wrap: Option<Wrap>,
}

struct Wrap {
    /// Its own first.
    certificates: Vec<Certificate>,
    service: String,
}

coded!(Outfit {
    settings,
    trust,
    rules,
    named,
    known,
    revision,
    stamp,
    wrap,
});

coded!(Wrap {
    certificates,
    service,
});

impl Coded for PathBuf {
    fn write(&self, out: &mut kenin_keys::octets::Writer) {
        use std::os::unix::ffi::OsStrExt;
        out.octets(self.as_os_str().as_bytes());
    }

    fn read(from: &mut kenin_keys::octets::Reader<'_>) -> Result<Self, Malformed> {
        use std::os::unix::ffi::OsStringExt;
        let octets = Vec::<u8>::read(from)?;
        Ok(std::ffi::OsString::from_vec(octets).into())
    }
}

/// Which of the gateway's keys signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That of the statement.
    Statement,
    /// That of what mail is wrapped in.
    Wrapping,
}

impl Outfit {
    /// For who judges as this snapshot does.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let stamp = snapshot.key.as_ref();
        let wrap = snapshot.wrapper.as_ref();
        Self {
            settings: snapshot.config.texts(),
            trust: snapshot.texts.trust.clone(),
            rules: snapshot.texts.mail.clone(),
            named: snapshot.texts.certificates.clone(),
            known: snapshot.known.intermediates().to_vec(),
            revision: snapshot.revision.clone(),
            stamp: stamp.map(|key| key.public_key().spki().to_vec()),
            wrap: wrap.map(|wrap| Wrap {
                certificates: wrap.certificates().cloned().collect(),
                service: wrap.service().to_owned(),
            }),
        }
    }

    /// The snapshot; `key` makes a key that signs elsewhere, of its public half.
    ///
    /// # Errors
    /// What does not read. It was read before, so that is a mistake of ours.
    pub(super) fn snapshot(
        self,
        key: impl Fn(Whose, PublicKey) -> Box<dyn SigningKey>,
    ) -> Result<Snapshot, String> {
        let config = Config::of_texts(self.settings).map_err(|error| error.to_string())?;
        let config = Arc::new(config);
        let load = |path: &Path| -> Result<Vec<Certificate>, String> {
            let named = self.named.iter().find(|(named, _)| named == path);
            let named = named.map(|(_, certificates)| certificates.clone());
            named.ok_or_else(|| "is not here".to_owned())
        };
        let file = config.trust_file();
        let trust = TrustPolicy::from_toml(&self.trust, &file.to_string_lossy(), &load)
            .map_err(|error| error.to_string())?;
        let file = config.mail_file();
        let mail = MailRules::from_toml(&self.rules, &file.to_string_lossy())
            .map_err(|error| error.to_string())?;
        let stamp = self.stamp.map(|spki| -> Result<StampKey, String> {
            let public = PublicKey::from_spki(&spki).map_err(|error| error.to_string())?;
            let key = StampKey::new(key(Whose::Statement, public));
            key.map_err(|error| error.to_string())
        });
        let wrapper = self.wrap.map(|wrap| -> Result<Wrapper, String> {
            let own = wrap
                .certificates
                .first()
                .ok_or("no certificate to wrap with")?;
            let signs = key(Whose::Wrapping, own.public_key().clone());
            let made = Wrapper::new(signs, wrap.certificates, &wrap.service);
            made.map_err(|error| error.to_string())
        });
        Ok(Snapshot {
            config,
            trust,
            mail,
            without_rules: false,
            known: CertStore::new(self.known, Vec::new(), &[]),
            key: stamp.transpose()?,
            key_trouble: None,
            arc: None,
            arc_trouble: None,
            wrapper: wrapper.transpose()?,
            wrap_trouble: None,
            paths: PathCache::default(),
            revision: self.revision,
            files: FileSet::default(),
            state: State {
                files: Fingerprint::default(),
                store: 0,
            },
            fronts: Vec::new(),
            texts: Texts::default(),
            store: None,
            sources: None,
            asked: Arc::default(),
            means: Means::default(),
        })
    }
}
