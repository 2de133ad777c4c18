//! `kenin clock`: what this machine's time is, the latest time that was believed, and setting that back. Never sets a
//! clock.

use std::io::{self, Write};
use std::path::PathBuf;

use kenin_certstore::{ClockMark, DEFAULT_TENANT, StoreError};
use kenin_pki::time::UnixTime;
use serde_json::json;

use super::arguments::{ClockCommand, Format};
use super::aside::aside;
use super::cert::unopened;
use super::engine::now;
use crate::clock::{Trust, plausible};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::store;

/// Runs the verb.
pub(super) fn command(config: &[PathBuf], verb: &ClockCommand) -> Result<Exit, Failure> {
    let config = super::load_config(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match verb {
            ClockCommand::Status { format } => {
                let held = Held::read(&config).await?;
                held.status(*format)
            }
            ClockCommand::Reset { force, dry_run } => reset(&config, *force, *dry_run).await,
        }
    })
}

/// This machine's time, for a command that does what cannot be undone by it.
///
/// # Errors
/// Where it cannot be right, or the store cannot be asked whether it can.
pub(super) fn believed(config: &Config) -> Result<UnixTime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let held = runtime.block_on(Held::read(config))?;
    match held.trust().why() {
        None => Ok(held.now),
        Some(why) => {
            let what = format!("this machine's time is {}, and {why}", held.now);
            Err(Failure::new(Exit::Temporary, what))
        }
    }
}

/// This machine's time and the mark.
struct Held {
    now: UnixTime,
    mark: Option<ClockMark>,
}

impl Held {
    /// Reads both, and changes nothing. A store that is not there has no mark.
    async fn read(config: &Config) -> Result<Self, Failure> {
        let store = match store::open_to_read(config).await {
            Ok(store) => store,
            Err(error) if error.is_absent() => return Ok(Self::at(None)),
            Err(error) => return Err(unopened(&error)),
        };
        let mark = store.clock_mark(DEFAULT_TENANT).await;
        store.close().await;
        Ok(Self::at(mark.map_err(|error| failed(&error))?))
    }

    fn at(mark: Option<ClockMark>) -> Self {
        Self { now: now(), mark }
    }

    fn trust(&self) -> Trust {
        plausible(self.now, self.mark.map(|mark| mark.time))
    }

    fn status(&self, format: Format) -> Result<Exit, Failure> {
        let trust = self.trust();
        let mut out = io::stdout().lock();
        match format {
            Format::Text => out.write_all(self.text().as_bytes())?,
            Format::Json | Format::Jsonl => {
                let value = json!({
                    "now": self.now.to_string(),
                    "mark": self.mark.map(|mark| mark.time.to_string()),
                    "resets": self.mark.map_or(0, |mark| mark.resets),
                    "trusted": trust.is_trusted(),
                    "why": trust.why(),
                });
                writeln!(out, "{value}")?;
            }
        }
        Ok(match trust.is_trusted() {
            true => Exit::Ok,
            false => Exit::Negative,
        })
    }

    fn text(&self) -> String {
        let mark = self.mark.map(|mark| mark.time.to_string());
        let trusted = match self.trust().why() {
            None => "yes".to_owned(),
            Some(why) => format!("no: {why}"),
        };
        format!(
            "now       {}\nmark      {}\nresets    {}\ntrusted   {trusted}\n",
            self.now,
            mark.as_deref().unwrap_or("none yet"),
            self.mark.map_or(0, |mark| mark.resets),
        )
    }

    /// What a reset would do, or why it would do nothing.
    fn wish(&self) -> Result<Wish, Failure> {
        if let Some(why) = plausible(self.now, None).why() {
            let what = format!(
                "this machine's time is {}, and {why}: set its clock first",
                self.now
            );
            return Err(Failure::new(Exit::Temporary, what));
        }
        Ok(match self.mark {
            Some(mark) if mark.time > self.now => Wish::SetBack(mark.time),
            _ => Wish::Nothing,
        })
    }
}

/// What is to be done about the mark.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// It is not after this machine's time.
    Nothing,
    /// It stands at this time.
    SetBack(UnixTime),
}

async fn reset(config: &Config, force: bool, dry_run: bool) -> Result<Exit, Failure> {
    let held = Held::read(config).await?;
    let now = held.now;
    let mut talk = aside();
    let Wish::SetBack(mark) = held.wish()? else {
        writeln!(
            talk,
            "nothing to reset: no time after {now} was believed yet"
        )?;
        return Ok(Exit::Ok);
    };
    if !force {
        writeln!(
            talk,
            "would set the latest time that is believed from {mark} back to {now}, on all nodes of {}",
            config.store.name().display()
        )?;
        if dry_run {
            return Ok(Exit::Ok);
        }
        let what = "nothing was done; if this machine's time is right, say --force";
        return Err(Failure::new(Exit::Usage, what));
    }
    let store = store::open(config)
        .await
        .map_err(|error| unopened(&error))?;
    let done = store.reset_clock_mark(DEFAULT_TENANT, now).await;
    store.close().await;
    done.map_err(|error| failed(&error))?;
    writeln!(
        talk,
        "set the latest time that is believed from {mark} back to {now}; running services go by it within seconds"
    )?;
    Ok(Exit::Ok)
}

fn failed(error: &StoreError) -> Failure {
    Failure::new(Exit::Unavailable, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::EARLIEST;

    fn held(now: i64, mark: Option<i64>) -> Held {
        Held {
            now: EARLIEST.plus(now),
            mark: mark.map(|mark| ClockMark {
                time: EARLIEST.plus(mark),
                resets: 2,
            }),
        }
    }

    #[test]
    fn a_reset_sets_back_and_never_ahead() {
        let wish = |now, mark| held(now, mark).wish().ok();
        assert_eq!(wish(100, None), Some(Wish::Nothing));
        assert_eq!(wish(100, Some(100)), Some(Wish::Nothing));
        assert_eq!(wish(100, Some(50)), Some(Wish::Nothing));
        let ahead = EARLIEST.plus(101);
        assert_eq!(wish(100, Some(101)), Some(Wish::SetBack(ahead)));
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_no_witness() {
        let refused = held(-1, Some(9000)).wish().err().unwrap();
        assert_eq!(refused.exit, Exit::Temporary);
        assert!(refused.message.contains("2026-10-31T23:59:59Z"));
        assert!(refused.message.contains("set its clock first"));
    }

    #[test]
    fn the_status_says_why() {
        let text = held(0, Some(9000)).text();
        assert!(text.contains("now       2026-11-01T00:00:00Z\n"), "{text}");
        assert!(text.contains("mark      2026-11-01T02:30:00Z\n"), "{text}");
        assert!(
            text.ends_with("trusted   no: it is earlier than a time that was believed before\n"),
            "{text}"
        );
        let text = held(0, None).text();
        assert!(text.contains("mark      none yet\n"), "{text}");
        assert!(text.ends_with("trusted   yes\n"), "{text}");
    }
}
