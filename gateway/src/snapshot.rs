//! Everything that a verdict depends on besides the message, at one moment: immutable, built
//! whole or not at all, swapped behind an atomic pointer.

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kenin_certstore::{
    CertStore, ClockMark, DEFAULT_TENANT, FetchedList, FileSet, FileState, Fingerprint,
    RevocationIndex, Store, StoreError, read_certificates, read_limited,
};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::{DigestAlgorithm, Digester};
use kenin_policy::{MailRules, PathCache, StampKey, TrustPolicy, Wrapper};
use tracing::warn;

use crate::arc::Sealer;
use crate::config::{Config, ConfigError, Listener, ListenerMode, Place};
use crate::front::{self, Front};
use crate::protect::Means;
use crate::sources::Sources;
use crate::status::Asked;
use crate::store::{self, OpenError};
use crate::{keyfile, wrapper};

/// Settings, trust, mail rules, what is known, and the key of the stamp.
#[derive(Debug)]
pub struct Snapshot {
    /// `kenin.toml`.
    pub config: Arc<Config>,
    /// `trust.toml`.
    pub trust: TrustPolicy,
    /// `mail.toml`.
    pub mail: MailRules,
    /// Whether there is no `mail.toml`, which says the same as an empty one.
    pub without_rules: bool,
    /// Intermediates and revocation lists, from files and store.
    pub known: CertStore,
    /// The key of `X-Kenin-Verdict`; without it the field is not written.
    pub key: Option<StampKey>,
    /// Why the key that the settings name cannot be used, if so.
    pub key_trouble: Option<ConfigError>,
    /// Seals mail that is changed; without it changed mail goes on unsealed.
    pub(crate) arc: Option<Sealer>,
    /// Why `[arc]` cannot be used, if so.
    pub arc_trouble: Option<ConfigError>,
    /// Signs what mail is wrapped in; without it mail is stamped only.
    pub wrapper: Option<Wrapper>,
    /// Why `[wrap]` cannot be used, if so.
    pub wrap_trouble: Option<ConfigError>,
    /// Paths found valid before; as short-lived as the snapshot.
    pub paths: PathCache,
    /// A short name of all that: equal inputs have equal revisions, on every node.
    pub revision: String,
    /// The files it was made of, to watch.
    pub files: FileSet,
    /// The state that files and store were in, or an earlier one.
    pub state: State,
    /// What the front end needs to know, one a listener.
    pub fronts: Vec<Front>,
    /// What trust and mail rules were read from, for who reads them again elsewhere.
    pub(crate) texts: Texts,
    /// Asked for what does not lie in the snapshot.
    pub(crate) store: Option<Store>,
    /// What may be fetched, if anything.
    pub(crate) sources: Option<Sources>,
    /// What was fetched for messages; handed on from one snapshot to the next.
    pub(crate) asked: Arc<Asked>,
    /// What it takes to protect mail; its places are handed on while the settings are the same.
    pub(crate) means: Means,
}

/// The texts of `trust.toml` and `mail.toml`, and the certificates that the former names by file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    pub(crate) trust: String,
    pub(crate) mail: String,
    /// By the path as written.
    pub(crate) certificates: Vec<(PathBuf, Vec<Certificate>)>,
}

/// The state of everything that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Of the files.
    pub files: Fingerprint,
    /// The store's counter of changes; -1 when it does not answer.
    pub store: i64,
}

/// What [`Parts::read`] read from files, before the store is asked.
pub struct Parts {
    config: Arc<Config>,
    trust: TrustPolicy,
    mail: MailRules,
    without_rules: bool,
    key: Option<StampKey>,
    key_trouble: Option<ConfigError>,
    arc: Option<Sealer>,
    arc_trouble: Option<ConfigError>,
    wrapper: Option<Wrapper>,
    wrap_trouble: Option<ConfigError>,
    sources: Option<Sources>,
    means: Means,
    files: FileSet,
    seen: Fingerprint,
    lists: Arc<RevocationIndex>,
    loaded: kenin_certstore::Loaded,
    revision: Digester,
    fronts: Vec<Front>,
    texts: Texts,
}

impl Snapshot {
    /// Shares with another what is remembered of who was asked what.
    pub(crate) fn asks_like(&mut self, other: &Self) {
        self.asked = Arc::clone(&other.asked);
        self.paths = PathCache::following(self.asked.news().clone());
    }

    /// Reads all files and the store. An error names the file that is to blame.
    pub async fn build(config: Arc<Config>, store: Option<&Store>) -> Result<Self, ConfigError> {
        Self::build_after(config, store, None).await
    }

    /// The same where another one is in force: a long list that is open there is not looked through again, and stands
    /// in for a newer one that is not at hand yet.
    pub async fn build_after(
        config: Arc<Config>,
        store: Option<&Store>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        // A reload may name another folder.
        make_folders(&config).map_err(|text| config.mistake("state_dir", text))?;
        let held = before.map_or(&[][..], |before| before.known.all_crls());
        let open = held.to_vec();
        // Reading a large revocation list takes long enough to hold up other work.
        let read = move || {
            let lists = RevocationIndex::open(&lists_folder(&config)).map_err(blame)?;
            Parts::read(config, Arc::new(lists.holding(&open)))
        };
        let parts = match tokio::task::spawn_blocking(read).await {
            Ok(parts) => parts?,
            Err(error) => return Err(ConfigError::new("", format!("cannot read: {error}"))),
        };
        let Some(store) = store else {
            return Ok(parts.with(Vec::new(), Vec::new()));
        };
        let number = revision(Some(store)).await;
        let certificates = store.authorities(DEFAULT_TENANT).await.map_err(blame)?;
        let lists = Arc::clone(&parts.lists);
        let crls = store.crls(DEFAULT_TENANT, &lists).await.map_err(blame)?;
        let mut snapshot = parts.with_stand_ins(certificates, crls, held);
        snapshot.wait_for_absent(&lists, held);
        // Remembered, so that putting an older list in the file's place takes nothing back.
        let mut kept = 0;
        for (crl, by) in snapshot.known.signed_crls() {
            let new = store
                .put_crl(DEFAULT_TENANT, crl, by)
                .await
                .map_err(blame)?;
            kept += i64::from(new);
        }
        let in_use = snapshot.known.all_crls().iter();
        lists.keep_only(&in_use.map(|crl| *crl.sha256()).collect());
        snapshot.state.store = number.saturating_add(kept);
        snapshot.store = Some(store.clone());
        Ok(snapshot)
    }

    /// Long lists that the store knows, and whose index is not here: until it is, nobody who might be on one is good.
    pub(crate) fn absent_lists(&self) -> impl Iterator<Item = &Crl> {
        let all = self.known.all_crls().iter();
        all.filter(|crl| crl.is_absent())
    }

    /// Watches for the indexes of lists that are not at hand, and says which those are, once.
    fn wait_for_absent(&mut self, lists: &RevocationIndex, before: &[Crl]) {
        let absent: Vec<Crl> = self.absent_lists().cloned().collect();
        for crl in absent {
            let path = lists.path_of(crl.sha256());
            let mut seen = FileState::of(&path);
            match lists.open_list(crl.sha256()) {
                // It came meanwhile: that is a change.
                Ok(_) => seen = FileState::default(),
                Err(why) => {
                    let known = before.iter().any(|one| one.is_absent() && *one == crl);
                    let issuer = crl.issuer().to_string();
                    let until = crl.next_update().map(|time| time.to_string());
                    if !known {
                        warn!(issuer, until, error = %why, "{ABSENT}");
                    }
                }
            }
            self.files.watch_since(path, seen, &mut self.state.files);
        }
    }
}

/// Where the indexes of long revocation lists lie.
pub(crate) fn lists_folder(config: &Config) -> PathBuf {
    config.state_dir.join("lists")
}

/// Makes the folders of the state, for nobody but us.
pub(crate) fn make_folders(config: &Config) -> Result<(), String> {
    for folder in [config.state_dir.clone(), config.temp_dir()] {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&folder);
        made.map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    Ok(())
}

/// The counter of changes of a store, as [`State`] holds it.
pub(crate) async fn revision(store: Option<&Store>) -> i64 {
    match store {
        Some(store) => store.revision(DEFAULT_TENANT).await.unwrap_or(-1),
        None => 0,
    }
}

/// What the store remembers besides the files, read as it lies there, for commands that run beside
/// the service. Nothing where there is no store yet.
pub(crate) fn remembered(config: &Config) -> Result<Remembered, OpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StoreError::Read {
            path: config.store.name().to_owned(),
            error,
        })?;
    let lists = RevocationIndex::open_to_read(&lists_folder(config));
    runtime.block_on(async {
        let store = match store::open_to_read(config).await {
            Ok(store) => store,
            Err(error) if error.is_absent() => return Ok(Remembered::default()),
            Err(error) => return Err(error),
        };
        let authorities = store.authorities(DEFAULT_TENANT).await;
        let crls = store.crls(DEFAULT_TENANT, &lists).await;
        let registrations = store.registrations(DEFAULT_TENANT).await;
        let fetched = store.fetched(DEFAULT_TENANT).await;
        let mark = store.clock_mark(DEFAULT_TENANT).await;
        store.close().await;
        Ok(Remembered {
            there: true,
            authorities: authorities?,
            crls: crls?,
            registrations: registrations?.into_iter().collect(),
            fetched: fetched?,
            mark: mark?,
        })
    })
}

/// What lies in a store.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Whether there is a store.
    pub(crate) there: bool,
    pub(crate) authorities: Vec<Certificate>,
    pub(crate) crls: Vec<Crl>,
    /// Fingerprints of certificates with addresses that are registered to them.
    pub(crate) registrations: HashSet<([u8; 32], String)>,
    /// What URLs gave.
    pub(crate) fetched: Vec<FetchedList>,
    /// The latest time that was believed.
    pub(crate) mark: Option<ClockMark>,
}

impl Parts {
    /// Reads the files that the configuration and `trust.toml` name.
    /// Long revocation lists are read into `lists`.
    pub fn read(config: Arc<Config>, lists: Arc<RevocationIndex>) -> Result<Self, ConfigError> {
        let (trust_file, mail_file) = (config.trust_file(), config.mail_file());
        let mut revision = Digester::new(DigestAlgorithm::Sha256);
        let files = RefCell::new(FileSet::default());
        let watch = |path: &Path| files.borrow_mut().watch(path);
        let mut text_of = |path: &Path| {
            let bytes = read_limited(path, MAX_POLICY_FILE).map_err(blame)?;
            revision.update(&bytes);
            String::from_utf8(bytes).map_err(|_| ConfigError::new(path, "not UTF-8"))
        };
        // Named before they are read: a change in between is then seen as one.
        watch(&trust_file);
        watch(&mail_file);
        let trust_text = text_of(&trust_file)?;
        // Without rules all mail is stamped; without trust nothing could be said of any.
        let without_rules = matches!(mail_file.try_exists(), Ok(false));
        let mail_text = if without_rules {
            String::new()
        } else {
            text_of(&mail_file)?
        };

        // The policy names files as written; only here it is known where they begin.
        let loaded = RefCell::new(Vec::new());
        let load = |path: &Path| -> Result<Vec<Certificate>, String> {
            let file = config.dir.join(path);
            watch(&file);
            let read = read_certificates(&file).map_err(|error| error.to_string())?;
            loaded.borrow_mut().push((path.to_owned(), read.clone()));
            Ok(read)
        };
        let trust = TrustPolicy::from_toml(&trust_text, &trust_file.to_string_lossy(), &load)
            .map_err(|error| from_policy(&error, &trust_text))?;
        let mail = MailRules::from_toml(&mail_text, &mail_file.to_string_lossy())
            .map_err(|error| from_policy(&error, &mail_text))?;

        let texts = Texts {
            trust: trust_text.clone(),
            mail: mail_text,
            certificates: loaded.into_inner(),
        };
        holders(&config, &mail)?;
        if mail.may_wrap() && config.wrap.is_none() {
            let text = "stamp = \"wrap\" needs [wrap] in kenin.toml";
            let error = ConfigError::new(&mail_file, text);
            return Err(error.hint("\"kenin init wrap\" makes certificate and key for it"));
        }

        let here = |paths: &[PathBuf]| paths.iter().map(|path| config.dir.join(path)).collect();
        let mut files = files.into_inner();
        files.add(here(trust.intermediates()), here(trust.crls()));
        // Mail is worth more than the statement about it: without a usable key it goes on.
        let (key, key_trouble) = match &config.stamp_key {
            Some(path) => {
                files.watch(path);
                match read_key(&config, path) {
                    Ok(key) => (Some(key), None),
                    Err(trouble) => (None, Some(trouble)),
                }
            }
            None => (None, None),
        };
        if let Some(arc) = &config.arc {
            files.watch(&arc.key);
        }
        let (arc, arc_trouble) = match Sealer::new(&config) {
            Ok(arc) => (arc, None),
            Err(trouble) => (None, Some(trouble)),
        };
        if let Some(wrap) = &config.wrap {
            files.watch(&wrap.certificate);
            files.watch(&wrap.key);
        }
        let (wrapper, wrap_trouble) = match wrapper::read(&config) {
            Ok(wrapper) => (wrapper, None),
            Err(trouble) => (None, Some(trouble)),
        };
        let sources = Sources::read(&config, trust.fetching(), &trust_text, &mut files)?;
        let fronts = front::fronts(&config, &mut files)?;
        if let Some(logins) = &config.senders.logins {
            files.watch(logins);
        }
        let means = Means::read(&config, mail.may_encrypt() || config.keys.is_some())?;
        let seen = files.first_fingerprint();
        let loaded = files.load(&lists).map_err(blame)?;
        for anchor in trust.anchors().iter().chain(trust.time_stamping()) {
            revision.update(anchor.certificate.sha256());
        }
        for id in [&config.authserv_id]
            .into_iter()
            .chain(&config.site_authserv_ids)
        {
            revision.update(id.as_bytes());
        }
        Ok(Self {
            config,
            trust,
            mail,
            without_rules,
            key,
            key_trouble,
            arc,
            arc_trouble,
            wrapper,
            wrap_trouble,
            sources,
            means,
            files,
            seen,
            lists,
            loaded,
            revision,
            fronts,
            texts,
        })
    }

    /// What was read for `trust.toml`.
    pub fn trust(&self) -> &TrustPolicy {
        &self.trust
    }

    /// The lists that lie in files.
    pub(crate) fn lists(&self) -> &[Crl] {
        &self.loaded.crls
    }

    /// The snapshot with what the store knows besides.
    pub fn with(self, certificates: Vec<Certificate>, crls: Vec<Crl>) -> Snapshot {
        self.with_stand_ins(certificates, crls, &[])
    }

    /// The same, where lists that were held before may stand in for newer ones that are not at hand.
    fn with_stand_ins(
        self,
        certificates: Vec<Certificate>,
        crls: Vec<Crl>,
        held: &[Crl],
    ) -> Snapshot {
        let mut all_certificates = self.loaded.certificates;
        all_certificates.extend(certificates);
        let anchors = self
            .trust
            .anchors()
            .iter()
            .chain(self.trust.time_stamping());
        let anchors: Vec<Certificate> = anchors.map(|anchor| anchor.certificate.clone()).collect();
        // What is remembered of an authority that was taken out concerns nobody any more.
        let issuers: HashSet<&[u8]> = all_certificates
            .iter()
            .chain(&anchors)
            .map(|one| one.subject().canonical())
            .collect();
        let mut all_crls = self.loaded.crls;
        all_crls.extend(
            crls.into_iter()
                .filter(|crl| issuers.contains(crl.issuer().canonical())),
        );
        let mut known = CertStore::new(all_certificates, all_crls, &anchors);
        for crl in held {
            known.stand_in(crl);
        }
        let mut revision = self.revision;
        for certificate in known.intermediates() {
            revision.update(certificate.sha256());
        }
        for crl in known.all_crls() {
            revision.update(crl.sha256());
            if crl.is_absent() {
                revision.update(b"absent");
            }
        }
        let digest = revision.finish();
        let asked = Arc::<Asked>::default();
        Snapshot {
            config: self.config,
            trust: self.trust,
            mail: self.mail,
            without_rules: self.without_rules,
            known,
            key: self.key,
            key_trouble: self.key_trouble,
            arc: self.arc,
            arc_trouble: self.arc_trouble,
            wrapper: self.wrapper,
            wrap_trouble: self.wrap_trouble,
            paths: PathCache::following(asked.news().clone()),
            revision: digest
                .as_ref()
                .iter()
                .take(6)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            files: self.files,
            state: State {
                files: self.seen,
                store: 0,
            },
            fronts: self.fronts,
            texts: self.texts,
            store: None,
            sources: self.sources,
            asked,
            means: self.means,
        }
    }
}

/// Mail can be held only by an MTA that has it, or by us: without either such a rule could only put mail off, again
/// and again.
fn holders(config: &Config, mail: &MailRules) -> Result<(), ConfigError> {
    let other = |one: &Listener| one.mode != ListenerMode::Milter;
    match config.listeners.iter().position(other) {
        Some(index) if mail.may_hold() && config.quarantine.is_none() => {
            let key = format!("listener.{index}.mode");
            let text = "enforce = \"quarantine\" in mail.toml needs a milter on every listener, or a [quarantine]: \
                        somebody has to hold the mail";
            let hint = "add a [quarantine], make this listener a \"milter\", or use enforce = \"strict\" in mail.toml";
            Err(config.mistake(&key, text).hint(hint))
        }
        _ => Ok(()),
    }
}

fn read_key(config: &Config, path: &Path) -> Result<StampKey, ConfigError> {
    let wrong = |text: String| config.mistake("stamp.key", format!("{}: {text}", path.display()));
    let hint = "\"kenin init postfix\" makes one; without this line mail is stamped without X-Kenin-Verdict";
    let bytes = keyfile::read(config, "stamp.key", path, hint)?;
    StampKey::from_pkcs8(&bytes).map_err(|text| wrong(text.to_string()))
}

fn blame(error: StoreError) -> ConfigError {
    let path = error.path().to_owned();
    let text = error.to_string();
    // The error begins with its file, and so does ours.
    let message = text
        .strip_prefix(&format!("{}: ", path.display()))
        .unwrap_or(&text)
        .to_owned();
    ConfigError::new(path, message)
}

fn from_policy(error: &kenin_policy::ConfigError, text: &str) -> ConfigError {
    let place = Place::new(text, error.line, error.column);
    ConfigError {
        place: Some(Box::new(place)),
        hint: error.hint.clone(),
        ..ConfigError::new(&error.file, &error.message)
    }
}

const ABSENT: &str = "a revocation list that the store knows is not at hand: unless an older one stands in, nobody of \
                      its scope passes until it is here";
/// Nobody writes a policy of this size by hand.
const MAX_POLICY_FILE: u64 = 4 << 20;

#[cfg(test)]
mod tests;
