//! What Postfix's own log tells of its deliveries: which were in doubt, and what it was answered.

use std::collections::{BTreeMap, BTreeSet};

use super::Told;
use super::attempt::{says_in_doubt, says_partly};

/// Deliveries whose dot got no answer from the proxy filter, by envelope sender, as the front smtpd's
/// log tells them.
pub(super) fn proxy_in_doubt(log: &str) -> BTreeMap<String, usize> {
    let mut doubts = BTreeMap::new();
    for line in log.lines() {
        let Some((_, told)) = line.split_once("proxy-reject: END-OF-MESSAGE: ") else {
            continue;
        };
        // Postfix's own words when the filter went away; whether before or after the dot is not said.
        let doubt = told.starts_with("451 4.3.0 Error: queue file write error;");
        let sender = told
            .split_once("; from=<")
            .and_then(|(_, rest)| rest.split_once('>'));
        if let (true, Some((sender, _))) = (doubt || says_in_doubt(told), sender) {
            *doubts.entry(sender.to_owned()).or_default() += 1;
        }
    }
    doubts
}

/// Replies that Postfix was given, as its log quotes them.
pub(super) fn overheard(log: &str) -> Vec<String> {
    let between = |line: &str, begin: &str, end: &str| {
        let (_, rest) = line.split_once(begin)?;
        let (reply, _) = rest.split_once(end)?;
        Some(reply.to_owned())
    };
    log.lines()
        .filter_map(|line| {
            // The line of the recipient repeats the line of the reply.
            if !line.contains(": to=<") && !line.contains("proxy-") {
                return None;
            }
            between(line, " said: ", " (in reply to")
                .or_else(|| between(line, "refused to talk to me: ", ")"))
                .or_else(|| between(line, "status=sent (", ")"))
                .or_else(|| between(line, "proxy-reject: END-OF-MESSAGE: ", "; from=<"))
                .or_else(|| between(line, "proxy-accept: END-OF-MESSAGE: ", "; from=<"))
        })
        .collect()
}

/// What Postfix was told of its deliveries that leaves something open, by Message-ID and recipient, as
/// its own log has it: a dot without an answer, or an answer that tells of the next hop.
pub(super) fn told(log: &str) -> BTreeMap<(String, String), Told> {
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    let mut all: BTreeMap<(String, String), Told> = BTreeMap::new();
    for line in log.lines() {
        let Some((program, rest)) = line.split_once("]: ") else {
            continue;
        };
        let Some((queue, text)) = rest.split_once(": ") else {
            continue;
        };
        if let Some(id) = text.strip_prefix("message-id=") {
            ids.insert(queue, id);
        }
        // One line a try; the summary line of the recipient repeats it.
        let recipient = text.strip_prefix("to=<").and_then(|to| to.split_once('>'));
        let Some((recipient, _)) = recipient else {
            continue;
        };
        let answer = text.split_once(" said: ").map_or("", |(_, answer)| answer);
        let said_in_doubt = says_in_doubt(text);
        let unanswered = said_in_doubt || text.contains("while sending end of data");
        // An LMTP server answers for each recipient.
        let partly = says_partly(answer) && !program.contains("/lmtp[");
        // A smtpd whose proxy filter came back between two recipients takes the answer to DATA for the
        // answer to the dot, and says it to its client, whatever the filter is.
        let misheard = text.contains(" said: 354 ") && text.contains("in reply to end of DATA");
        let told = Told {
            misheard: usize::from(misheard),
            in_doubt: usize::from(unanswered),
            said_in_doubt: usize::from(said_in_doubt),
            partly: usize::from(partly),
            ..Told::default()
        };
        if told != Told::default() {
            let id = ids.get(queue).map_or(queue, |id| *id);
            let key = (id.to_owned(), recipient.to_owned());
            *all.entry(key).or_default() += told;
        }
    }
    all
}

/// Mails that Postfix itself gave up for some recipients, by Message-ID. Where its proxy filter does not
/// listen at one RCPT and does at the next, it accepts the next, sends the filter no dot, and answers
/// with what the filter said last: 354, which its own client takes for a refusal. Nobody has such a mail,
/// and its sender is told.
pub(super) fn given_up(log: &str) -> BTreeSet<String> {
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for line in log.lines() {
        let Some((queue, text)) = line.split_once("]: ").and_then(|(_, l)| l.split_once(": "))
        else {
            continue;
        };
        if let Some(id) = text.strip_prefix("message-id=") {
            ids.insert(queue, id);
        }
        if text.contains("status=bounced") && text.contains(" said: 354 ") {
            all.extend(ids.get(queue).map(|id| (*id).to_owned()));
        }
    }
    all
}

/// The lines of a log that speak of a mail: by its Message-ID, its sender, or a queue id that had
/// either.
pub(super) fn trace(program: &str, log: &str, id: &str, sender: &str) -> Vec<String> {
    let queue = |line: &str| {
        let (_, rest) = line.split_once("]: ")?;
        let (queue, _) = rest.split_once(": ")?;
        queue
            .bytes()
            .all(|b| b.is_ascii_alphanumeric())
            .then(|| queue.to_owned())
    };
    let names = |line: &str| line.contains(id) || line.contains(&format!("<{sender}>"));
    let queues: BTreeSet<String> = log.lines().filter(|l| names(l)).filter_map(queue).collect();
    log.lines()
        .filter(|line| names(line) || queue(line).is_some_and(|q| queues.contains(&q)))
        .map(|line| format!("{program}: {line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_went_away_is_in_doubt_and_one_that_refused_is_not() {
        let line = |reply: &str| {
            format!(
                "Nov 22 12:00:00 h postfix/smtpd[1]: proxy-reject: END-OF-MESSAGE: {reply}; from=<s@y> to=<x@y> proto=ESMTP helo=<h>\n"
            )
        };
        let gone = line("451 4.3.0 Error: queue file write error");
        let busy = line("451 4.3.2 System busy, try again later");
        assert_eq!(proxy_in_doubt(&(gone + &busy)).get("s@y"), Some(&1));
        assert_eq!(overheard(&busy), ["451 4.3.2 System busy, try again later"]);
    }

    #[test]
    fn postfix_log_lines_are_read() {
        let log = "Nov 22 12:00:00 h postfix/cleanup[1]: 4F1: message-id=<a@b>\n\
            Nov 22 12:00:01 h postfix/smtp[2]: 4F1: lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once\n\
            Nov 22 12:00:01 h postfix/smtp[2]: 4F1: to=<x@y>, relay=127.0.0.1, status=deferred (lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once)\n";
        let key = ("<a@b>".to_owned(), "x@y".to_owned());
        let of = |log: &str| told(log).get(&key).copied().unwrap_or_default();
        assert_eq!((of(log).in_doubt, of(log).partly), (1, 0));
        assert!(told("nothing").is_empty());
        let log = format!(
            "{log}Nov 22 12:00:02 h postfix/smtp[2]: 4F1: to=<x@y>, relay=h[127.0.0.1]:1, status=deferred (host h[127.0.0.1] said: 451 4.4.2 Connection lost after end of data (in reply to end of DATA command))\n\
             Nov 22 12:00:03 h postfix/smtp[2]: 4F1: to=<x@y>, relay=h[127.0.0.1]:1, status=sent (250 2.0.0 Ok: kept)\n"
        );
        let (all, one_by_one) = (of(&log), of(&log.replace("/smtp[", "/lmtp[")));
        assert_eq!((all.in_doubt, all.said_in_doubt, all.partly), (2, 1, 1));
        assert_eq!((one_by_one.in_doubt, one_by_one.partly), (2, 0));
        let wrong = "Nov 22 12:00:04 h postfix/smtp[2]: 4F1: to=<x@y>, relay=h[127.0.0.1]:1, dsn=5.5.0, \
            status=bounced (host h[127.0.0.1] said: 354 go on (in reply to end of DATA command))\n";
        assert_eq!(
            (of(wrong).misheard, of(&log).misheard),
            (0, 0),
            "of another mail"
        );
        assert_eq!(of(&format!("{log}{wrong}")).misheard, 1);
        let replies = [
            "451 4.4.2 Connection lost after end of data",
            "250 2.0.0 Ok: kept",
        ];
        assert_eq!(overheard(&log), replies);
        assert!(given_up(&log).is_empty());
        let odd = "Nov 22 12:00:04 h postfix/smtp[2]: 4F1: to=<x@y>, relay=h[127.0.0.1]:1, status=bounced (host h[127.0.0.1] said: 354 End data with <CR><LF>.<CR><LF> (in reply to end of DATA command))\n";
        assert!(given_up(&format!("{log}{odd}")).contains("<a@b>"));
        let about = trace("postfix", &log, "<a@b>", "s@y");
        assert_eq!(about.len(), 5, "{about:?}");
        assert!(trace("postfix", &log, "<b@b>", "s@y").is_empty());
    }
}
