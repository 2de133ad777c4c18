//! `kenin cert`: the certificates in the store, and the addresses that are registered to them. Never
//! touches a private key, and trusts nothing: what is trusted stands in trust.toml.

use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kenin_certstore::{
    DEFAULT_TENANT, Kept, Origin, Store, StoreError, address_key, read_certificates,
};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::pem;
use kenin_pki::time::UnixTime;
use serde_json::{Value, json};

use super::arguments::{CertCommand, Format};
use super::aside::aside;
use super::engine::now;
use super::paint::harmless;
use crate::config::StoreAt;
use crate::exit::{Exit, Failure};
use crate::store::{self, OpenError};

pub(super) mod find;

/// Runs the verb.
pub(super) fn command(config: &[PathBuf], verb: &CertCommand) -> Result<Exit, Failure> {
    let config = super::load_config(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if let CertCommand::Find { address, format } = verb {
            return find::command(&config, address, *format).await;
        }
        // Reading makes no store, and waits for no writer.
        let store = match verb.writes() {
            true => {
                if matches!(config.store, StoreAt::File(_)) {
                    crate::snapshot::make_folders(&config)
                        .map_err(|text| Failure::new(Exit::Io, text))?;
                }
                store::open(&config).await
            }
            false => store::open_to_read(&config).await,
        };
        let desk = Desk {
            store: store.map_err(|error| unopened(&error))?,
        };
        let exit = desk.run(verb).await;
        desk.store.close().await;
        exit
    })
}

pub(super) fn unopened(error: &OpenError) -> Failure {
    match error {
        OpenError::Setting(error) => Failure::new(Exit::Configuration, error.report()),
        OpenError::Store(error @ StoreError::Absent { .. }) => {
            Failure::new(Exit::NoInput, error.to_string())
        }
        OpenError::Store(error) => failed(error),
    }
}

fn failed(error: &StoreError) -> Failure {
    Failure::new(Exit::Unavailable, error.to_string())
}

/// The open store.
struct Desk {
    store: Store,
}

impl Desk {
    async fn run(&self, verb: &CertCommand) -> Result<Exit, Failure> {
        match verb {
            CertCommand::List { address, format } => self.list(address.as_deref(), *format).await,
            // Done without a desk: there need be no store.
            CertCommand::Find { .. } => Ok(Exit::Ok),
            CertCommand::Expiring { within, format } => self.expiring(*within, *format).await,
            CertCommand::Show { which, format } => {
                show(&[self.one(which).await?], *format)?;
                Ok(Exit::Ok)
            }
            CertCommand::Export { which } => {
                let kept = self.one(which).await?;
                let text = pem::encode("CERTIFICATE", kept.certificate.der());
                io::stdout().write_all(text.as_bytes())?;
                Ok(Exit::Ok)
            }
            CertCommand::Import { files, dry_run } => self.import(files, *dry_run).await,
            CertCommand::Remove { which, dry_run } => {
                let kept = self.one(which).await?;
                let forgotten = self.store.forget(DEFAULT_TENANT, kept.certificate.sha256());
                changed("removed", &kept, *dry_run, forgotten).await
            }
            CertCommand::Promote { which, dry_run } => {
                let kept = self.one(which).await?;
                if !kept.quarantined {
                    let what = format!("{}: is in use already", fingerprint(&kept.certificate));
                    return Err(Failure::new(Exit::Data, what));
                }
                let promoted = self
                    .store
                    .promote(DEFAULT_TENANT, kept.certificate.sha256());
                changed("promoted", &kept, *dry_run, promoted).await
            }
            CertCommand::Register {
                address,
                which,
                dry_run,
            } => self.register(address, which, *dry_run).await,
            CertCommand::Unregister {
                address,
                which,
                dry_run,
            } => {
                let address = parsed(address)?;
                self.unregister(&address, which, *dry_run).await
            }
        }
    }

    /// Works on what is registered: the certificate itself need not lie in the store.
    async fn unregister(
        &self,
        address: &Address,
        which: &str,
        dry_run: bool,
    ) -> Result<Exit, Failure> {
        let prefix = fingerprint_prefix(which)?;
        let all = self.store.registrations(DEFAULT_TENANT);
        let all = all.await.map_err(|error| failed(&error))?;
        let spelled = address_key(address);
        let of_address = all.iter().filter(|(_, one)| *one == spelled);
        let found: Vec<&[u8; 32]> = of_address
            .map(|(sha256, _)| sha256)
            .filter(|sha256| hex(*sha256).starts_with(&prefix))
            .collect();
        let sha256 = match found.as_slice() {
            [one] => *one,
            [] => {
                let what = format!("{address} is registered to no certificate {prefix}…");
                return Err(Failure::new(Exit::Data, what));
            }
            _ => {
                let what = format!("several certificates begin with {prefix}; write more of it");
                return Err(Failure::new(Exit::Data, what));
            }
        };
        let word = match dry_run {
            true => "would take",
            false => {
                let gone = self.store.unregister(DEFAULT_TENANT, sha256, address);
                gone.await.map_err(|error| failed(&error))?;
                "took"
            }
        };
        writeln!(aside(), "{word} {address} from {}", hex(sha256))?;
        Ok(Exit::Ok)
    }

    async fn list(&self, address: Option<&str>, format: Format) -> Result<Exit, Failure> {
        let Some(address) = address else {
            return self.until(i64::MAX, format).await;
        };
        let address = parsed(address)?;
        let found = self.store.certificates_by_address(DEFAULT_TENANT, &address);
        let found = found.await.map_err(|error| failed(&error))?;
        show(&found, format)?;
        Ok(match found.is_empty() {
            true => Exit::Negative,
            false => Exit::Ok,
        })
    }

    async fn expiring(&self, days: u32, format: Format) -> Result<Exit, Failure> {
        let until = now().plus(i64::from(days) * DAY);
        self.until(until.0, format).await
    }

    /// All certificates that end before, page by page: a store may hold millions.
    async fn until(&self, before: i64, format: Format) -> Result<Exit, Failure> {
        let mut at = 0;
        let mut first = true;
        let mut out = io::BufWriter::new(io::stdout().lock());
        if format == Format::Json {
            write!(out, "[")?;
        }
        loop {
            let page = self
                .store
                .certificates_by_end(DEFAULT_TENANT, before, at, PAGE);
            let page = page.await.map_err(|error| failed(&error))?;
            for kept in &page {
                write_one(&mut out, kept, format, first)?;
                first = false;
            }
            let count = i64::try_from(page.len()).unwrap_or(PAGE);
            at += count;
            if count < PAGE {
                break;
            }
        }
        if format == Format::Json {
            writeln!(out, "]")?;
        }
        out.flush()?;
        Ok(Exit::Ok)
    }

    async fn import(&self, files: &[PathBuf], dry_run: bool) -> Result<Exit, Failure> {
        let mut talk = aside();
        for file in files {
            let certificates = certificates_in(file)?;
            for certificate in certificates {
                let name = harmless(&certificate.subject().to_string()).to_string();
                if dry_run {
                    writeln!(talk, "would import {} {name}", fingerprint(&certificate))?;
                    continue;
                }
                let put =
                    self.store
                        .put_certificate(DEFAULT_TENANT, &certificate, Origin::Admin, false);
                let word = match put.await.map_err(|error| failed(&error))? {
                    true => "imported",
                    false => "had already",
                };
                writeln!(talk, "{word} {} {name}", fingerprint(&certificate))?;
            }
        }
        Ok(Exit::Ok)
    }

    async fn register(&self, address: &str, which: &str, dry_run: bool) -> Result<Exit, Failure> {
        let address = parsed(address)?;
        // A file is kept as well, so that the certificate can be found by the address.
        let certificate = match Path::new(which).exists() {
            true => {
                let certificates = certificates_in(Path::new(which))?;
                let one: Result<[Certificate; 1], _> = certificates.try_into();
                let [one] = one.map_err(|_| {
                    let what =
                        format!("{which}: holds more than one certificate; name one of them");
                    Failure::new(Exit::Data, what)
                })?;
                if !dry_run {
                    let put =
                        self.store
                            .put_certificate(DEFAULT_TENANT, &one, Origin::Admin, false);
                    put.await.map_err(|error| failed(&error))?;
                }
                one
            }
            false => self.one(which).await?.certificate,
        };
        let verb = match dry_run {
            true => "would register",
            false => {
                let done = self
                    .store
                    .register(DEFAULT_TENANT, certificate.sha256(), &address);
                match done.await.map_err(|error| failed(&error))? {
                    true => "registered",
                    false => "had registered",
                }
            }
        };
        writeln!(aside(), "{verb} {address} to {}", fingerprint(&certificate))?;
        Ok(Exit::Ok)
    }

    /// The one certificate whose fingerprint begins like this, or that stands in this file.
    async fn one(&self, which: &str) -> Result<Kept, Failure> {
        let which = fingerprint_prefix(which)?;
        let found = self
            .store
            .certificates_by_fingerprint(DEFAULT_TENANT, &which);
        let mut found = found.await.map_err(|error| failed(&error))?;
        match (found.len(), found.pop()) {
            (1, Some(one)) => Ok(one),
            (0, _) => {
                let what = format!("no certificate in the store begins with {which}");
                Err(Failure::new(Exit::Data, what))
            }
            _ => {
                let what = format!("several certificates begin with {which}; write more of it");
                Err(Failure::new(Exit::Data, what))
            }
        }
    }
}

/// The beginning of a fingerprint, in lower case.
fn fingerprint_prefix(which: &str) -> Result<String, Failure> {
    let which = which.to_ascii_lowercase().replace(':', "");
    if which.len() < SHORTEST || !which.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let what = format!(
            "\"{which}\" is no SHA-256 fingerprint: {SHORTEST} or more hexadecimal digits from its beginning"
        );
        return Err(Failure::new(Exit::Usage, what));
    }
    Ok(which)
}

/// Does it unless it is only to be said, and says it.
async fn changed(
    verb: &str,
    kept: &Kept,
    dry_run: bool,
    change: impl Future<Output = Result<bool, StoreError>>,
) -> Result<Exit, Failure> {
    let which = fingerprint(&kept.certificate);
    if dry_run {
        writeln!(aside(), "would have {verb} {which}")?;
        return Ok(Exit::Ok);
    }
    let changed = change.await.map_err(|error| failed(&error))?;
    match changed {
        true => writeln!(aside(), "{verb} {which}")?,
        false => writeln!(aside(), "nothing to change at {which}")?,
    }
    Ok(Exit::Ok)
}

fn parsed(address: &str) -> Result<Address, Failure> {
    Address::parse(address)
        .map_err(|error| Failure::new(Exit::Usage, format!("\"{address}\": {error}")))
}

fn certificates_in(file: &Path) -> Result<Vec<Certificate>, Failure> {
    let found =
        read_certificates(file).map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    match found.is_empty() {
        true => {
            let what = format!("{}: holds no certificate", file.display());
            Err(Failure::new(Exit::Data, what))
        }
        false => Ok(found),
    }
}

fn show(all: &[Kept], format: Format) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if format == Format::Json {
        write!(out, "[")?;
    }
    for (place, kept) in all.iter().enumerate() {
        write_one(&mut out, kept, format, place == 0)?;
    }
    if format == Format::Json {
        writeln!(out, "]")?;
    }
    Ok(())
}

fn write_one(out: &mut impl Write, kept: &Kept, format: Format, first: bool) -> io::Result<()> {
    match format {
        Format::Text => out.write_all(text_of(kept).as_bytes()),
        Format::Json => write!(out, "{}{}", if first { "" } else { "," }, json_of(kept)),
        Format::Jsonl => writeln!(out, "{}", json_of(kept)),
    }
}

fn text_of(kept: &Kept) -> String {
    let certificate = &kept.certificate;
    let mut text = format!(
        "{}\n  subject   {}\n  issuer    {}\n  serial    {}\n  valid     {} to {}\n  origin    {}{}\n",
        fingerprint(certificate),
        harmless(&certificate.subject().to_string()),
        harmless(&certificate.issuer().to_string()),
        certificate.serial_hex(),
        time(certificate.not_before().ok()),
        time(certificate.not_after().ok()),
        kept.origin.as_str(),
        if kept.quarantined {
            ", quarantined"
        } else {
            ""
        },
    );
    for address in certificate.addresses().unwrap_or_default() {
        text.push_str(&format!("  address   {}\n", harmless(&address.to_string())));
    }
    for address in &kept.registered {
        text.push_str(&format!("  address   {} (registered)\n", harmless(address)));
    }
    text
}

fn json_of(kept: &Kept) -> Value {
    let certificate = &kept.certificate;
    let addresses = certificate.addresses().unwrap_or_default();
    json!({
        "sha256": hex(certificate.sha256()),
        "subject": certificate.subject().to_string(),
        "issuer": certificate.issuer().to_string(),
        "serial": certificate.serial_hex(),
        "not_before": certificate.not_before().ok().map(|time| time.to_string()),
        "not_after": certificate.not_after().ok().map(|time| time.to_string()),
        "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "registered": kept.registered,
        "origin": kept.origin.as_str(),
        "quarantined": kept.quarantined,
    })
}

fn time(time: Option<UnixTime>) -> String {
    time.map_or_else(|| "?".to_owned(), |time| time.to_string())
}

fn fingerprint(certificate: &Certificate) -> String {
    hex(certificate.sha256())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In seconds.
const DAY: i64 = 86_400;
/// Certificates that are read at once.
const PAGE: i64 = 500;
/// Digits of a fingerprint that are asked for at least.
const SHORTEST: usize = 8;
