//! What the files say of each other: nothing here looks at the clock or beyond the files.

use std::os::unix::fs::PermissionsExt;

use kenin_pki::certificate::Certificate;
use kenin_pki::name::Name;
use kenin_pki::path::RevocationMode;

use super::{Finding, warning};
use crate::config::{Config, ConfigError, KeyAt, ListenerMode, StoreAt};
use crate::quarantine::Keys;
use crate::snapshot::Snapshot;
use crate::wrapper;

/// `kenin.toml`.
pub(super) fn settings(config: &Config, findings: &mut Vec<Finding>) {
    let id = &config.authserv_id;
    if *id == config.hostname || config.site_authserv_ids.contains(id) {
        let text = format!("\"{id}\" is also another filter's authserv-id here");
        let hint = format!(
            "Kenin removes every Authentication-Results of its own id; the default is \
             \"smime.{}\"",
            config.hostname
        );
        findings.push(warning(config.mistake("authserv_id", text).hint(hint)));
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        let everybody = ["192.0.2.1", "2001:db8::1"].iter().any(|text| {
            let address = text.parse();
            address.is_ok_and(|address| {
                listener
                    .trusted_peers
                    .iter()
                    .any(|network| network.contains(address))
            })
        });
        let outside = listener
            .address
            .tcp()
            .is_some_and(|tcp| !tcp.ip().is_loopback());
        if everybody && outside {
            let key = format!("listener.{index}.trusted_peers");
            let text = "strangers may say with XFORWARD that they are somebody else";
            findings.push(warning(config.mistake(&key, text)));
        }
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        for network in &listener.trusted_peers {
            let base = network.base();
            if base == *network {
                continue;
            }
            let key = format!("listener.{index}.trusted_peers");
            let text = format!("{network} is all of {base}");
            let hint = "write that, or the address without a / where it alone is meant";
            findings.push(warning(config.mistake(&key, text).hint(hint)));
        }
    }
    if config.http.is_none() {
        let text = "no [http] address: there will be no metrics, and \"kenin health\" cannot ask";
        findings.push(warning(config.mistake("http", text)));
    }
    if let StoreAt::Server(server) = &config.store
        && !server.verified
    {
        let text = "the database does not prove its name: whoever is on the way can be it";
        let hint = "sslmode=verify-full, and sslrootcert with its authority";
        findings.push(warning(config.mistake("store.url", text).hint(hint)));
    }
    match &config.stamp_key {
        None => {
            let text = "no [stamp] key: mail will be stamped without X-Kenin-Verdict";
            findings.push(warning(config.mistake("stamp", text)));
        }
        Some(path) => {
            let mode = std::fs::metadata(path).map_or(0, |data| data.permissions().mode());
            // What is open to everybody is an error, told where the key is read.
            if mode & 0o077 == 0o040 {
                let text = format!("{} can be read by its group", path.display());
                let hint = format!("chmod 600 {}", path.display());
                findings.push(warning(config.mistake("stamp.key", text).hint(hint)));
            }
        }
    }
}

/// The keys of `[quarantine]`. A credential is there for the service alone.
pub(super) fn quarantine(config: &Config, findings: &mut Vec<Finding>) {
    let Some(settings) = &config.quarantine else {
        return;
    };
    let is_service = std::env::var_os("CREDENTIALS_DIRECTORY").is_some();
    if matches!(settings.key, KeyAt::Credential(_)) && !is_service {
        return;
    }
    findings.extend(Keys::read(config, settings).err().map(Finding::from));
}

/// `mail.toml` beside the listeners.
pub(super) fn mail(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let config = &snapshot.config;
    for (index, listener) in config.listeners.iter().enumerate() {
        let after = matches!(listener.mode, ListenerMode::AfterQueue | ListenerMode::Lmtp);
        if after && snapshot.mail.may_bounce() {
            let key = format!("listener.{index}.mode");
            let text = "mail.toml refuses mail that the MTA has accepted: it will bounce it, to \
                        senders that may be forged";
            let hint = "use \"milter\" or \"before-queue\", or leave enforce = \"strict\" out of mail.toml: \
                        \"quarantine\" holds such mail";
            findings.push(warning(config.mistake(&key, text).hint(hint)));
        }
    }
    for (rule, before) in snapshot.mail.hidden() {
        let text = format!(
            "rule {rule} never holds: rule {before} comes first, and is for all that it is for"
        );
        let hint = "the first rule that matches holds: put the one for fewer people first";
        let error = ConfigError::new(config.mail_file(), text);
        findings.push(warning(error.hint(hint)));
    }
    if wrapper::shielding(&snapshot.trust).is_some() {
        let behind = |mode| matches!(mode, ListenerMode::AfterQueue | ListenerMode::Lmtp);
        if let Some(index) = config.listeners.iter().position(|one| behind(one.mode)) {
            let text = "an anchor shows the verdict only, and mail whose certificate cannot be kept back is \
                        refused: behind a queue that is a bounce, to a sender who may be forged";
            let hint = "let \"before-queue\" or \"milter\" take the mail that comes from outside";
            let key = format!("listener.{index}.mode");
            findings.push(warning(config.mistake(&key, text).hint(hint)));
        }
    }
    if snapshot.mail.may_wrap() && config.arc.is_none() {
        let text = "stamp = \"wrap\" breaks every DKIM signature, and there is no [arc] that tells what held before";
        let hint =
            "seal what is changed (\"kenin init arc\"), or verify DKIM before Kenin and trust that";
        let error = ConfigError::new(config.mail_file(), text);
        findings.push(warning(error.hint(hint)));
    }
    if snapshot.mail.may_tag() && config.arc.is_none() {
        let text = "stamp = \"subject\" breaks every DKIM signature that covers the Subject: whoever takes the mail \
                    after Kenin must not refuse it for that";
        let hint = "seal what is changed, for who trusts your seals (\"kenin init arc\"), or verify DKIM before Kenin \
                    and trust that result, or use \"folder\" or \"headers\"";
        findings.push(warning(
            ConfigError::new(config.mail_file(), text).hint(hint),
        ));
    }
}

/// `trust.toml` and what it names.
pub(super) fn trust(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let file = snapshot.config.trust_file();
    if snapshot.trust.anchors().is_empty() {
        let text = "no [[anchor]]: every signature will be \"policy (issuer-not-trusted)\"";
        let error = ConfigError::new(&file, text).hint("kenin trust add ROOT.pem");
        findings.push(warning(error));
    }
    let signed: Vec<_> = snapshot
        .known
        .signed_crls()
        .map(|(crl, _)| crl.sha256())
        .collect();
    for crl in snapshot.known.all_crls() {
        if !signed.contains(&crl.sha256()) {
            let text = format!(
                "the revocation list of {} is signed by no certificate that is known here",
                crl.issuer()
            );
            let hint = "add its issuer's certificate to the intermediates, or remove the list";
            findings.push(warning(ConfigError::new(&file, text).hint(hint)));
        }
    }
    if snapshot.without_rules {
        let error = ConfigError::new(
            snapshot.config.mail_file(),
            "there is no such file: all mail is stamped, none is refused",
        );
        findings.push(warning(error.hint("an empty file says so on purpose")));
    }
    for anchor in snapshot.trust.anchors() {
        let required = anchor.settings.revocation == RevocationMode::Required;
        if required && is_untold(snapshot, &anchor.certificate) {
            let text = format!(
                "anchor \"{}\": no revocation list of it is here, and its signatures need one",
                anchor.name
            );
            findings.push(warning(ConfigError::new(&file, text).hint(NO_STATUS)));
        }
    }
    for authority in below_required(snapshot) {
        if is_untold(snapshot, authority) {
            let text = format!(
                "no revocation list of {} is here, and signatures below it need one",
                authority.subject()
            );
            findings.push(warning(ConfigError::new(&file, text).hint(NO_STATUS)));
        }
    }
}

/// Whether nothing here tells the status of what an authority issues, and nothing is fetched that does.
fn is_untold(snapshot: &Snapshot, authority: &Certificate) -> bool {
    let known = &snapshot.known;
    let fetched = snapshot.sources.as_ref();
    !known
        .all_crls()
        .iter()
        .any(|crl| crl.issuer() == authority.subject())
        && !fetched.is_some_and(|sources| sources.tell_of(authority, known))
}

/// Intermediate authorities on a way to an anchor that needs a status of everything below it. By
/// name only: what a name promises wrongly costs a warning.
fn below_required(snapshot: &Snapshot) -> Vec<&Certificate> {
    let mut names: Vec<&Name> = snapshot
        .trust
        .anchors()
        .iter()
        .filter(|anchor| anchor.settings.revocation == RevocationMode::Required)
        .map(|anchor| anchor.certificate.subject())
        .collect();
    let mut left: Vec<&Certificate> = snapshot
        .known
        .intermediates()
        .iter()
        .filter(|one| one.basic_constraints().ok().flatten().is_some_and(|b| b.ca))
        .filter(|one| !names.contains(&one.subject()))
        .collect();
    let mut found = Vec::new();
    loop {
        let (below, others): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|one| names.contains(&one.issuer()));
        if below.is_empty() {
            return found;
        }
        names = below.iter().map(|one| one.subject()).collect();
        found.extend(below);
        left = others;
    }
}

const NO_STATUS: &str = "without one they are \"temperror (revocation-unavailable)\"";
