//! `[workers]`: where mail is parsed.

use std::time::Duration;

use serde::Deserialize;

use super::value::Period;

/// Who parses mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// `isolate`: processes without rights, not threads of the gateway. Default `true`.
    pub isolate: bool,
    /// `keep_opening`: how long a process that opens mail has further mail of the same people. Default 0: none.
    pub keep_opening: Duration,
    /// `keep_signing`: how long a process whose mail is only signed has further mail of the same author. Default 10 s.
    pub keep_signing: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWorkers {
    pub(super) isolate: Option<bool>,
    pub(super) keep_opening: Option<Period>,
    pub(super) keep_signing: Option<Period>,
}

impl RawWorkers {
    pub(super) fn finish(self) -> Workers {
        Workers {
            isolate: self.isolate.unwrap_or(true),
            keep_opening: self
                .keep_opening
                .map_or(Duration::ZERO, |Period(time)| time),
            keep_signing: self.keep_signing.map_or(SIGNING, |Period(time)| time),
        }
    }
}

/// Who sends one mail after the other is served by one process; who sends one now and then has another for each.
const SIGNING: Duration = Duration::from_secs(10);
/// Who has taken a process over does not keep it.
pub(super) const MAX_KEEP: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::Workers;
    use crate::config::{Config, ConfigError};

    fn workers(table: &str) -> Result<Workers, ConfigError> {
        let text = format!(
            "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\n\
             mode = \"before-queue\"\n[next_hop]\naddress = \"127.0.0.1:10026\"\n[workers]\n{table}"
        );
        let config = Config::parse(&text, Path::new("/etc/kenin/kenin.toml"));
        config.map(|config| config.workers)
    }

    #[test]
    fn mail_is_parsed_without_rights_unless_it_is_said_otherwise() {
        for (table, isolated) in [
            ("", true),
            ("isolate = false\n", false),
            ("isolate = true\n", true),
        ] {
            assert_eq!(workers(table).unwrap().isolate, isolated, "{table}");
        }
    }

    #[test]
    fn nobody_is_kept_for_longer_than_ten_minutes() {
        let kept = |table: &str| {
            let workers = workers(table).unwrap();
            (workers.keep_opening, workers.keep_signing)
        };
        let seconds = Duration::from_secs;
        assert_eq!(kept(""), (seconds(0), seconds(10)));
        let both = "keep_opening = \"10m\"\nkeep_signing = \"0s\"\n";
        assert_eq!(kept(both), (seconds(600), seconds(0)));
        for name in ["keep_opening", "keep_signing"] {
            let error = workers(&format!("{name} = \"601s\"\n")).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("{name} is above 10m")), "{text}");
        }
    }
}
