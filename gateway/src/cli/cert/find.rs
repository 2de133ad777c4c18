//! `kenin cert find`: the certificates of an address, from the store and then from the directories. Keeps nothing, and
//! trusts nothing: what it shows are candidates.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use kenin_certstore::directory::{Asked, Directory};
use kenin_certstore::{AnswerCache, Cache, DEFAULT_TENANT, Kept, Origin};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::time::UnixTime;
use serde_json::Value;

use super::{failed, json_of, parsed, text_of, unopened};
use crate::cli::arguments::Format;
use crate::cli::engine::now;
use crate::cli::paint::harmless;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::{services, store};

/// A certificate, and where it was found.
pub(in crate::cli) struct Finding {
    pub(in crate::cli) kept: Kept,
    pub(in crate::cli) place: String,
}

/// What was found for an address.
pub(in crate::cli) struct Search {
    pub(in crate::cli) found: Vec<Finding>,
    /// A directory did not answer: there may be more.
    pub(in crate::cli) silent: bool,
}

/// Asks, and says what was found where.
pub(super) async fn command(
    config: &Config,
    address: &str,
    format: Format,
) -> Result<Exit, Failure> {
    let address = parsed(address)?;
    let Search { found, silent } = search(config, &address).await?;
    let now = now();
    show(&found, now, format)?;
    let usable = |one: &Finding| !one.kept.quarantined && holds(&one.kept.certificate, now);
    Ok(match (found.iter().any(usable), silent) {
        (true, _) => Exit::Ok,
        (false, true) => Exit::Unavailable,
        (false, false) => Exit::Negative,
    })
}

/// Asks the store, then each directory; what is odd is said on standard error.
pub(in crate::cli) async fn search(config: &Config, address: &Address) -> Result<Search, Failure> {
    let mut found: Vec<Finding> = in_store(config, address)
        .await?
        .into_iter()
        .map(|kept| Finding {
            kept,
            place: "store".to_owned(),
        })
        .collect();
    let mut silent = false;
    let shared = services::shared_cache(config).unwrap_or_else(|error| {
        talk(&format!("the cache is left out: {error}"));
        None
    });
    let shared = shared.map(|cache| Arc::new(cache.patient(PATIENCE)));
    let cache = shared.as_ref().map(|cache| cache.of(DEFAULT_TENANT));
    let cache = cache.as_ref().map(|cache| cache as &dyn AnswerCache);
    for (index, one) in config.directories.iter().enumerate() {
        let directory = services::directory(config, index, one)
            .map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
        let server = directory.settings().server.to_string();
        match directory.ask_through(cache, address).await {
            Ok(asked) => {
                say_dropped(&server, &directory, &asked);
                let place = match asked.cached {
                    true => format!("{server} (cached)"),
                    false => server,
                };
                let kept = asked.found.certificates.into_iter().map(kept);
                found.extend(kept.map(|kept| Finding {
                    kept,
                    place: place.clone(),
                }));
            }
            Err(error) => {
                silent = true;
                talk(&format!("{server} is unavailable: {error}"));
            }
        }
    }
    if let Some(cache) = &shared {
        say_refused(cache);
    }
    Ok(Search { found, silent })
}

/// What the store has.
async fn in_store(config: &Config, address: &Address) -> Result<Vec<Kept>, Failure> {
    let store = match store::open_to_read(config).await {
        Ok(store) => store,
        // Nobody made it yet, and the directories may know.
        Err(error) if error.is_absent() && !config.directories.is_empty() => return Ok(Vec::new()),
        Err(error) => return Err(unopened(&error)),
    };
    let found = store.certificates_by_address(DEFAULT_TENANT, address).await;
    store.close().await;
    found.map_err(|error| failed(&error))
}

fn kept(certificate: Certificate) -> Kept {
    Kept {
        certificate,
        origin: Origin::Directory,
        quarantined: false,
        registered: Vec::new(),
    }
}

/// What lay under the address and is none of its certificates: somebody should look into that.
fn say_dropped(server: &str, directory: &Directory, asked: &Asked) {
    let dropped = asked.found.dropped;
    for (count, what) in [
        (dropped.foreign, "without the address"),
        (dropped.unreadable, "that cannot be read"),
        (dropped.too_much, "that are too long or too many"),
    ] {
        if count > 0 {
            talk(&format!("{server}: left out {count} {what}"));
        }
    }
    if asked.found.more {
        let limit = directory.settings().size_limit;
        talk(&format!(
            "{server}: more than {limit} entries have the address"
        ));
    }
}

/// What lay in the cache and nobody with the key put there for this question, at this time: an alarm.
fn say_refused(cache: &Cache) {
    let refused = cache.counts().refused;
    if refused > 0 {
        talk(&format!(
            "the cache: left out {refused} that were changed or put back; see who else writes to it"
        ));
    }
}

fn talk(text: &str) {
    let _ = writeln!(io::stderr(), "kenin: {}", harmless(text));
}

/// Whether this moment is one of the certificate's.
fn holds(certificate: &Certificate, now: UnixTime) -> bool {
    let begun = certificate.not_before().is_ok_and(|time| time.0 <= now.0);
    begun && certificate.not_after().is_ok_and(|time| now.0 <= time.0)
}

fn show(all: &[Finding], now: UnixTime, format: Format) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match format {
        Format::Text => {
            for one in all {
                out.write_all(text_of(&one.kept).as_bytes())?;
                let place = harmless(&one.place);
                let note = match holds(&one.kept.certificate, now) {
                    true => "",
                    false => ", not valid now",
                };
                writeln!(out, "  found in  {place}{note}")?;
            }
        }
        Format::Json => writeln!(
            out,
            "{}",
            Value::Array(all.iter().map(|one| json(one, now)).collect())
        )?,
        Format::Jsonl => {
            for one in all {
                writeln!(out, "{}", json(one, now))?;
            }
        }
    }
    Ok(())
}

fn json(one: &Finding, now: UnixTime) -> Value {
    let mut value = json_of(&one.kept);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("found_in".to_owned(), one.place.clone().into());
        fields.insert(
            "valid_now".to_owned(),
            holds(&one.kept.certificate, now).into(),
        );
    }
    value
}

/// How long a person waits for the cache, which has to be connected to first.
const PATIENCE: Duration = Duration::from_secs(1);
