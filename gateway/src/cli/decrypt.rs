//! `kenin decrypt`: opens the encrypted layers of one mail with keys that a person names, and writes the mail with its
//! content in their place. The signatures inside stay in it; what they are worth, `kenin verify` says.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kenin_keys::KeyFacts;
use kenin_pki::address::Address;
use kenin_pki::pem::{self, Block};
use kenin_policy::cipher_name;
use kenin_smime::open::Integrity;
use kenin_smime::{Defect, Limits};

use super::arguments::Decrypt;
use super::aside::aside;
use super::input::{self, Kind};
use super::key::{Folder, works_for};
use super::open::{Look, OpenedLayer, Opener};
use super::paint::harmless;
use super::private::Holder;
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// Opens the file, and ends with 1 where a layer stays closed: what was opened around it is written all the same.
pub(super) fn command(config: &[PathBuf], options: &Decrypt) -> Result<Exit, Failure> {
    if options.key.is_empty() && options.recipient.is_empty() {
        let what = "name the keys: --key CERT:KEY, or --recipient ADDRESS for those of [keys]";
        return Err(Failure::new(Exit::Usage, what));
    }
    let config = match options.recipient.is_empty() && config.is_empty() {
        true => None,
        false => Some(super::load_config(config)?),
    };
    let limits = config
        .as_ref()
        .map_or_else(Limits::default, Config::engine_limits);
    let holders = holders(config.as_ref(), options)?;
    let file = &options.file;
    let most = u64::try_from(limits.message_size).unwrap_or(u64::MAX);
    let bytes = input::read(file, most).map_err(|error| Failure::file(file, &error))?;
    if bytes.len() > limits.message_size {
        return Err(told(file, Exit::Data, "larger than any mail"));
    }
    let opener = Opener {
        holders: &holders,
        limits: &limits,
        legacy: options.legacy,
    };
    let opened = open_all(&opener, &bytes, &mut |layer| say(&opener, layer))?;
    if let Some(message) = opened.message.filter(|_| !options.dry_run) {
        write_out(options.output.as_deref(), &message)?;
    }
    match opened.closed {
        Some(why) => Err(told(file, why.exit, &why.text)),
        None => Ok(Exit::Ok),
    }
}

/// The keys that the options name.
fn holders(config: Option<&Config>, options: &Decrypt) -> Result<Vec<Holder>, Failure> {
    let mut holders = Vec::new();
    for pair in &options.key {
        holders.extend(Holder::read(pair, options.password_file.as_deref())?);
    }
    let addresses: Vec<Address> = options
        .recipient
        .iter()
        .map(|text| address(text))
        .collect::<Result<_, _>>()?;
    let Some(config) = config.filter(|_| !addresses.is_empty()) else {
        return Ok(holders);
    };
    let wanted = |facts: &KeyFacts| {
        let is_theirs = addresses.iter().any(|address| works_for(facts, address));
        facts.uses.decrypt && is_theirs
    };
    let folder = Folder::open(config)?;
    holders.extend(folder.holders(wanted)?);
    if holders.is_empty() {
        let whose = harmless(&options.recipient.join(", "));
        let what = match folder.has_in_token(wanted)? {
            true => format!(
                "the key that decrypts for {whose} lies in a token, and works for the service alone"
            ),
            false => format!("no key in the folder decrypts for {whose}"),
        };
        return Err(Failure::new(Exit::Data, what));
    }
    Ok(holders)
}

/// What became of a message.
struct Opened {
    /// As far as it was opened; nothing where no layer was.
    message: Option<Vec<u8>>,
    /// Why something is left to open.
    closed: Option<Stay>,
}

/// Why a layer stays closed, and how the program ends then.
struct Stay {
    exit: Exit,
    text: String,
}

/// Opens layer by layer, and tells each.
fn open_all(
    opener: &Opener<'_>,
    bytes: &[u8],
    tell: &mut dyn FnMut(&OpenedLayer) -> io::Result<()>,
) -> Result<Opened, Failure> {
    let mut found = match object(bytes) {
        Some(object) => opener.look_at_cms(&object),
        None => opener.look(&input::wire_form(bytes)),
    };
    let mut message = None;
    let mut compressed = None;
    for _ in 0..=opener.limits.layers {
        match found {
            Look::Opened(layer) => {
                tell(&layer)?;
                compressed = layer.compressed;
                found = opener.look(&layer.message);
                message = Some(layer.message);
            }
            Look::Closed(closed) => {
                let closed = Some(Stay {
                    exit: Exit::Negative,
                    text: closed.text(),
                });
                return Ok(Opened { message, closed });
            }
            Look::Nothing => {
                let nothing = "there is nothing to open: the message as a whole is not encrypted";
                let closed = match &message {
                    None => Some(Stay {
                        exit: Exit::Data,
                        text: nothing.to_owned(),
                    }),
                    Some(_) => compressed.map(|defect| still_compressed(opener, defect)),
                };
                return Ok(Opened { message, closed });
            }
        }
    }
    let closed = Some(Stay {
        exit: Exit::Negative,
        text: "more layers are inside each other than are opened".to_owned(),
    });
    Ok(Opened { message, closed })
}

/// Why something that is compressed inside is written as it is.
fn still_compressed(opener: &Opener<'_>, defect: Defect) -> Stay {
    let limits = opener.limits;
    let why = match defect {
        Defect::LimitCompression => format!(
            "it expands to more than {} times its size, or than the largest mail \
             ([limits] message_size in --config: {} octets)",
            limits.compression_ratio, limits.message_size
        ),
        Defect::LimitLayers => format!(
            "more than {} layers are inside each other ([caps] cms_layers in --config)",
            limits.layers
        ),
        Defect::UnsupportedAlgorithm => "the compression is not supported".to_owned(),
        Defect::UnsupportedLayer => "what is compressed is not mail".to_owned(),
        _ => "it cannot be read".to_owned(),
    };
    Stay {
        exit: Exit::Negative,
        text: format!("what is inside stays compressed: {why}"),
    }
}

/// The object that a file of bare CMS holds, in DER or BER; nothing for mail.
pub(super) fn object(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if let Some(object) = input::base64_cms(bytes) {
        return Some(Cow::Owned(object));
    }
    if input::kind(bytes) == Kind::Mail {
        return None;
    }
    let blocks = match bytes.first() {
        Some(0x30) => Vec::new(),
        _ => pem::decode(bytes).unwrap_or_default(),
    };
    let block = blocks.into_iter().find(Block::is_cms);
    Some(block.map_or(Cow::Borrowed(bytes), |block| Cow::Owned(block.bytes)))
}

/// Says of a layer how it was encrypted, for whom it was opened, and what that proves.
fn say(opener: &Opener<'_>, layer: &OpenedLayer) -> io::Result<()> {
    let oid = layer.cipher.to_identifier().oid().to_string();
    let whose = layer.certificate.subject().to_string();
    let mut talk = aside();
    writeln!(
        talk,
        "kenin: opened: {}, {} recipient(s), with the key of {}",
        cipher_name(&oid),
        layer.recipients,
        harmless(&whose)
    )?;
    let integrity = match layer.integrity {
        Integrity::Aead => "aead: nobody changed the content without its key",
        Integrity::None if has_signature(&layer.message, opener.limits) => {
            "none: only the signature inside says whether the content was changed"
        }
        Integrity::None => "none: the content may have been changed on its way",
    };
    writeln!(talk, "kenin: integrity: {integrity}")?;
    if layer.signatures > 0 {
        let count = layer.signatures;
        writeln!(talk, "kenin: {count} signature(s) around it were left out")?;
    }
    if layer.other_from {
        let what = "the content has another From than the mail; the mail's stays";
        writeln!(talk, "kenin: {what}")?;
    }
    Ok(())
}

/// Whether the message as a whole is signed, by whomever.
fn has_signature(message: &[u8], limits: &Limits) -> bool {
    let examined = kenin_smime::examine(message, limits, &[]);
    examined.root_signature().is_some()
}

/// A mail address as it was typed.
pub(super) fn address(text: &str) -> Result<Address, Failure> {
    Address::parse(text)
        .map_err(|error| Failure::new(Exit::Usage, format!("\"{}\": {error}", harmless(text))))
}

fn told(file: &Path, exit: Exit, what: &str) -> Failure {
    Failure::new(exit, format!("{}: {what}", file.display()))
}

/// Writes a message to a new file that nobody else can read, or to standard output.
pub(super) fn write_out(output: Option<&Path>, message: &[u8]) -> Result<(), Failure> {
    let Some(path) = output else {
        let mut out = io::stdout().lock();
        out.write_all(message)?;
        // What stands behind the last line end is not written before.
        out.flush()?;
        return Ok(());
    };
    let failed = |error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let what = format!("{}: is there already, and stays as it is", path.display());
            Failure::new(Exit::Usage, what)
        }
        _ => Failure::file(path, error),
    };
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(|error| failed(&error))?;
    let written = file.write_all(message).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a mail would be taken for the whole one, and the next try would find the file there.
        let _ = std::fs::remove_file(path);
        failed(&error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_file_is_private_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.eml");
        write_out(Some(&path), b"first").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = write_out(Some(&path), b"second").unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
    }

    #[test]
    fn bare_objects_are_told_from_mail() {
        let der = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x00";
        assert_eq!(object(der).as_deref(), Some(&der[..]));
        let text = pem::encode("CMS", der);
        assert_eq!(object(text.as_bytes()).as_deref(), Some(&der[..]));
        assert_eq!(object(b"From: a@example.jp\r\n\r\nx\r\n"), None);
    }
}
