//! What `fuzz/` feeds with arbitrary octets: one function a format that this crate alone reads, which panics where its
//! reader breaks a promise. For nobody else.

use std::path::PathBuf;

use crate::config::{Config, ConfigError};
use crate::{quarantine, worker};

/// `kenin.toml` is read or refused; a refusal names the file, and what is read says the same when a worker reads it
/// again. Laid over itself it is read or refused too.
pub fn kenin_toml(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    let file = PathBuf::from("/etc/kenin/kenin.toml");
    let named = |error: &ConfigError| {
        assert_eq!(error.file.file_name(), file.file_name());
        assert!(!error.message.is_empty());
        assert!(error.report().starts_with(&error.to_string()));
    };
    let twice = vec![
        (file.clone(), text.to_owned()),
        (file.clone(), text.to_owned()),
    ];
    let twice = Config::of_texts(twice);
    let config = match Config::of_texts(vec![(file.clone(), text.to_owned())]) {
        Ok(config) => config,
        Err(error) => return named(&error),
    };
    let again = Config::of_texts(config.texts());
    let again = again.map(|config| format!("{config:?}"));
    assert_eq!(again, Ok(format!("{config:?}")));
    match twice {
        Ok(twice) => assert_eq!(twice.hostname, config.hostname),
        Err(error) => named(&error),
    }
}

/// What edge and workers say to each other.
pub fn worker_frame(octets: &[u8]) {
    worker::fuzzed::frames(octets);
}

/// The file of a held mail, and the facts in it.
pub fn held_mail(octets: &[u8]) {
    quarantine::fuzzed::held_mail(octets);
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    /// Holds a target to inputs that are well made, to each with one octet changed, and to each cut anywhere. Where
    /// `KENIN_CORPUS` names a folder, they are kept there: `fuzz/run corpora` does that.
    pub(crate) fn hold(name: &str, target: fn(&[u8]), inputs: &[(&str, Vec<u8>)]) {
        for (input, octets) in inputs {
            target(octets);
            for at in 0..octets.len() {
                target(&octets[..at]);
                let mut changed = octets.clone();
                changed[at] ^= 1 << (at % 8);
                target(&changed);
            }
            if let Some(corpus) = std::env::var_os("KENIN_CORPUS") {
                let folder = Path::new(&corpus).join(name);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(input), octets).unwrap();
            }
        }
    }

    #[test]
    fn settings_hold_whatever_octet_changes() {
        let inputs = [
            ("short", SHORT.as_bytes().to_vec()),
            ("milter", MILTER.as_bytes().to_vec()),
            ("keys", format!("{SHORT}{KEYS}").into_bytes()),
        ];
        for (name, octets) in &inputs {
            let text = std::str::from_utf8(octets).unwrap();
            let read = Config::parse(text, Path::new("/etc/kenin/kenin.toml"));
            assert!(read.is_ok(), "{name}: {read:?}");
        }
        hold("kenin_toml", kenin_toml, &inputs);
    }

    const SHORT: &str = r#"hostname = "gw.example.jp"
[[listener]]
address = "127.0.0.1:10025"
mode = "before-queue"
trusted_peers = ["10.0.0.0/8"]
[next_hop]
address = "127.0.0.1:10026"
"#;

    const MILTER: &str = r#"hostname = "gw.example.jp"
[[listener]]
address = "unix:/run/kenin/milter"
mode = "milter"
socket_mode = "0660"
[limits]
message_size = "10M"
deadline = "10s"
[log]
format = "json"
"#;

    const KEYS: &str = r#"[keys]
key_file = "kek.key"
[workers]
isolate = true
[quarantine]
key_file = "quarantine.key"
"#;
}
