//! I8: every reply that Kenin may give, with the place that allows it. A reply that is on no list is
//! a violation, whatever its code.

/// The replies that a run may hear.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// What the next hop says in this run: it may be passed on.
    next_hop: Vec<String>,
    /// Whether it is a Postfix that is listened to, who has words of his own.
    postfix: bool,
}

impl Answers {
    /// Those of the documents, and these lines of the next hop.
    pub fn new(next_hop: &[&str]) -> Self {
        Self {
            next_hop: next_hop.iter().map(|line| (*line).to_owned()).collect(),
            postfix: false,
        }
    }

    /// Those of the sink as it is by default.
    pub fn of_the_sink() -> Self {
        Self::new(&["250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.0.0 Ok: kept"])
    }

    /// With one more line of the next hop.
    #[must_use]
    pub fn and(mut self, line: &str) -> Self {
        self.next_hop.push(line.to_owned());
        self
    }

    /// With what Postfix itself says.
    #[must_use]
    pub fn and_postfix(mut self) -> Self {
        self.postfix = true;
        self
    }

    /// Whether this reply (its lines joined by ` / `) is allowed.
    pub fn knows(&self, line: &str) -> bool {
        let is = |known: &&str| match known.strip_suffix('*') {
            Some(begin) => line.starts_with(begin),
            None => line == *known,
        };
        if OURS.iter().any(is) || (self.postfix && POSTFIX.iter().any(is)) {
            return true;
        }
        self.next_hop.iter().any(|said| {
            let (codes, text) = split(said);
            line == said || line == format!("{codes} next hop said: {text}")
        })
    }

    /// The reply without what is different in every mail.
    pub fn generalize(&self, line: &str) -> String {
        let word = |word: &str| {
            let bare = word.trim_end_matches([')', ',']);
            let id = bare.len() >= 10
                && bare
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            if id {
                word.replace(bare, "ID")
            } else {
                word.to_owned()
            }
        };
        line.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }
}

/// Code and enhanced code; the text.
fn split(line: &str) -> (&str, &str) {
    let at = line
        .match_indices(' ')
        .nth(1)
        .map_or(line.len(), |(at, _)| at);
    (&line[..at], line[at..].trim_start())
}

/// Kenin's replies; one with a star goes on. What a row names without text is listed with its text.
const OURS: &[&str] = &[
    // The protocol itself (RFC 5321): SMTP-05, each command in each state.
    "220 gw.example.jp ESMTP Kenin",
    "220 gw.example.jp LMTP Kenin",
    "250-gw.example.jp / 250-*",
    "250 2.0.0 Ok",
    "354 End data with <CR><LF>.<CR><LF>",
    "221 2.0.0 Bye",
    "221 2.7.0 This is SMTP, closing connection",
    "500 5.5.2 Command not recognized",
    "500 5.5.2 Command is not text",
    "501 5.5.4 *",
    "501 5.1.7 Bad sender address syntax",
    "501 5.1.3 Bad recipient address syntax",
    "502 5.5.1 Command not implemented",
    "503 5.5.1 *",
    "554 5.5.1 No valid recipients",
    "521 5.5.1 Client talked before the greeting",
    // SMTP-01, SMTP-09, HDR-04.
    "550 5.5.2 Bare CR or LF in message data",
    "550 5.5.2 NUL beside a lone dot in message data",
    "500 5.5.2 Lines must end in CRLF",
    "500 5.5.2 Line too long",
    "554 5.4.6 Too many hops*",
    "552 5.3.4 Message*",
    "550 5.6.0 Message structure exceeds limits",
    // BOMB-11, and what keeps a broken client from holding a session.
    "421 4.4.2 Timeout, closing connection",
    "421 4.7.0 *",
    // A part that fails (docs/operating.md, "Replies that Kenin gives itself").
    "451 4.3.5 Certificate store unavailable, try again later",
    "451 4.7.5 *",
    "451 4.4.1 Next hop not responding, try again later",
    "451 4.4.2 Connection lost after end of data",
    // The next hop is lost between MAIL and the dot: 4.4.2 is "bad connection" (RFC 3463), nothing
    // is in doubt.
    "451 4.4.2 Connection to the next hop lost, try again later",
    "451 4.7.0 No secure connection to the next hop, try again later",
    "550 5.6.1 Next hop does not support 8BITMIME*",
    "550 5.6.7 *",
    "452 4.3.1 Insufficient system storage",
    "451 4.3.0 Local storage error, try again later",
    "421 4.3.2 Too many connections, try again later",
    "421 4.3.2 Service shutting down",
    "451 4.3.2 System busy, try again later",
    "451 4.3.0 Processing aborted, try again later",
    // One answer for several groups (docs/decisions/0007-one-answer-for-several-outcomes.md).
    "250 2.0.0 Delivered at an earlier try",
    "250 2.0.0 Delivered to some recipients, the sender is told of the others",
    // Held, or confided to the next hop; failures.md, "next hop 4xx at the dot" of what was decrypted.
    "250 2.0.0 Accepted",
    "451 4.3.0 Try again later",
    // Strict rules in mail.toml (docs/reasons.md).
    "550 5.7.1 *",
    "550 5.7.5 *",
    "550 5.7.6 *",
    "550 5.7.7 Message integrity failure: *",
];

/// Replies of the Postfix beside Kenin.
const POSTFIX: &[&str] = &[
    "220 mx.example.jp ESMTP Postfix*",
    "250-mx.example.jp / 250-*",
    "250 2.1.0 Ok",
    "250 2.1.5 Ok",
    "354 End data with <CR><LF>.<CR><LF>",
    "250 2.0.0 Ok: queued as *",
    "221 2.0.0 Bye",
    // The proxy filter is gone, or went away at the dot.
    "451 4.3.0 Error: queue file write error",
    // The milter is gone: milter_default_action.
    "451 4.7.1 Service unavailable - try again later",
    "421 4.7.0 mx.example.jp Service unavailable - try again later",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_a_list_is_known() {
        let answers = Answers::of_the_sink().and("452 4.2.2 Mailbox full");
        assert!(answers.knows("451 4.3.2 System busy, try again later"));
        assert!(answers.knows("250 2.1.5 Ok"));
        assert!(answers.knows("452 4.2.2 Mailbox full"));
        assert!(answers.knows("452 4.2.2 next hop said: Mailbox full"));
        assert!(!answers.knows("552 5.2.2 next hop said: Mailbox full"));
        assert!(!answers.knows("250 2.0.0 Ok: queued as 4F1"));
        assert!(answers.and_postfix().knows("250 2.0.0 Ok: queued as 4F1"));
        assert!(!Answers::default().knows("250 2.1.5 Ok"));
        assert!(!Answers::default().knows("451 4.3.0 Something else"));
    }

    #[test]
    fn ids_are_taken_out() {
        let line = "550 5.7.7 Message integrity failure: x (digest-mismatch, id 01J0000000000000000000000A)";
        let general = Answers::default().generalize(line);
        assert!(general.ends_with("(digest-mismatch, id ID)"), "{general}");
    }
}
