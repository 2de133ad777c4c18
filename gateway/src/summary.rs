//! The log line of a message, and one for each group of its recipients that is refused where others are not: collected at
//! its verdict, written when its transaction is over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kenin_policy::header;
use kenin_policy::trust::Disclosure;
use kenin_smtp_filter::{Finished, Mail, Reply, Share, Treatment};
use tracing::{info, warn};

use crate::act::Decided;
use crate::config::LogAddresses;
use crate::snapshot::Snapshot;

/// Recipients who get nothing of a message that others may get.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    rcpts: usize,
    to: String,
    reply: String,
}

/// What is said of one message.
#[derive(Debug)]
pub(crate) struct Summary {
    id: String,
    queue_id: String,
    message_id: String,
    from: String,
    rcpts: usize,
    verdict: &'static str,
    reason: &'static str,
    signer: String,
    issuer_cn: String,
    serial: String,
    policy: String,
    action: &'static str,
    arc: &'static str,
    decryption: String,
    refused: Vec<Refused>,
    rev: String,
    started: Instant,
    took: Duration,
}

impl Summary {
    /// Before the verdict.
    pub(crate) fn begin(mail: &Mail, snapshot: &Snapshot) -> Self {
        let raw: &[u8] = &mail.raw;
        Self {
            id: mail.envelope.id.clone(),
            queue_id: mail.envelope.xforward.ident.clone().unwrap_or_default(),
            message_id: field(raw, "message-id"),
            from: shown(&mail.envelope.mail_from, snapshot.config.log.addresses),
            rcpts: mail.envelope.rcpt_to.len(),
            verdict: "",
            reason: "",
            signer: String::new(),
            issuer_cn: String::new(),
            serial: String::new(),
            policy: String::new(),
            action: "tempfail",
            arc: "",
            decryption: String::new(),
            refused: Vec::new(),
            rev: snapshot.revision.clone(),
            started: Instant::now(),
            took: Duration::ZERO,
        }
    }

    /// With the verdict and what is done.
    pub(crate) fn decide(&mut self, mail: &Mail, decided: &Decided, snapshot: &Snapshot) {
        let verdict = &decided.verdict;
        self.refused = refused(mail, &decided.treatment, snapshot.config.log.addresses);
        self.verdict = verdict.result.map_or("encrypted", |word| word.as_str());
        self.reason = verdict.reason_id();
        self.action = decided.action;
        self.arc = decided.sealed;
        let states = decided.states.iter();
        let mut states: Vec<&str> = states.map(|one| one.as_str()).collect();
        states.dedup();
        self.decryption = states.join(",");
        self.policy = decided
            .rule
            .map(|rule| format!("mail.toml#{rule}"))
            .unwrap_or_default();
        let signature = verdict.root_signatures().next();
        let open = signature.filter(|signature| signature.disclosure == Disclosure::Full);
        if let Some(signer) = open.and_then(|signature| signature.signer.as_ref()) {
            let addresses = signer
                .addresses
                .first()
                .map(|address| shown(address, snapshot.config.log.addresses));
            self.signer = addresses.unwrap_or_default();
            self.issuer_cn = common_name(&signer.issuer).to_owned();
            self.serial.clone_from(&signer.serial);
        }
    }

    /// Stops the clock.
    pub(crate) fn end(&mut self) {
        self.took = self.started.elapsed();
        let verdict = if self.verdict.is_empty() {
            "aborted"
        } else {
            self.verdict
        };
        let reason = if self.reason.is_empty() {
            "aborted"
        } else {
            self.reason
        };
        crate::metrics::judged(verdict, reason, self.action, self.took);
    }

    fn write(&self, finished: &Finished, reply: &str) {
        // Before the queue there is no id yet; the MTA tells it when it takes the mail.
        let queued = finished.reply.text();
        let queue_id = match self.queue_id.as_str() {
            "" => queued.split("queued as ").nth(1).unwrap_or_default(),
            known => known,
        };
        for one in &self.refused {
            info!(
                id = self.id,
                rcpts = u64::try_from(one.rcpts).unwrap_or(u64::MAX),
                to = one.to,
                policy = self.policy,
                reply = one.reply,
                "recipients refused"
            );
        }
        info!(
            id = self.id,
            queue_id,
            message_id = self.message_id,
            from = self.from,
            rcpts = u64::try_from(self.rcpts).unwrap_or(u64::MAX),
            size = finished.size,
            verdict = self.verdict,
            reason = self.reason,
            signer = self.signer,
            issuer_cn = self.issuer_cn,
            serial = self.serial,
            policy = self.policy,
            action = self.action,
            arc = self.arc,
            decryption = self.decryption,
            fate = finished.fate.as_str(),
            reply,
            ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            rev = self.rev,
            "message"
        );
    }
}

/// Summaries of messages whose transaction is not over.
#[derive(Debug, Default)]
pub(crate) struct Summaries(Mutex<HashMap<String, Summary>>);

impl Summaries {
    pub(crate) fn keep(&self, summary: Summary) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A session that vanished never finishes; its line is not worth unbounded memory.
        if open.len() >= MAX_OPEN {
            open.clear();
        }
        open.insert(summary.id.clone(), summary);
    }

    /// The transaction is over: one line, also for mail that was refused before its verdict.
    pub(crate) fn finish(&self, finished: &Finished, addresses: LogAddresses) {
        let reply = shown_reply(&finished.reply, addresses);
        crate::metrics::finished(finished.fate);
        let summary = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&finished.id);
        match summary {
            Some(summary) => summary.write(finished, &reply),
            None => info!(
                id = finished.id,
                size = finished.size,
                fate = finished.fate.as_str(),
                reply,
                "message refused before its verdict"
            ),
        }
    }

    /// The service ends, and with it transactions that are not over: nobody hears what became of them.
    pub(crate) fn cut_off(&self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in std::mem::take(&mut *open).into_values() {
            warn!(
                id = one.id,
                queue_id = one.queue_id,
                message_id = one.message_id,
                from = one.from,
                rcpts = u64::try_from(one.rcpts).unwrap_or(u64::MAX),
                action = one.action,
                "a message was cut off: its client heard no answer, and the next hop may have it"
            );
        }
    }
}

/// The value of the first field of this name, near the top: this runs beside the I/O, and a
/// message may be header from end to end.
fn field(raw: &[u8], name: &str) -> String {
    let raw = raw.get(..MAX_HEADER).unwrap_or(raw);
    let header = header::scan(raw);
    let found = header
        .fields
        .iter()
        .find(|field| field.is_plainly(raw, name));
    found
        .map(|field| String::from_utf8_lossy(&header::unfold(field.value(raw))).into_owned())
        .unwrap_or_default()
}

/// Who gets nothing where a message is divided, and what is said to that. Its sender hears of it only where each recipient
/// is answered.
fn refused(mail: &Mail, treatment: &Treatment, addresses: LogAddresses) -> Vec<Refused> {
    let Treatment::Divide(groups) = treatment else {
        return Vec::new();
    };
    let all = &mail.envelope.rcpt_to;
    let refused = groups.iter().filter_map(|group| {
        let Share::Refuse(reply) = &group.share else {
            return None;
        };
        let of_group = group.recipients.iter().filter_map(|place| all.get(*place));
        let to: Vec<String> = of_group.map(|to| shown(&to.address, addresses)).collect();
        Some(Refused {
            rcpts: group.recipients.len(),
            to: to.join(","),
            reply: shown_reply(reply, addresses),
        })
    });
    refused.collect()
}

/// A reply as the log may show it.
fn shown_reply(reply: &Reply, addresses: LogAddresses) -> String {
    match addresses {
        LogAddresses::Full => reply.to_string(),
        LogAddresses::Domain => without_local_parts(&reply.to_string()),
    }
}

/// An address as the log may show it.
fn shown(address: &str, addresses: LogAddresses) -> String {
    match (addresses, address.rsplit_once('@')) {
        (LogAddresses::Domain, Some((_, domain))) => format!("*@{domain}"),
        (LogAddresses::Domain, None) | (LogAddresses::Full, _) => address.to_owned(),
    }
}

/// A text of somebody else with the local part of every address in it left out.
fn without_local_parts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = rest.split_at(at);
        // A quoted local part may hold anything: it begins at the quote before this one.
        let local = match before.strip_suffix('"') {
            Some(quoted) => quoted.rfind('"'),
            None => before
                .rfind(|c: char| c.is_whitespace() || "<>()[],;:\"".contains(c))
                .map(|end| end + before[end..].chars().next().map_or(1, char::len_utf8)),
        };
        out.push_str(before.get(..local.unwrap_or(0)).unwrap_or_default());
        out.push_str("*@");
        rest = after.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The first CN of a name in RFC 4514 form, still escaped; the whole name where it has none.
fn common_name(name: &str) -> &str {
    let start = if name.starts_with("CN=") {
        Some(0)
    } else {
        name.find(",CN=").map(|at| at + 1)
    };
    let Some(value) = start.and_then(|at| name.get(at + 3..)) else {
        return name;
    };
    let mut escaped = false;
    let end = value.find(|c| {
        let ends = matches!(c, ',' | '+') && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.and_then(|end| value.get(..end)).unwrap_or(value)
}

const MAX_OPEN: usize = 10_000;
const MAX_HEADER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use kenin_smtp_filter::{Division, Group};

    use super::*;
    use crate::pipeline::tests::mail_to;

    #[test]
    fn finds_the_common_name() {
        assert_eq!(common_name("CN=J-SIM,O=Kenin"), "J-SIM");
        assert_eq!(common_name("O=Kenin,CN=a\\,b\\\\,C=JP"), "a\\,b\\\\");
        assert_eq!(common_name("O=Only"), "O=Only");
        assert_eq!(common_name(""), "");
    }

    #[test]
    fn replies_of_others_tell_no_local_part() {
        for (text, wanted) in [
            (
                "550 5.2.2 <full@example.com>: mailbox full",
                "550 5.2.2 <*@example.com>: mailbox full",
            ),
            ("a@b c@d,e@f", "*@b *@d,*@f"),
            ("\"a b\"@c.example x", "*@c.example x"),
            ("全@例え.jp", "*@例え.jp"),
            ("「a@b", "*@b"),
            ("@", "*@"),
            ("250 2.0.0 Ok: queued as 4F1", "250 2.0.0 Ok: queued as 4F1"),
        ] {
            assert_eq!(without_local_parts(text), wanted);
        }
    }

    /// Of a message that goes to some, who gets nothing, and why.
    #[test]
    fn who_is_refused_of_several_is_told_by_the_log() {
        let to = ["a@b.example", "c@d.example", "e@d.example"];
        let mail = mail_to(&to, "\r\n", Division::Copies);
        let reply = crate::reply::no_certificate("c@d.example");
        let groups = [
            (vec![0], Share::Relay(Vec::new())),
            (vec![1, 2], Share::Refuse(reply.clone())),
        ];
        let groups = groups.map(|(recipients, share)| Group { recipients, share });
        let divided = Treatment::Divide(groups.into());
        let found = refused(&mail, &divided, LogAddresses::Full);
        let wanted = Refused {
            rcpts: 2,
            to: "c@d.example,e@d.example".to_owned(),
            reply: reply.to_string(),
        };
        assert_eq!(found, [wanted]);
        let found = refused(&mail, &divided, LogAddresses::Domain);
        assert_eq!(found[0].to, "*@d.example,*@d.example");
        assert!(!found[0].reply.contains("c@"), "{}", found[0].reply);
        // To all it is the reply of the message.
        let whole = Treatment::Refuse(reply);
        assert!(refused(&mail, &whole, LogAddresses::Full).is_empty());
    }

    #[test]
    fn finds_the_message_id() {
        let raw = b"Subject: x\r\nMessage-ID:\r\n <1@a.b>\r\n\r\nMessage-ID: no\r\n";
        assert_eq!(field(raw, "message-id"), "<1@a.b>");
        assert_eq!(field(b"\r\n", "message-id"), "");
    }
}
