//! `kenin trust`: lists, adds and removes anchors in the trust.toml beside kenin.toml. Keeps comments,
//! writes atomically, never deletes a certificate file and never exports a private key.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kenin_certstore::read_certificates;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::KeyKind;
use kenin_pki::oid;

use super::arguments::{AnchorUse, Disclosure, Format, Revocation, TrustAdd, TrustCommand};
use super::aside::aside;
use super::engine;
use super::paint::harmless;
use crate::exit::{Exit, Failure};

mod edit;

use edit::{EditError, Entry};

/// Runs the verb.
pub(super) fn command(config: &[PathBuf], verb: &TrustCommand) -> Result<Exit, Failure> {
    let config = super::load_config(config)?;
    let file = TrustFile {
        path: config.trust_file(),
        dir: config.dir,
    };
    match verb {
        TrustCommand::List { format } => file.list(*format),
        TrustCommand::Add(options) => file.add(options),
        TrustCommand::Remove { name, dry_run } => file.remove(name, *dry_run),
    }
}

/// trust.toml, and the folder that its file names begin in.
struct TrustFile {
    path: PathBuf,
    dir: PathBuf,
}

impl TrustFile {
    fn read(&self) -> Result<String, Failure> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let what = format!("{}: is no text in UTF-8", self.path.display());
                Err(Failure::new(Exit::Configuration, what))
            }
            Err(error) => Err(Failure::file(&self.path, &error)),
        }
    }

    fn failure(&self, error: &EditError) -> Failure {
        let exit = match error {
            EditError::Exists(_) | EditError::Unknown { .. } => Exit::Data,
            EditError::Toml(_) | EditError::Shape => Exit::Configuration,
        };
        Failure::new(exit, format!("{}: {error}", self.path.display()))
    }

    fn list(&self, format: Format) -> Result<Exit, Failure> {
        let entries = edit::list(&self.read()?).map_err(|error| self.failure(&error))?;
        let mut whole = true;
        let mut out = io::stdout().lock();
        let mut values = Vec::new();
        for entry in &entries {
            let certificates = read_certificates(&self.dir.join(&entry.file));
            whole &= certificates.is_ok();
            match format {
                Format::Text => out.write_all(text_of(entry, &certificates).as_bytes())?,
                Format::Json => values.push(json_of(entry, &certificates)),
                Format::Jsonl => writeln!(out, "{}", json_of(entry, &certificates))?,
            }
        }
        if format == Format::Json {
            writeln!(out, "{}", serde_json::Value::from(values))?;
        }
        if entries.is_empty() {
            writeln!(aside(), "no anchors in {}", self.path.display())?;
        }
        Ok(if whole { Exit::Ok } else { Exit::Configuration })
    }

    fn add(&self, options: &TrustAdd) -> Result<Exit, Failure> {
        if options
            .name
            .as_ref()
            .is_some_and(|name| name.trim().is_empty())
        {
            // The service would refuse the whole file.
            let what = "--name is empty; an anchor needs a name";
            return Err(Failure::new(Exit::Usage, what));
        }
        let certificate = self.one_certificate(&options.file)?;
        let doubts = doubts(&certificate, engine::now());
        if !doubts.is_empty() && !options.force {
            let doubts = doubts.join("; ");
            return Err(Failure::new(
                Exit::Data,
                format!(
                    "{}: {doubts}; --force adds it all the same",
                    options.file.display()
                ),
            ));
        }
        let text = self.read()?;
        let known = edit::list(&text).map_err(|error| self.failure(&error))?;
        if let Some(same) = known.iter().find(|entry| self.is_same(entry, &certificate)) {
            let what = format!("this certificate is there already, as \"{}\"", same.name);
            return Err(Failure::new(Exit::Data, what));
        }
        let subject = certificate.subject().to_string();
        let name = options
            .name
            .clone()
            .unwrap_or_else(|| edit::name_from(&short(&certificate)));
        let stored = Path::new("anchors").join(format!("{}.pem", edit::name_from(&name)));
        let entry = Entry {
            name,
            file: stored.to_string_lossy().into_owned(),
            uses: (options.uses.iter())
                .map(|what| use_word(*what).to_owned())
                .collect(),
            revocation: revocation_word(options.revocation).to_owned(),
            disclosure: disclosure_word(options.disclosure).to_owned(),
            profile: Vec::new(),
        };
        let comment = format!(
            "{}\nsha256 {}",
            harmless(&subject),
            fingerprint(&certificate)
        );
        let edited = edit::add(&text, &entry, &comment).map_err(|error| self.failure(&error))?;
        let target = self.dir.join(&stored);
        self.check_target(&target, &certificate)?;
        if !options.dry_run {
            let folder = target.parent().unwrap_or(&self.dir);
            std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
            // The certificate first: trust.toml must never name a file that is not there.
            write_atomically(&target, pem(&certificate).as_bytes())?;
            write_atomically(&self.path, edited.as_bytes())?;
        }
        let verb = if options.dry_run {
            "would add"
        } else {
            "added"
        };
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{verb} \"{}\" to {}",
            harmless(&entry.name),
            self.path.display()
        )?;
        writeln!(out, "  subject   {}", harmless(&subject))?;
        writeln!(out, "  sha256    {}", fingerprint(&certificate))?;
        writeln!(
            out,
            "  valid     {} to {}",
            date(certificate.not_before()),
            date(certificate.not_after())
        )?;
        writeln!(out, "  file      {}", target.display())?;
        drop(out);
        let mut talk = aside();
        for doubt in doubts {
            writeln!(talk, "kenin: warning: {doubt}")?;
        }
        writeln!(
            talk,
            "Compare the fingerprint with one from its owner. The running service reads the file by itself."
        )?;
        Ok(Exit::Ok)
    }

    fn remove(&self, name: &str, dry_run: bool) -> Result<Exit, Failure> {
        let (edited, gone) =
            edit::remove(&self.read()?, name).map_err(|error| self.failure(&error))?;
        if !dry_run {
            write_atomically(&self.path, edited.as_bytes())?;
        }
        let verb = if dry_run { "would remove" } else { "removed" };
        writeln!(
            io::stdout(),
            "{verb} \"{}\" from {}",
            harmless(name),
            self.path.display()
        )?;
        let file = self.dir.join(&gone.file);
        writeln!(aside(), "The certificate stays in {}", file.display())?;
        Ok(Exit::Ok)
    }

    fn one_certificate(&self, file: &Path) -> Result<Certificate, Failure> {
        if file.is_dir() {
            let what = format!("{}: is a directory; name one file", file.display());
            return Err(Failure::new(Exit::NoInput, what));
        }
        let mut found = read_certificates(file).map_err(|error| engine::failure(&error))?;
        match (found.pop(), found.len()) {
            (Some(certificate), 0) => Ok(certificate),
            (_, more) => Err(Failure::new(
                Exit::Data,
                format!(
                    "{}: holds {} certificates; add them one by one",
                    file.display(),
                    more + 1
                ),
            )),
        }
    }

    fn is_same(&self, entry: &Entry, certificate: &Certificate) -> bool {
        read_certificates(&self.dir.join(&entry.file))
            .is_ok_and(|known| known.iter().any(|other| other.der() == certificate.der()))
    }

    /// An anchor file that is there may be used again only for the same certificate.
    fn check_target(&self, target: &Path, certificate: &Certificate) -> Result<(), Failure> {
        if !target.exists() {
            return Ok(());
        }
        let same = read_certificates(target)
            .is_ok_and(|known| known.iter().any(|other| other.der() == certificate.der()));
        if same {
            return Ok(());
        }
        let what = format!("{} holds another certificate; say --name", target.display());
        Err(Failure::new(Exit::Data, what))
    }
}

/// Why a person should think twice.
fn doubts(certificate: &Certificate, now: kenin_pki::time::UnixTime) -> Vec<&'static str> {
    let mut doubts = Vec::new();
    let ca = certificate
        .basic_constraints()
        .ok()
        .flatten()
        .is_some_and(|basic| basic.ca);
    if !ca {
        doubts.push("this is not the certificate of an authority (basicConstraints)");
    }
    if certificate.not_after().is_ok_and(|end| end < now) {
        doubts.push("it has expired");
    }
    if certificate.not_before().is_ok_and(|begin| begin > now) {
        doubts.push("it is not valid yet");
    }
    match certificate.public_key().kind() {
        KeyKind::Rsa { bits } if *bits < 2048 => doubts.push("its key is too short (RSA < 2048)"),
        KeyKind::Dsa { .. } => doubts.push("its key is for DSA, which is historic (RFC 8550 §4.3)"),
        KeyKind::X25519 | KeyKind::MlKem(_) => doubts.push("its key cannot sign"),
        KeyKind::Unsupported(_) => doubts.push("its key is of a kind that is not supported"),
        _ => {}
    }
    doubts
}

/// The common name, or else all of the subject.
fn short(certificate: &Certificate) -> String {
    let subject = certificate.subject();
    let mut attributes = subject.rdns().iter().flat_map(|rdn| rdn.attributes());
    attributes
        .rfind(|attribute| attribute.oid() == oid::COMMON_NAME)
        .and_then(|attribute| attribute.text())
        .unwrap_or_else(|| subject.to_string())
}

fn fingerprint(certificate: &Certificate) -> String {
    certificate
        .sha256()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn text_of<E: std::fmt::Display>(
    entry: &Entry,
    certificates: &Result<Vec<Certificate>, E>,
) -> String {
    let mut text = format!(
        "{}\n  file      {}\n  use       {}, revocation {}, disclosure {}\n",
        harmless(&entry.name),
        harmless(&entry.file),
        harmless(&entry.uses.join(", ")),
        harmless(&entry.revocation),
        harmless(&entry.disclosure)
    );
    for (key, words) in &entry.profile {
        let (key, words) = (harmless(key), harmless(&words.join(", ")));
        text.push_str(&format!("  profile   {key}: {words}\n"));
    }
    match certificates {
        Err(error) => text.push_str(&format!("  error     {}\n", harmless(&error.to_string()))),
        Ok(certificates) => {
            for certificate in certificates {
                let subject = harmless(&certificate.subject().to_string());
                text.push_str(&format!(
                    "  subject   {subject}\n  sha256    {}\n  valid     {} to {}\n",
                    fingerprint(certificate),
                    date(certificate.not_before()),
                    date(certificate.not_after())
                ));
            }
        }
    }
    text
}

fn json_of<E: std::fmt::Display>(
    entry: &Entry,
    certificates: &Result<Vec<Certificate>, E>,
) -> serde_json::Value {
    let profile: serde_json::Map<_, _> = entry
        .profile
        .iter()
        .map(|(key, words)| (key.clone(), words.clone().into()))
        .collect();
    let mut value = serde_json::json!({
        "name": entry.name,
        "file": entry.file,
        "use": entry.uses,
        "revocation": entry.revocation,
        "disclosure": entry.disclosure,
        "profile": profile,
    });
    let (key, more) = match certificates {
        Err(error) => ("error", serde_json::Value::from(error.to_string())),
        Ok(certificates) => {
            let list: Vec<serde_json::Value> = certificates
                .iter()
                .map(|certificate| {
                    serde_json::json!({
                        "subject": certificate.subject().to_string(),
                        "sha256": fingerprint(certificate),
                        "not_before": date(certificate.not_before()),
                        "not_after": date(certificate.not_after()),
                    })
                })
                .collect();
            ("certificates", list.into())
        }
    };
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), more);
    }
    value
}

fn date<E>(time: Result<kenin_pki::time::UnixTime, E>) -> String {
    time.map_or_else(|_| "unreadable".to_owned(), |time| time.to_string())
}

fn pem(certificate: &Certificate) -> String {
    kenin_pki::pem::encode("CERTIFICATE", certificate.der())
}

/// A new file beside it, then renamed over it: a reader sees the old or the new one, whole.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::file(path, &error);
    // What a link leads to is renamed over, not the link.
    let target = path.canonicalize();
    let path = target.as_deref().unwrap_or(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    // The service reads it as another user; an existing file keeps its rights.
    let rights = std::fs::metadata(path).map_or_else(
        |_| std::os::unix::fs::PermissionsExt::from_mode(0o644),
        |metadata| metadata.permissions(),
    );
    file.as_file().set_permissions(rights).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

const fn revocation_word(rule: Revocation) -> &'static str {
    match rule {
        Revocation::Required => "required",
        Revocation::IfAvailable => "if-available",
        Revocation::Off => "off",
    }
}

const fn use_word(what: AnchorUse) -> &'static str {
    match what {
        AnchorUse::MailSigning => "mail-signing",
        AnchorUse::TimeStamping => "time-stamping",
    }
}

fn disclosure_word(disclosure: Disclosure) -> &'static str {
    match disclosure {
        Disclosure::Full => "full",
        Disclosure::VerdictOnly => "verdict-only",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::authority::{Authority, Term};
    use kenin_pki::crypto::KeyType;

    fn world() -> (tempfile::TempDir, TrustFile, Authority) {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("Example", KeyType::P256, engine::now()).unwrap();
        std::fs::write(folder.path().join("trust.toml"), "# mine\ncrls = []\n").unwrap();
        let dir = folder.path().to_owned();
        let file = TrustFile {
            path: dir.join("trust.toml"),
            dir,
        };
        (folder, file, authority)
    }

    fn add(file: PathBuf) -> TrustAdd {
        TrustAdd {
            uses: vec![AnchorUse::MailSigning],
            file,
            name: None,
            revocation: Revocation::Required,
            disclosure: Disclosure::Full,
            force: false,
            dry_run: false,
        }
    }

    fn write(folder: &Path, name: &str, certificate: &Certificate) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, pem(certificate)).unwrap();
        path
    }

    #[test]
    fn an_anchor_is_added_once_and_removed_again() {
        let (folder, file, authority) = world();
        let root = write(folder.path(), "new.pem", &authority.root.certificate);
        let dry = TrustAdd {
            dry_run: true,
            ..add(root.clone())
        };
        assert_eq!(file.add(&dry).unwrap(), Exit::Ok);
        assert!(edit::list(&file.read().unwrap()).unwrap().is_empty());
        assert!(!folder.path().join("anchors").exists());

        assert_eq!(file.add(&add(root.clone())).unwrap(), Exit::Ok);
        let entries = edit::list(&file.read().unwrap()).unwrap();
        assert_eq!(entries.len(), 1);
        assert!(file.read().unwrap().starts_with("# mine\n"));
        let stored = read_certificates(&folder.path().join(&entries[0].file)).unwrap();
        assert_eq!(stored[0].der(), authority.root.certificate.der());
        // The service must be able to read what was written.
        let load = |path: &Path| read_certificates(&file.dir.join(path)).map_err(|e| e.to_string());
        let text = file.read().unwrap();
        let policy = kenin_policy::TrustPolicy::from_toml(&text, "trust.toml", &load).unwrap();
        assert_eq!(policy.anchors().len(), 1);

        let again = TrustAdd {
            name: Some("other".into()),
            ..add(root)
        };
        assert_eq!(file.add(&again).unwrap_err().exit, Exit::Data);
        assert_eq!(file.remove(&entries[0].name, false).unwrap(), Exit::Ok);
        assert!(edit::list(&file.read().unwrap()).unwrap().is_empty());
        assert_eq!(
            file.remove(&entries[0].name, false).unwrap_err().exit,
            Exit::Data
        );
        assert!(folder.path().join(&entries[0].file).exists());
    }

    #[test]
    fn a_persons_certificate_needs_force() {
        let (folder, file, mut authority) = world();
        let person = authority
            .issue("A", "a@example.jp", KeyType::P256, Term::Valid)
            .unwrap()
            .certificate;
        let path = write(folder.path(), "a.pem", &person);
        let refused = file.add(&add(path.clone())).unwrap_err();
        assert_eq!(refused.exit, Exit::Data);
        assert!(refused.message.contains("--force"), "{refused}");
        assert_eq!(
            file.add(&TrustAdd {
                force: true,
                ..add(path)
            })
            .unwrap(),
            Exit::Ok
        );
    }

    #[test]
    fn a_linked_file_stays_linked() {
        let (folder, file, authority) = world();
        let real = folder.path().join("real.toml");
        std::fs::rename(&file.path, &real).unwrap();
        std::os::unix::fs::symlink("real.toml", &file.path).unwrap();
        let root = write(folder.path(), "new.pem", &authority.root.certificate);
        assert_eq!(file.add(&add(root)).unwrap(), Exit::Ok);
        assert!(file.path.is_symlink());
        let entries = edit::list(&std::fs::read_to_string(&real).unwrap()).unwrap();
        assert_eq!(entries.len(), 1);
    }

    #[test]
    fn an_anchor_needs_a_name() {
        let (folder, file, authority) = world();
        let root = write(folder.path(), "new.pem", &authority.root.certificate);
        let nameless = TrustAdd {
            name: Some(" ".to_owned()),
            ..add(root)
        };
        assert_eq!(file.add(&nameless).unwrap_err().exit, Exit::Usage);
        assert!(edit::list(&file.read().unwrap()).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_has_its_own_exit_code() {
        let (folder, file, _) = world();
        let exit = |path: PathBuf| file.add(&add(path)).unwrap_err().exit;
        assert_eq!(exit(folder.path().join("absent.pem")), Exit::NoInput);
        assert_eq!(exit(folder.path().to_owned()), Exit::NoInput);
        let junk = folder.path().join("junk.pem");
        std::fs::write(&junk, [0, 159, 146, 150]).unwrap();
        assert_eq!(exit(junk), Exit::Data);
        std::fs::write(&file.path, [0, 159, 146, 150]).unwrap();
        let failure = file.list(Format::Text).unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let (folder, file, _) = world();
        let path = folder.path().join("x.pem");
        assert_eq!(
            file.add(&add(path.clone())).unwrap_err().exit,
            Exit::NoInput
        );
        std::fs::write(&path, "nothing").unwrap();
        assert_eq!(file.add(&add(path)).unwrap_err().exit, Exit::Data);
    }
}
