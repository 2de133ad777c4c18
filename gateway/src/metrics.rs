//! Prometheus metrics. No address, serial number or third party's domain is ever a label.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kenin_pki::certificate::Certificate;
use kenin_pki::time::UnixTime;
use kenin_policy::Wrapper;
use kenin_smtp_filter::Fate;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::snapshot::Snapshot;
use crate::wrapper;

/// Installs the recorder, once a process; without it everything here does nothing.
pub(crate) fn install() {
    if HANDLE.get().is_some() {
        return;
    }
    let buckets = Matcher::Full(DURATION.to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &SECONDS);
    // Another recorder in this process (a test's) is not ours to replace.
    if let Ok(builder) = builder
        && let Ok(handle) = builder.install_recorder()
    {
        let _ = HANDLE.set(handle);
        describe();
    }
}

/// The text of `/metrics`.
pub(crate) fn render() -> String {
    HANDLE
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Lets go of what histograms hold; called now and then.
pub(crate) fn upkeep() {
    if let Some(handle) = HANDLE.get() {
        handle.run_upkeep();
    }
}

/// A message was judged.
pub(crate) fn judged(
    verdict: &'static str,
    reason: &'static str,
    action: &'static str,
    took: Duration,
) {
    counter!(REASONS, "reason" => reason).increment(1);
    counter!(MESSAGES, "direction" => "inbound", "verdict" => verdict, "action" => action)
        .increment(1);
    histogram!(DURATION).record(took);
}

/// A transaction is over.
pub(crate) fn finished(fate: Fate) {
    counter!(TRANSACTIONS, "fate" => fate.as_str()).increment(1);
}

/// A mail was changed that is to be sealed.
pub(crate) fn sealed(outcome: &'static str) {
    counter!(SEALS, "result" => outcome).increment(1);
}

/// What became of the encryption of a mail, for some of its recipients.
pub(crate) fn opened(state: &'static str) {
    counter!(OPENED, "state" => state).increment(1);
}

/// Something came to the return path of confided mail.
pub(crate) fn taken_in() {
    counter!(TAKEN_IN).increment(1);
}

/// Sessions were opened (+1) or closed (-1).
pub(crate) fn sessions(change: f64) {
    gauge!(SESSIONS).increment(change);
}

/// A client was turned away by a connection limit.
pub(crate) fn turned_away() {
    counter!(TURNED_AWAY).increment(1);
}

/// A line of the log was dropped, because nobody read the ones before it.
pub(crate) fn log_line_dropped() {
    counter!(LOG_DROPPED).increment(1);
}

/// A copy got another body.
pub(crate) fn rewritten(wrapped: bool) {
    let how = if wrapped { "wrapped" } else { "released" };
    counter!(COPIES, "how" => how).increment(1);
}

/// Something happened to held mail.
pub(crate) fn quarantined(event: &'static str) {
    counter!(QUARANTINED, "event" => event).increment(1);
}

/// What the quarantine holds.
pub(crate) fn quarantine(mails: usize, octets: u64, unreadable: usize, writable: bool) {
    let number = |count: usize| seconds(i64::try_from(count).unwrap_or(i64::MAX));
    gauge!(QUARANTINE).set(number(mails));
    gauge!(QUARANTINE_OCTETS).set(seconds(i64::try_from(octets).unwrap_or(i64::MAX)));
    gauge!(QUARANTINE_UNREADABLE).set(number(unreadable));
    gauge!(QUARANTINE_WRITABLE).set(if writable { 1.0 } else { 0.0 });
}

/// A copy was signed or encrypted.
pub(crate) fn protected(how: &'static str) {
    counter!(PROTECTED, "how" => how).increment(1);
}

/// Something was fetched, or was to be.
pub(crate) fn fetched(kind: &'static str, outcome: &'static str) {
    counter!(FETCHES, "kind" => kind, "outcome" => outcome).increment(1);
}

/// When the last list came for an anchor (seconds since 1970); none where it is no longer asked for.
pub(crate) fn last_list(anchor: &str, time: Option<i64>) {
    let value = time.map_or(f64::NAN, seconds);
    gauge!(LAST_LIST, "anchor" => anchor.to_owned()).set(value);
}

/// A configuration was taken over, or kept.
pub(crate) fn reloaded(taken: bool) {
    gauge!(RELOAD).set(if taken { 1.0 } else { 0.0 });
}

/// Whether the wall clock is trusted.
pub(crate) fn clock_trusted(trusted: bool) {
    gauge!(CLOCK).set(if trusted { 1.0 } else { 0.0 });
}

/// Whether the key process is there, and how many keys it has.
pub(crate) fn key_process(there: bool, keys: usize) {
    gauge!(KEY_PROCESS).set(if there { 1.0 } else { 0.0 });
    let keys = u32::try_from(keys).unwrap_or(u32::MAX);
    gauge!(KEYS).set(f64::from(keys));
}

/// What the snapshot in force holds.
pub(crate) fn describe_snapshot(snapshot: &Snapshot, now: UnixTime) {
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(KEY).set(if snapshot.key.is_some() { 1.0 } else { 0.0 });
    if snapshot.config.arc.is_some() {
        gauge!(ARC_KEY).set(if snapshot.arc.is_some() { 1.0 } else { 0.0 });
    }
    follow_time(snapshot, now);
    let own = snapshot.wrapper.as_ref().map(Wrapper::certificate);
    earliest("wrap", own.into_iter());
    let next_update = snapshot.known.next_update();
    gauge!(CRL).set(next_update.map_or(f64::NAN, |time| seconds(time.0)));
    let lists = snapshot.known.all_crls().iter();
    let entries = lists.fold(0_usize, |sum, list| sum.saturating_add(list.len()));
    gauge!(ENTRIES).set(seconds(i64::try_from(entries).unwrap_or(i64::MAX)));
    let absent = i64::try_from(snapshot.absent_lists().count());
    gauge!(ABSENT).set(seconds(absent.unwrap_or(i64::MAX)));
    let anchors = snapshot
        .trust
        .anchors()
        .iter()
        .map(|anchor| &anchor.certificate);
    earliest("anchor", anchors);
    earliest("intermediate", snapshot.known.intermediates().iter());
}

/// What changes by itself while a snapshot stays in force.
pub(crate) fn follow_time(snapshot: &Snapshot, now: UnixTime) {
    let usable = wrapper::is_usable(&snapshot.config, snapshot.wrapper.as_ref(), now);
    if let Some(usable) = usable {
        gauge!(WRAP_KEY).set(if usable { 1.0 } else { 0.0 });
    }
}

/// When it is, for a metric that is a time.
pub(crate) fn describe_start(now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(START).set(since.as_secs_f64());
}

fn earliest<'a>(purpose: &'static str, all: impl Iterator<Item = &'a Certificate>) {
    let ends = all.filter_map(|certificate| certificate.not_after().ok());
    // What is no longer in use must not raise an alarm: NaN is later than nothing.
    let end = ends.map(|time| time.0).min();
    gauge!(CERTIFICATE, "purpose" => purpose).set(end.map_or(f64::NAN, seconds));
}

fn describe() {
    describe_counter!(
        MESSAGES,
        "Messages judged, by verdict and by what was done with them."
    );
    describe_counter!(REASONS, "Messages judged, by reason.");
    describe_counter!(
        TRANSACTIONS,
        "SMTP transactions that reached their end of data, by fate."
    );
    describe_counter!(
        SEALS,
        "Mails changed while [arc] is set, by what became of their seal."
    );
    describe_counter!(
        OPENED,
        "Encrypted mails, by what became of them for a recipient."
    );
    describe_counter!(
        TAKEN_IN,
        "Mails to the return path of confided mail, which go nowhere."
    );
    describe_counter!(TURNED_AWAY, "Connections turned away by a limit.");
    describe_counter!(
        LOG_DROPPED,
        "Lines of the log that were dropped because nobody read it."
    );
    counter!(LOG_DROPPED).increment(0);
    describe_histogram!(DURATION, "Seconds from the end of data to the verdict.");
    describe_gauge!(SESSIONS, "Open SMTP sessions.");
    describe_gauge!(RELOAD, "Whether the last reload was taken over.");
    describe_gauge!(
        CRL,
        "The earliest next update of the revocation lists in use."
    );
    describe_gauge!(ENTRIES, "Entries of the revocation lists in use.");
    describe_gauge!(
        ABSENT,
        "Revocation lists that the store knows and that are not at hand."
    );
    describe_counter!(
        FETCHES,
        "Fetches of revocation lists, OCSP answers and issuers, by what came of them."
    );
    describe_gauge!(
        LAST_LIST,
        "When the last usable list came, of each anchor's URLs the one that waits longest."
    );
    describe_gauge!(
        CERTIFICATE,
        "The earliest end of a certificate in use, by purpose."
    );
    describe_gauge!(KEY, "Whether the key of the stamp can be used.");
    describe_gauge!(ARC_KEY, "Whether changed mail can be sealed.");
    describe_gauge!(WRAP_KEY, "Whether mail can be wrapped now.");
    describe_counter!(
        COPIES,
        "Copies of mail with another body, by what was done: wrapped, or released from its signature."
    );
    describe_counter!(
        PROTECTED,
        "Copies of mail that were protected: signed, encrypted, or signed-encrypted."
    );
    describe_gauge!(
        CLOCK,
        "Whether the wall clock can be right; while it cannot, no signature passes."
    );
    describe_gauge!(
        KEY_PROCESS,
        "Whether the key process is there; while it is not, mail that needs a key waits."
    );
    describe_gauge!(
        KEYS,
        "Private keys that the key process has; not those that cannot be opened."
    );
    describe_counter!(
        QUARANTINED,
        "What happened to held mail: held, or not for want of room or by a failure, ended, told of."
    );
    describe_gauge!(QUARANTINE, "Mails that are held.");
    describe_gauge!(QUARANTINE_OCTETS, "Bytes of all held mail.");
    describe_gauge!(QUARANTINE_UNREADABLE, "Held mails that cannot be read.");
    describe_gauge!(
        QUARANTINE_WRITABLE,
        "Whether mail can be held; 0 after a failure of the disk."
    );
    describe_gauge!(BUILD, "Version of the program.");
    describe_gauge!(START, "When the process started.");
}

/// Times, and numbers of entries, stay exact in a double until long after anybody reads this.
fn seconds(time: i64) -> f64 {
    let (high, low) = (time.div_euclid(1 << 31), time.rem_euclid(1 << 31));
    let part = |n: i64| i32::try_from(n).map_or(f64::NAN, f64::from);
    part(high).mul_add(2_147_483_648.0, part(low))
}

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

const MESSAGES: &str = "kenin_messages_total";
const REASONS: &str = "kenin_reasons_total";
const TRANSACTIONS: &str = "kenin_transactions_total";
const SEALS: &str = "kenin_arc_total";
const OPENED: &str = "kenin_decryptions_total";
const TAKEN_IN: &str = "kenin_return_path_mails_total";
const TURNED_AWAY: &str = "kenin_connections_turned_away_total";
const LOG_DROPPED: &str = "kenin_log_lines_dropped_total";
const DURATION: &str = "kenin_verify_duration_seconds";
const SESSIONS: &str = "kenin_sessions";
const RELOAD: &str = "kenin_config_last_reload_successful";
const CRL: &str = "kenin_crl_next_update_timestamp_seconds";
const ENTRIES: &str = "kenin_crl_entries";
const ABSENT: &str = "kenin_crl_missing";
const FETCHES: &str = "kenin_fetch_total";
const LAST_LIST: &str = "kenin_crl_last_success_timestamp_seconds";
const CERTIFICATE: &str = "kenin_certificate_not_after_timestamp_seconds";
const KEY: &str = "kenin_stamp_key_usable";
const ARC_KEY: &str = "kenin_arc_key_usable";
const WRAP_KEY: &str = "kenin_wrap_key_usable";
const COPIES: &str = "kenin_rewritten_total";
const PROTECTED: &str = "kenin_protected_total";
const CLOCK: &str = "kenin_clock_trusted";
const KEY_PROCESS: &str = "kenin_key_process_up";
const KEYS: &str = "kenin_keys";
const QUARANTINED: &str = "kenin_quarantine_total";
const QUARANTINE: &str = "kenin_quarantine_mails";
const QUARANTINE_OCTETS: &str = "kenin_quarantine_bytes";
const QUARANTINE_UNREADABLE: &str = "kenin_quarantine_unreadable";
const QUARANTINE_WRITABLE: &str = "kenin_quarantine_writable";
const BUILD: &str = "kenin_build_info";
const START: &str = "process_start_time_seconds";

const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        for time in [0_i64, 1_795_000_000, 4_102_444_800, -1] {
            assert_eq!(seconds(time).to_string(), time.to_string());
        }
    }

    #[test]
    fn what_happens_is_counted() {
        install();
        judged("pass", "ok", "stamp", Duration::from_millis(3));
        finished(Fate::Relayed);
        reloaded(false);
        fetched("crl", "failed");
        last_list("root", Some(7));
        clock_trusted(false);
        quarantined("held");
        quarantine(3, 5000, 1, true);
        let text = render();
        for part in [
            "kenin_messages_total{direction=\"inbound\",verdict=\"pass\",action=\"stamp\"}",
            "kenin_verify_duration_seconds_bucket{le=\"0.005\"}",
            "kenin_transactions_total{fate=\"relayed\"}",
            "# TYPE kenin_config_last_reload_successful gauge",
            "kenin_fetch_total{kind=\"crl\",outcome=\"failed\"}",
            "kenin_crl_last_success_timestamp_seconds{anchor=\"root\"} 7",
            "# TYPE kenin_clock_trusted gauge",
            "kenin_quarantine_total{event=\"held\"}",
            "# TYPE kenin_quarantine_bytes gauge",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
