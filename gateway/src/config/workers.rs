//! `[workers]`: where mail is parsed.

use serde::Deserialize;

/// Who parses mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// `isolate`: processes without rights, not threads of the gateway. Default `true`.
    pub isolate: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWorkers {
    pub(super) isolate: Option<bool>,
}

impl RawWorkers {
    pub(super) fn finish(self) -> Workers {
        Workers {
            isolate: self.isolate.unwrap_or(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn mail_is_parsed_without_rights_unless_it_is_said_otherwise() {
        let isolated = |table: &str| {
            let text = format!(
                "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\n\
                 mode = \"before-queue\"\n[next_hop]\naddress = \"127.0.0.1:10026\"\n{table}"
            );
            let config = Config::parse(&text, Path::new("/etc/kenin/kenin.toml"));
            config.unwrap().workers.isolate
        };
        assert!(isolated(""));
        assert!(!isolated("[workers]\nisolate = false\n"));
        assert!(isolated("[workers]\nisolate = true\n"));
    }
}
