//! What the machine and the moment make of the configuration: dates, ports, folders, the store,
//! the next hop.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kenin_certstore::ClockMark;
use kenin_pki::name::Name;

use super::{Finding, warning};
use crate::clock::{now, plausible, unix_time};
use crate::config::{Config, ConfigError, KeyAt, ListenAddress, PinAt, SecretAt, StoreAt};
use crate::quarantine::Folder;
use crate::snapshot::Snapshot;
use crate::wrapper;

/// Dates of what is trusted and known.
pub(super) fn trust(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let file = snapshot.config.trust_file();
    let now = unix_time(now());
    let mut warn = |text: String| findings.push(warning(ConfigError::new(&file, text)));
    for anchor in snapshot.trust.anchors() {
        match anchor.certificate.not_after() {
            Ok(end) if end.0 < now.0 => warn(format!("anchor \"{}\" expired {end}", anchor.name)),
            Ok(_) => {}
            Err(_) => warn(format!(
                "anchor \"{}\" has no readable end date",
                anchor.name
            )),
        }
    }
    for one in snapshot.known.intermediates() {
        if let Ok(end) = one.not_after()
            && end.0 < now.0
        {
            warn(format!("intermediate {} expired {end}", one.subject()));
        }
    }
    for crl in snapshot.known.all_crls() {
        let name: &Name = crl.issuer();
        if crl.is_absent() {
            warn(format!(
                "the revocation list of {name} is known to the store and not at hand here; \
                 \"kenin crl refresh\" fetches it"
            ));
        }
        match crl.next_update() {
            Some(next) if next.0 < now.0 => {
                warn(format!(
                    "the revocation list of {name} was due to be replaced {next}"
                ));
            }
            Some(_) => {}
            None => warn(format!(
                "the revocation list of {name} names no next update"
            )),
        }
    }
}

/// Whether the wall clock can be right.
pub(super) fn clock(config: &Config, mark: Option<ClockMark>, findings: &mut Vec<Finding>) {
    let now = unix_time(now());
    let Some(why) = plausible(now, mark.map(|mark| mark.time)).why() else {
        return;
    };
    let text = format!("this machine's time is {now}, which cannot be right: {why}");
    let hint = "set the clock; \"kenin clock status\" shows the latest time that was believed";
    let error = ConfigError::new(config.store.name(), text).hint(hint);
    findings.push(warning(error));
}

/// Ports, folders, the store, the next hop.
pub(super) fn machine(config: &Config, findings: &mut Vec<Finding>) {
    let keys = (0..config.listeners.len()).map(|index| format!("listener.{index}.address"));
    let mail = config
        .listeners
        .iter()
        .zip(keys)
        .filter_map(|(listener, key)| Some((listener.address.tcp()?, key)));
    for (index, listener) in config.listeners.iter().enumerate() {
        let ListenAddress::Unix(path) = &listener.address else {
            continue;
        };
        let folder = path.parent().unwrap_or(path);
        if !folder.is_dir() {
            let text = format!(
                "{} is no folder: the socket cannot be made there",
                folder.display()
            );
            let key = format!("listener.{index}.address");
            findings.push(config.mistake(&key, text).into());
        }
    }
    for (address, key) in mail.chain(config.http.map(|http| (http, "http.address".to_owned()))) {
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let text = format!("{address} is in use");
                let hint = "fine if it is Kenin itself that is running";
                findings.push(warning(config.mistake(&key, text).hint(hint)));
            }
            Err(error) => {
                let text = format!("cannot listen on {address}: {error}");
                findings.push(config.mistake(&key, text).into());
            }
        }
    }
    if config.state_dir.exists() && !config.state_dir.is_dir() {
        let text = format!("{} is no folder", config.state_dir.display());
        findings.push(config.mistake("state_dir", text).into());
    } else if let Err(error) = writable(&config.state_dir) {
        let text = format!(
            "{}: cannot write there: {error}",
            config.state_dir.display()
        );
        findings.push(config.mistake("state_dir", text).into());
    }
    let quarantine = config.quarantine_dir();
    if config.quarantine.is_some()
        && quarantine.exists()
        && let Err(error) = Folder::open(&quarantine)
    {
        let text = format!("{}: {error}", quarantine.display());
        findings.push(config.mistake("quarantine", text).into());
    }
    owners(config, findings);
    if let Some(next) = &config.next_hop
        && !reachable(&next.address)
    {
        let text = format!("nobody answers at {}", next.address);
        findings.push(warning(config.mistake("next_hop.address", text)));
    }
}

/// Whether what nobody else may read belongs to the user of the service, which is that of the state folder: root, who mostly
/// asks, can read all of it.
pub(super) fn owners(config: &Config, findings: &mut Vec<Finding>) {
    let Ok(state_of) = config.state_dir.metadata() else {
        return;
    };
    let user = state_of.uid();
    if user == 0 {
        return;
    }
    for (key, path) in private(config) {
        let Ok(file) = path.metadata() else { continue };
        if file.uid() == user || file.mode() & 0o040 != 0 {
            continue;
        }
        let text = format!(
            "{} belongs to another user than {}: the service may not be able to read it",
            path.display(),
            config.state_dir.display()
        );
        let hint = format!("chown {user} {}", path.display());
        findings.push(warning(config.mistake(&key, text).hint(hint)));
    }
}

/// The files and folders that the service alone reads, by the settings that name them.
fn private(config: &Config) -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    let mut add = |key: &str, path: Option<&PathBuf>| {
        all.extend(path.map(|path| (key.to_owned(), path.clone())));
    };
    add("stamp.key", config.stamp_key.as_ref());
    add("arc.key", config.arc.as_ref().map(|arc| &arc.key));
    add("wrap.key", config.wrap.as_ref().map(|wrap| &wrap.key));
    for (index, listener) in config.listeners.iter().enumerate() {
        let key = format!("listener.{index}.tls.key");
        add(&key, listener.tls.as_ref().map(|tls| &tls.key));
    }
    for (index, directory) in config.directories.iter().enumerate() {
        let key = format!("directory.{index}.password_file");
        add(&key, directory.password_file.as_ref());
    }
    if let Some(cache) = &config.cache {
        add("cache.key_file", Some(&cache.key_file));
        add("cache.password_file", cache.password_file.as_ref());
    }
    match &config.store {
        StoreAt::File(path) => add("store.path", Some(path)),
        StoreAt::Server(at) => add("store.password_file", at.password_file.as_ref()),
    }
    if let Some(quarantine) = &config.quarantine {
        if let KeyAt::File(path) = &quarantine.key {
            add("quarantine.key_file", Some(path));
        }
        for path in &quarantine.previous {
            add("quarantine.previous_key_files", Some(path));
        }
        add("quarantine", Some(&config.quarantine_dir()));
    }
    if let Some(keys) = &config.keys {
        for (at, old) in [(Some(&keys.seal), false), (keys.previous.as_ref(), true)] {
            let file = match at {
                Some(SecretAt::Passphrase(path) | SecretAt::Key(path)) => path,
                Some(SecretAt::Token(token)) => &token.file,
                Some(SecretAt::Credential(_)) | None => continue,
            };
            let name = at.map_or("", SecretAt::key);
            let key = match old {
                true => format!("keys.previous.{name}"),
                false => format!("keys.{name}"),
            };
            add(&key, Some(file));
        }
        for token in &keys.tokens {
            if let Some(PinAt::File(path)) = &token.pin {
                add("keys.token", Some(path));
            }
        }
        add("keys.folder", Some(&keys.folder));
    }
    all
}

/// Whether the world can verify our seals.
pub(super) fn arc(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let Some(sealer) = &snapshot.arc else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let (name, found) = runtime.block_on(sealer.published());
    let text = match found {
        Ok(true) => return,
        Ok(false) => format!("the TXT record at {name} holds another key: no seal can be verified"),
        Err(error) => format!("{name} cannot be looked up: {error}; no seal can be verified"),
    };
    let hint = format!("publish there: {}", sealer.record());
    let error = snapshot.config.mistake("arc.selector", text).hint(hint);
    findings.push(warning(error));
}

/// Whether mail can be wrapped now and for a while.
pub(super) fn wrap(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let (config, trust) = (&snapshot.config, &snapshot.trust);
    let wrapper = snapshot.wrapper.as_ref();
    let concern = wrapper::concern(config, trust, wrapper, unix_time(now()));
    findings.extend(concern.map(warning));
}

/// Whether files can be made there; a folder that is not there yet will be made by `run`.
fn writable(folder: &Path) -> std::io::Result<()> {
    let there = folder
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(folder);
    tempfile::tempfile_in(there).map(drop)
}

fn reachable(address: &str) -> bool {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    addresses
        .take(4)
        .any(|one| TcpStream::connect_timeout(&one, PATIENCE).is_ok())
}

const PATIENCE: Duration = Duration::from_secs(3);
