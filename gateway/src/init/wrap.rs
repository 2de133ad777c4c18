//! `kenin init wrap`: the certificate that wrapped mail is signed with, under an authority of its own.
//!
//! The authority can vouch for mail addresses of the gateway's domain and for nothing else, so that whoever
//! trusts it trusts it with no more.

use std::path::{Path, PathBuf};

use kenin_certstore::read_certificates;
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{KeyError, KeyType, SigningKey, SoftKey};
use kenin_pki::extension::{GeneralName, NameConstraints};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_pki::pem;
use kenin_pki::time::UnixTime;

use super::{InitError, Initialized, Writer};
use crate::clock::{now, unix_time};

/// What the command line says about `kenin init wrap`.
#[derive(Debug, Clone)]
pub struct WrapOptions {
    /// Folder of the configuration (`/etc/kenin`).
    pub dir: PathBuf,
    /// The address that wrapped mail comes from. Default: that of the certificate that is there, else `kenin@`
    /// and the host's name.
    pub address: Option<String>,
    /// This host's name.
    pub hostname: String,
    /// Make another certificate under the authority that is there.
    pub renew: bool,
    /// Write nothing.
    pub dry_run: bool,
}

/// Makes what is missing in the folder `wrap`, and tells the authority's certificate and the lines for
/// `kenin.toml`.
pub fn wrap(options: &WrapOptions) -> Result<Initialized, InitError> {
    let mut writer = Writer {
        dry_run: options.dry_run,
        written: Vec::new(),
    };
    let authority = make(&mut writer, options)?;
    let file = options.dir.join("kenin.toml");
    Ok(Initialized {
        written: writer.written,
        lines: authority.map_or_else(String::new, |one| pem::encode("CERTIFICATE", one.der())),
        notes: match options.renew {
            true => RENEWED.replace(
                "{key}",
                &options.dir.join("wrap/key.pem").display().to_string(),
            ),
            false => NOTES.replace("{file}", &file.display().to_string()),
        },
    })
}

/// Makes what is missing, and gives the authority where there is one.
pub(super) fn make(
    writer: &mut Writer,
    options: &WrapOptions,
) -> Result<Option<Certificate>, InitError> {
    let folder = options.dir.join("wrap");
    let (authority_file, authority_key) =
        (folder.join("authority.pem"), folder.join("authority.key"));
    let (certificate_file, key_file) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let present = match certificate_file.exists() {
        true => first(&certificate_file)?.addresses().unwrap_or_default(),
        false => Vec::new(),
    };
    let present = present.first();
    let address = match (&options.address, present) {
        (Some(text), _) => parsed(text)?,
        (None, Some(present)) => present.clone(),
        (None, None) => parsed(&format!("kenin@{}", options.hostname))?,
    };
    if let Some(present) = present.filter(|_| !options.renew) {
        if *present != address {
            let file = certificate_file.display();
            let what = format!("{file} is for {present}; --renew makes another for {address}");
            return Err(InitError::Usage(what));
        }
        return first(&authority_file).map(Some);
    }
    writer.folder(&options.dir, 0o755)?;
    writer.folder(&folder, 0o755)?;
    let now = unix_time(now());
    let authority = match authority_file.exists() {
        true => {
            let authority = first(&authority_file)?;
            if !vouches_for(&authority, &address) {
                let what = format!(
                    "{} cannot vouch for {address}; move the folder away to begin with another authority",
                    authority_file.display()
                );
                return Err(InitError::Usage(what));
            }
            (authority, soft_key(&authority_key)?)
        }
        false => {
            let made = new_authority(address.domain(), now).map_err(failed)?;
            writer.file(&authority_key, &private(&made.1)?, 0o600)?;
            let text = pem::encode("CERTIFICATE", made.0.der());
            writer.file(&authority_file, text.as_bytes(), 0o644)?;
            made
        }
    };
    // A new key with every certificate: what was lost of the old one ends with it.
    let key = SoftKey::generate(KeyType::P256).map_err(failed)?;
    let certificate = certificate(&address.to_string(), &key, &authority, now).map_err(failed)?;
    let chain = [
        pem::encode("CERTIFICATE", certificate.der()),
        pem::encode("CERTIFICATE", authority.0.der()),
    ];
    writer.file(&key_file, &private(&key)?, 0o600)?;
    writer.file(&certificate_file, chain.concat().as_bytes(), 0o644)?;
    Ok((!options.dry_run).then_some(authority.0))
}

fn parsed(address: &str) -> Result<Address, InitError> {
    Address::parse(address)
        .map_err(|_| InitError::Usage(format!("\"{address}\" is no mail address")))
}

/// Whether an authority of ours may issue for this address.
fn vouches_for(authority: &Certificate, address: &Address) -> bool {
    let only = authority.name_constraints().ok().flatten();
    only.is_none_or(|only| {
        only.permitted.iter().any(|name| match name {
            GeneralName::Rfc822(domain) => domain.eq_ignore_ascii_case(address.domain()),
            _ => false,
        })
    })
}

fn new_authority(domain: &str, now: UnixTime) -> Result<(Certificate, SoftKey), KeyError> {
    let key = SoftKey::generate(KeyType::P256)?;
    let name = common_name(&format!("Kenin authority of {domain}"));
    let name = name.map_err(|_| KeyError::Failed)?;
    let only = NameConstraints {
        permitted: vec![GeneralName::Rfc822(domain.into())],
        excluded: Vec::new(),
    };
    let certificate = CertificateBuilder::new(name, key.public_key())
        .validity(now.plus(-HOUR), now.plus(10 * YEAR))
        .authority(Some(0))
        .name_constraints(&only)
        .self_signed(&key)?;
    Ok((certificate, key))
}

fn certificate(
    address: &str,
    key: &SoftKey,
    authority: &(Certificate, SoftKey),
    now: UnixTime,
) -> Result<Certificate, KeyError> {
    let name = common_name("Kenin").map_err(|_| KeyError::Failed)?;
    CertificateBuilder::new(name, key.public_key())
        .validity(now.plus(-HOUR), now.plus(2 * YEAR))
        .mail_signer(&[address])
        .issued_by(&authority.0, &authority.1)
}

fn first(path: &Path) -> Result<Certificate, InitError> {
    let wrong = |text: String| InitError::Usage(format!("{}: {text}", path.display()));
    let all = read_certificates(path).map_err(|error| InitError::Usage(error.to_string()))?;
    let first = all.into_iter().next();
    first.ok_or_else(|| wrong("there is no certificate".to_owned()))
}

fn soft_key(path: &Path) -> Result<SoftKey, InitError> {
    let bytes = std::fs::read(path).map_err(|error| InitError::Io {
        path: path.to_owned(),
        error,
    })?;
    let key = SoftKey::from_pem_or_der(&bytes);
    key.map_err(|error| InitError::Usage(format!("{}: {error}", path.display())))
}

fn private(key: &SoftKey) -> Result<Vec<u8>, InitError> {
    let der = key.to_pkcs8().map_err(failed)?;
    Ok(pem::encode("PRIVATE KEY", &der).into_bytes())
}

fn failed(error: KeyError) -> InitError {
    InitError::Usage(format!("cannot make a key: {error}"))
}

/// In seconds: clocks of readers may be a little behind.
const HOUR: i64 = 3600;
/// In seconds.
const YEAR: i64 = 365 * 86_400;

const NOTES: &str = r#"
Next:
  1. Give the authority's certificate, printed on stdout, to those who get wrapped mail: their mail
     programs have to trust it for mail. It can vouch for addresses of this one domain only.
  2. See that these lines stand in {file}:

       [wrap]
       certificate = "wrap/certificate.pem"
       key = "wrap/key.pem"

  3. Say in mail.toml whose mail is wrapped (stamp = "wrap"). Mail of an anchor with
     disclosure = "verdict-only" always is.
  4. Keep wrap/authority.key away from this host if you can: only --renew needs it.
  5. The user of the service must be able to read wrap/key.pem, and nobody else (chown).
"#;

const RENEWED: &str = r#"
The authority is the same: recipients have nothing to do.

Next:
  1. The user of the service must be able to read the new key, and nobody else: chown kenin {key}
  2. Reload Kenin. It goes by the certificate of before until it can read both.
  3. Keep wrap/authority.key away from this host again.
"#;
