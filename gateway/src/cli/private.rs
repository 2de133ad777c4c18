//! Private keys that a person names: `CERT:KEY`, or one file with both, and the passwords that open them. A password is
//! read from a file or asked for at the terminal; it never stands on the command line, where everybody on the machine
//! can read it. Nothing is ever shown of a key.

use std::cmp::Reverse;
use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kenin_certstore::read_certificates;
use kenin_keys::{ImportError, Imported, belonging, import, read_password_file};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{KeyError, RejectionSecret, Secret, SigningKey, SoftKey, Weakness};

use super::engine::failure;
use super::input;
use crate::exit::{Exit, Failure};

/// Somebody's private key with its certificates.
pub(super) struct Holder {
    /// The certificates of the key, one at least, the one that was issued last first.
    pub(super) own: Vec<Certificate>,
    /// What leads up from them, as far as it was there, but for the root (RFC 8550 §2.3): readers have it, or do not
    /// believe it.
    pub(super) chain: Vec<Certificate>,
    /// The key.
    pub(super) key: SoftKey,
    /// Makes the keys that nothing opens with.
    pub(super) rejection: RejectionSecret,
    /// Why it should do nothing new, if so.
    pub(super) weakness: Option<Weakness>,
}

impl Holder {
    /// Puts a key and its certificates together, and what leads up from those; nothing where there is none of the key.
    pub(super) fn new(
        key: SoftKey,
        certificates: &[Certificate],
    ) -> Result<Option<Self>, KeyError> {
        let bits = key.public_key().bits();
        let is_own = |one: &&Certificate| one.public_key().bits() == bits;
        let mut own: Vec<Certificate> = certificates.iter().filter(is_own).cloned().collect();
        let chain = certificates.iter().filter(|one| !is_own(one));
        let chain = chain.filter(|one| !one.is_self_signed());
        let chain = chain.cloned().collect();
        own.sort_by_key(|one| Reverse(one.not_before().ok()));
        if own.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            own,
            chain,
            weakness: key.weakness(),
            rejection: key.rejection_secret()?,
            key,
        }))
    }

    /// Reads `CERT:KEY`, or the name of a file that holds both: all keys in it that have a certificate.
    pub(super) fn read(text: &str, password: Option<&Path>) -> Result<Vec<Self>, Failure> {
        let (certificates, path) = Self::files(text);
        let found = private_keys(&path, password)?;
        let mut holders = Vec::new();
        let beside = match &certificates {
            Some(file) => read_certificates(file).map_err(|error| failure(&error))?,
            None => Vec::new(),
        };
        for one in found {
            let own = match certificates {
                Some(_) => belonging(&one.public, &beside),
                None => one.certificates,
            };
            let failed = |error: KeyError| told(&path, Exit::Data, error);
            let key = SoftKey::from_pkcs8(one.pkcs8.expose()).map_err(failed)?;
            holders.extend(Self::new(key, &own).map_err(failed)?);
        }
        if holders.is_empty() {
            let what = match certificates {
                Some(file) => format!("it is the key of no certificate in {}", file.display()),
                None => "no certificate of the key is in it; name it as CERT:KEY".to_owned(),
            };
            return Err(told(&path, Exit::Data, what));
        }
        Ok(holders)
    }

    /// The two files that are named. A colon that belongs to a file's name is told by the files that are there.
    fn files(text: &str) -> (Option<PathBuf>, PathBuf) {
        if Path::new(text).exists() {
            return (None, text.into());
        }
        let colons = text.match_indices(':');
        let splits: Vec<(&str, &str)> = colons
            .filter_map(|(at, _)| Some((text.get(..at)?, text.get(at + 1..)?)))
            .collect();
        let is_there =
            |(one, other): &&(&str, &str)| Path::new(one).exists() && Path::new(other).exists();
        match splits.iter().find(is_there).or_else(|| splits.first()) {
            Some((certificate, key)) => (Some(certificate.into()), key.into()),
            None => (None, text.into()),
        }
    }
}

/// The private keys of a file. One that is not encrypted, and that others can read, is nobody's any more.
pub(super) fn private_keys(path: &Path, password: Option<&Path>) -> Result<Vec<Imported>, Failure> {
    let bytes = input::read(path, MAX_FILE).map_err(|error| Failure::file(path, &error))?;
    let bytes = Secret::new(bytes);
    match import(bytes.expose(), None) {
        Ok(found) => return kept(found, path),
        Err(ImportError::PasswordNeeded) => {}
        Err(error) => return Err(told(path, Exit::Data, error)),
    }
    let password = password_of(path, password)?;
    let found = import(bytes.expose(), Some(&password)).map_err(|error| {
        let exit = match error {
            ImportError::WrongPassword | ImportError::BadPassword => Exit::NotPermitted,
            _ => Exit::Data,
        };
        told(path, exit, error)
    })?;
    kept(found, path)
}

/// The keys, unless others have them: a password for the file need not be one for the key.
fn kept(found: Vec<Imported>, path: &Path) -> Result<Vec<Imported>, Failure> {
    if found.iter().any(|one| one.in_clear) {
        refuse_if_open(path)?;
    }
    Ok(found)
}

/// The password of a file.
fn password_of(path: &Path, file: Option<&Path>) -> Result<Secret, Failure> {
    if let Some(file) = file {
        // One that is not there is no wrong password.
        std::fs::metadata(file).map_err(|error| Failure::file(file, &error))?;
        let read = read_password_file(file);
        return read.map_err(|error| Failure::new(Exit::NotPermitted, error.to_string()));
    }
    let asked_for = path.as_os_str() != "-" && std::io::stdin().is_terminal();
    if !asked_for {
        let what = "it is encrypted; write its password into a file and say --password-file FILE";
        return Err(told(path, Exit::Usage, what));
    }
    let prompt = format!("password of {}: ", path.display());
    kenin_sys::ask_for_secret(&prompt)
        .map(Secret::new)
        .map_err(|error| told(path, Exit::NotPermitted, format!("no password: {error}")))
}

fn refuse_if_open(path: &Path) -> Result<(), Failure> {
    let mode = std::fs::metadata(path).map_or(0, |data| data.permissions().mode());
    if path.as_os_str() != "-" && mode & OPEN_TO_ALL != 0 {
        let file = path.display();
        let what = format!("the key in it can be read or changed by others; chmod 600 {file}");
        return Err(told(path, Exit::NotPermitted, what));
    }
    Ok(())
}

fn told(path: &Path, exit: Exit, what: impl std::fmt::Display) -> Failure {
    Failure::new(exit, format!("{}: {what}", path.display()))
}

/// Octets of a file of keys; the reader takes no more.
const MAX_FILE: u64 = 1 << 20;
/// Others may do something with the file, or the group may write it.
const OPEN_TO_ALL: u32 = 0o027;

#[cfg(test)]
mod tests {
    use kenin_pki::crypto::KeyType;
    use kenin_pki::issue::{CertificateBuilder, common_name};
    use kenin_pki::pem;

    use super::*;

    fn written(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> String {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    fn certificate(name: &str, key: &SoftKey) -> Certificate {
        let builder = CertificateBuilder::new(common_name(name).unwrap(), key.public_key());
        builder.mail(&["a@example.jp"]).self_signed(key).unwrap()
    }

    #[test]
    fn a_key_is_read_with_the_certificate_that_fits() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let other = certificate("B", &SoftKey::generate(KeyType::P256).unwrap());
        let own = certificate("A", &key);
        let block = |one: &Certificate| pem::encode("CERTIFICATE", one.der());
        let private = pem::encode("PRIVATE KEY", &key.to_pkcs8().unwrap());
        let file = written(folder, "a:b.key", private.as_bytes(), 0o600);
        let both = block(&other) + &block(&own);
        let certificates = written(folder, "a:b.pem", both.as_bytes(), 0o644);
        let read = Holder::read(&format!("{certificates}:{file}"), None).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].own, std::slice::from_ref(&own));
        assert!(read[0].chain.is_empty());
        assert_eq!(read[0].weakness, None);
        let whole = written(folder, "whole.pem", (private + &both).as_bytes(), 0o600);
        assert_eq!(Holder::read(&whole, None).unwrap()[0].own, [own]);
        let foreign = written(folder, "c.pem", block(&other).as_bytes(), 0o644);
        let wrong = Holder::read(&format!("{foreign}:{file}"), None)
            .err()
            .unwrap();
        assert_eq!(wrong.exit, Exit::Data);
        assert!(
            wrong.message.contains("the key of no certificate in"),
            "{wrong}"
        );
        let alone = Holder::read(&file, None).err().unwrap();
        assert!(alone.message.contains("CERT:KEY"), "{alone}");
    }

    /// RFC 8550 §2.3: up to an authority that the reader may believe, and not that itself.
    #[test]
    fn what_goes_along_ends_below_the_root() {
        let new = || SoftKey::generate(KeyType::P256).unwrap();
        let (old, renewed, below, key) = (new(), new(), new(), new());
        let builder = |name: &str, key: &SoftKey| {
            CertificateBuilder::new(common_name(name).unwrap(), key.public_key())
        };
        let authority = |name: &str, key: &SoftKey| builder(name, key).authority(None);
        let root = authority("Root", &old).self_signed(&old).unwrap();
        // It has the root's name, and leads to its key.
        let link = authority("Root", &renewed).issued_by(&root, &old).unwrap();
        let middle = authority("Middle", &below)
            .issued_by(&link, &renewed)
            .unwrap();
        let own = builder("A", &key).mail(&["a@example.jp"]);
        let own = own.issued_by(&middle, &below).unwrap();
        let all = [own.clone(), middle.clone(), link.clone(), root];
        let holder = Holder::new(key, &all).unwrap().unwrap();
        assert_eq!(holder.own, [own]);
        assert_eq!(holder.chain, [middle, link]);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let private = pem::encode("PRIVATE KEY", &key.to_pkcs8().unwrap());
        for mode in [0o644, 0o604, 0o660] {
            let file = written(folder.path(), "key.pem", private.as_bytes(), mode);
            let refused = private_keys(Path::new(&file), None).err().unwrap();
            assert_eq!(refused.exit, Exit::NotPermitted);
            assert!(refused.message.contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path(), "x.pem", b"hello", 0o600);
        let refused = private_keys(Path::new(&file), None).err().unwrap();
        assert_eq!(refused.exit, Exit::Data);
        assert!(refused.message.starts_with(&file), "{refused}");
        let absent = folder.path().join("absent");
        let refused = private_keys(&absent, None).err().unwrap();
        assert_eq!(refused.exit, Exit::NoInput);
    }
}
