//! `kenin crl`: what the revocation lists in use are and how fresh, and fetching them now. What is newer goes to the
//! store, where the running service finds it.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use kenin_certstore::fetch::{Limits, Place};
use kenin_certstore::{FetchedList, RevocationIndex, StoreError};
use kenin_pki::crl::Crl;
use kenin_pki::extension::{DistributionPointName, GeneralName};
use kenin_pki::time::UnixTime;
use serde_json::{Value, json};

use super::arguments::{CrlCommand, Format};
use super::aside::aside;
use super::engine::now;
use super::paint::harmless;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::refresh::list::{self, NotTaken, Received};
use crate::snapshot::{Parts, Remembered, Snapshot, lists_folder, make_folders, remembered};
use crate::sources::{AnchorSources, Sources};
use crate::store;

use super::cert::unopened;

/// Runs the verb.
pub(super) fn command(config: &[PathBuf], verb: &CrlCommand) -> Result<Exit, Failure> {
    let config = Arc::new(super::load_config(config)?);
    match verb {
        CrlCommand::Status { format } => status(&config, *format),
        CrlCommand::Refresh { urls, dry_run } => refresh(&config, urls, *dry_run),
    }
}

/// What the service would have in use, and where it is from.
struct Held {
    snapshot: Snapshot,
    /// Fingerprints of the lists in files.
    in_files: HashSet<[u8; 32]>,
    fetched: Vec<FetchedList>,
}

impl Held {
    fn read(config: &Arc<Config>) -> Result<Self, Failure> {
        let wrong =
            |error: &dyn std::fmt::Display| Failure::new(Exit::Configuration, error.to_string());
        let lists = Arc::new(RevocationIndex::passing());
        let parts = Parts::read(Arc::clone(config), lists).map_err(|error| wrong(&error))?;
        let in_files = parts.lists().iter().map(|crl| *crl.sha256()).collect();
        let Remembered {
            authorities,
            crls,
            fetched,
            ..
        } = match remembered(config) {
            Err(error) if error.is_absent() => Remembered::default(),
            found => found.map_err(|error| unopened(&error))?,
        };
        Ok(Self {
            snapshot: parts.with(authorities, crls),
            in_files,
            fetched,
        })
    }

    /// Where a list came from: URLs, a file, or the store where it is remembered only.
    fn sources(&self, crl: &Crl) -> Vec<String> {
        let urls = self
            .fetched
            .iter()
            .filter(|one| one.sha256 == *crl.sha256());
        let mut sources: Vec<String> = urls.map(|one| one.url.clone()).collect();
        if self.in_files.contains(crl.sha256()) {
            sources.push("file".to_owned());
        }
        if sources.is_empty() {
            sources.push("store".to_owned());
        }
        sources
    }
}

fn failed(error: &StoreError) -> Failure {
    Failure::new(Exit::Unavailable, error.to_string())
}

fn status(config: &Arc<Config>, format: Format) -> Result<Exit, Failure> {
    let held = Held::read(config)?;
    let now = now();
    let signed: HashSet<[u8; 32]> = held
        .snapshot
        .known
        .signed_crls()
        .map(|(crl, _)| *crl.sha256())
        .collect();
    let mut all_fresh = true;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if format == Format::Json {
        write!(out, "[")?;
    }
    for (place, crl) in held.snapshot.known.all_crls().iter().enumerate() {
        let line = Line {
            crl,
            signed: signed.contains(crl.sha256()),
            sources: held.sources(crl),
            now,
        };
        all_fresh &= line.freshness() == FRESH;
        match format {
            Format::Text => out.write_all(line.text().as_bytes())?,
            Format::Json if place > 0 => write!(out, ",{}", line.json())?,
            Format::Json => write!(out, "{}", line.json())?,
            Format::Jsonl => writeln!(out, "{}", line.json())?,
        }
    }
    if format == Format::Json {
        writeln!(out, "]")?;
    }
    out.flush()?;
    let sources = held.snapshot.sources.iter();
    let mut nothing_missing = true;
    for (_, place) in sources.flat_map(places) {
        let url = place.to_string();
        if !held.fetched.iter().any(|one| one.url == url) {
            nothing_missing = false;
            writeln!(aside(), "nothing came from {url} yet")?;
        }
    }
    Ok(match all_fresh && nothing_missing {
        true => Exit::Ok,
        false => Exit::Negative,
    })
}

/// One list and what is said of it.
struct Line<'a> {
    crl: &'a Crl,
    /// Whether a known key signed it.
    signed: bool,
    sources: Vec<String>,
    now: UnixTime,
}

impl Line<'_> {
    fn freshness(&self) -> &'static str {
        match self.crl.next_update() {
            _ if self.crl.is_absent() => "missing",
            _ if self.crl.this_update().is_ahead_of(self.now) => "early",
            Some(until) if self.now <= until => FRESH,
            Some(_) => "stale",
            None => "endless",
        }
    }

    /// Seconds since it was made.
    fn age(&self) -> i64 {
        self.now.0.saturating_sub(self.crl.this_update().0)
    }

    fn text(&self) -> String {
        let crl = self.crl;
        let until = crl.next_update();
        let until = until.map_or_else(|| "no end".to_owned(), |time| time.to_string());
        let unsigned = match self.signed {
            _ if crl.is_absent() => {
                ", known to the store and not at hand: nobody in its scope passes"
            }
            true => "",
            false => ", signed by no key that is known here",
        };
        let entries = match crl.is_absent() {
            true => "not known".to_owned(),
            false => crl.len().to_string(),
        };
        let sources: Vec<String> = self.sources.iter().map(|one| harmless(one)).collect();
        format!(
            "{}\n  state     {}{unsigned}\n  covers    {}\n  number    {}\n  times     {} to {until}, {} old\n  \
             entries   {}\n  from      {}\n",
            harmless(&crl.issuer().to_string()),
            self.freshness(),
            harmless(&scope(crl).join(", ")),
            number(crl).unwrap_or_else(|| "none".to_owned()),
            crl.this_update(),
            duration(self.age()),
            entries,
            sources.join(", "),
        )
    }

    fn json(&self) -> Value {
        let crl = self.crl;
        json!({
            "issuer": crl.issuer().to_string(),
            "scope": scope(crl),
            "number": number(crl),
            "this_update": crl.this_update().to_string(),
            "next_update": crl.next_update().map(|time| time.to_string()),
            "entries": (!crl.is_absent()).then(|| crl.len()),
            "age": self.age(),
            "sources": self.sources,
            "freshness": self.freshness(),
            "signed": self.signed,
            "sha256": hex(crl.sha256()),
        })
    }
}

/// What of its issuer's certificates a list tells of, in words.
fn scope(crl: &Crl) -> Vec<String> {
    let first = if crl.is_delta() { "delta" } else { "complete" };
    let mut words = vec![first.to_owned()];
    let scope = match crl.issuing_distribution_point() {
        Ok(None) => return words,
        Ok(Some(scope)) => scope,
        Err(_) => {
            words.push("unreadable scope".to_owned());
            return words;
        }
    };
    for (said, word) in [
        (scope.only_user_certs, "users only"),
        (scope.only_ca_certs, "authorities only"),
        (scope.only_attribute_certs, "attribute certificates only"),
        (scope.only_some_reasons.is_some(), "some reasons only"),
        (scope.indirect, "of other issuers too"),
    ] {
        if said {
            words.push(word.to_owned());
        }
    }
    match &scope.name {
        None => {}
        Some(DistributionPointName::Relative(_)) => words.push("a part".to_owned()),
        Some(DistributionPointName::Full(names)) => words.extend(names.iter().map(|name| {
            let name = match name {
                GeneralName::Uri(uri) => uri.to_string(),
                GeneralName::Directory(name) => name.to_string(),
                _ => "of another kind".to_owned(),
            };
            format!("part {name}")
        })),
    }
    words
}

/// cRLNumber: decimal, or hexadecimal where it is long.
fn number(crl: &Crl) -> Option<String> {
    let octets = crl.crl_number().ok().flatten()?;
    if octets.len() > size_of::<u128>() {
        return Some(format!("0x{}", hex(octets)));
    }
    let value = octets
        .iter()
        .fold(0_u128, |sum, octet| (sum << 8) | u128::from(*octet));
    Some(value.to_string())
}

fn duration(seconds: i64) -> String {
    match seconds {
        ..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Every configured place with its anchor.
fn places(sources: &Sources) -> Vec<(&AnchorSources, &Place)> {
    let anchors = sources.anchors.iter();
    anchors
        .flat_map(|anchor| anchor.lists.iter().map(move |place| (anchor, place)))
        .collect()
}

fn refresh(config: &Arc<Config>, urls: &[String], dry_run: bool) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Opened to write first: it brings the schema up to date, which reading does not.
    let store = match dry_run {
        true => None,
        false => {
            make_folders(config).map_err(|text| Failure::new(Exit::Io, text))?;
            let store = runtime.block_on(store::open(config));
            Some(store.map_err(|error| unopened(&error))?)
        }
    };
    let held = Held::read(config)?;
    let Some(sources) = &held.snapshot.sources else {
        let file = config.trust_file();
        let what = format!("{}: no anchor has [anchor.fetch]", file.display());
        return Err(Failure::new(Exit::Configuration, what));
    };
    let wanted = wanted(sources, urls)?;
    // What is only tried out goes with the command.
    let index = match dry_run {
        true => RevocationIndex::passing(),
        false => RevocationIndex::open(&lists_folder(config)).map_err(|error| failed(&error))?,
    };
    let mut exit = Exit::Ok;
    for (anchor, place) in wanted {
        let source = list::Source {
            network: &*sources.network,
            anchor,
            place,
            known: &held.snapshot.known,
            more: &[],
            index: &index,
        };
        let now = now();
        let outcome = runtime.block_on(async {
            let received = source.fetch(&Limits::CRL, now).await?;
            let (crl, new) = match &store {
                Some(store) => {
                    let taken = list::keep(store, place, received, now).await?;
                    (taken.crl, taken.new)
                }
                None => tried(&held.snapshot, received),
            };
            // One that was known and not at hand is here again.
            let new = new || held.snapshot.known.is_lacking(crl.sha256());
            Ok::<_, NotTaken>((crl, new))
        });
        let (text, how) = told(&outcome, dry_run);
        writeln!(aside(), "{place}: {}", harmless(&text))?;
        // A server that is away is worth another try; what it sent is not.
        if exit != Exit::Data {
            exit = if how == Exit::Ok { exit } else { how };
        }
    }
    if let Some(store) = store {
        runtime.block_on(store.close());
    }
    Ok(exit)
}

/// The places of these URLs, or all.
fn wanted<'a>(
    sources: &'a Sources,
    urls: &[String],
) -> Result<Vec<(&'a AnchorSources, &'a Place)>, Failure> {
    let all = places(sources);
    if urls.is_empty() {
        if all.is_empty() {
            let what = "no anchor has crl = [\"http://…\"] in its [anchor.fetch]";
            return Err(Failure::new(Exit::Configuration, what));
        }
        return Ok(all);
    }
    let mut wanted = Vec::new();
    for url in urls {
        let place = Place::parse(url, &sources.ports)
            .map_err(|error| Failure::new(Exit::Usage, format!("\"{url}\": {error}")))?;
        let found = all.iter().find(|(_, one)| **one == place);
        let found = found.ok_or_else(|| {
            let what = format!("\"{url}\" stands in no [anchor.fetch] of trust.toml");
            Failure::new(Exit::Usage, what)
        })?;
        wanted.push(*found);
    }
    Ok(wanted)
}

/// What keeping the list would come to.
fn tried(snapshot: &Snapshot, received: Received) -> (Crl, bool) {
    let new = snapshot.known.is_news(&received.crl, &received.by);
    (received.crl, new)
}

/// A sentence, and the exit code that goes with it.
fn told(outcome: &Result<(Crl, bool), NotTaken>, dry_run: bool) -> (String, Exit) {
    match outcome {
        Ok((crl, new)) => {
            let verb = match (new, dry_run) {
                (true, false) => "kept",
                (true, true) => "would keep",
                (false, _) => "had already, or a newer one:",
            };
            let (issuer, entries) = (crl.issuer(), crl.len());
            let until = crl.next_update();
            let until = until.map_or_else(|| "no end".to_owned(), |time| time.to_string());
            let text = format!("{verb} the list of {issuer}, {entries} entries, until {until}");
            (text, Exit::Ok)
        }
        Err(why) => {
            let exit = match why {
                NotTaken::NoList(_) | NotTaken::Refused(_) | NotTaken::Older => Exit::Data,
                NotTaken::Fetch(_) | NotTaken::Store(_) => Exit::Unavailable,
            };
            (why.to_string(), exit)
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const FRESH: &str = "fresh";

#[cfg(test)]
mod tests {
    use kenin_pki::certificate::Certificate;
    use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
    use kenin_pki::extension::IssuingDistributionPoint;
    use kenin_pki::issue::{CertificateBuilder, CrlBuilder, common_name};

    use super::*;

    fn list(shape: impl FnOnce(CrlBuilder) -> CrlBuilder) -> Crl {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let name = common_name("A\u{202e}").unwrap();
        let root: Certificate = CertificateBuilder::new(name, key.public_key())
            .authority(None)
            .self_signed(&key)
            .unwrap();
        let builder = CrlBuilder::new(UnixTime(1000), Some(UnixTime(2000)));
        shape(builder).issued_by(&root, &key).unwrap()
    }

    fn line(crl: &Crl, now: i64) -> Line<'_> {
        Line {
            crl,
            signed: true,
            sources: vec!["file".to_owned()],
            now: UnixTime(now),
        }
    }

    #[test]
    fn freshness_is_told_by_the_times() {
        let crl = list(|list| list);
        for (now, wanted) in [
            (699, "early"),
            (700, FRESH),
            (1000, FRESH),
            (2000, FRESH),
            (2001, "stale"),
        ] {
            assert_eq!(line(&crl, now).freshness(), wanted, "{now}");
        }
        let mut line = line(&crl, 5000);
        assert_eq!(line.age(), 4000);
        line.signed = false;
        let text = line.text();
        assert!(!text.contains('\u{202e}'), "{text:?}");
        assert!(text.contains("stale, signed by no key"), "{text}");
        assert!(text.contains("1 h old"), "{text}");
    }

    #[test]
    fn scopes_have_words_and_numbers_are_decimal() {
        let crl = list(|list| list.number(300));
        assert_eq!(scope(&crl), ["complete"]);
        assert_eq!(number(&crl).as_deref(), Some("300"));
        let point = IssuingDistributionPoint {
            name: Some(DistributionPointName::Full(vec![GeneralName::Uri(
                "http://ca.example/1.crl".into(),
            )])),
            only_user_certs: true,
            ..IssuingDistributionPoint::default()
        };
        let crl = list(|list| list.issuing_distribution_point(&point).delta(7));
        let words = ["delta", "users only", "part http://ca.example/1.crl"];
        assert_eq!(scope(&crl), words);
        assert_eq!(number(&list(CrlBuilder::without_number)), None);
    }
}
