//! Rules of `mail.toml` that never hold, since the first that matches does.

use super::{MailRules, Rule, covers};

impl MailRules {
    /// Rules that never hold, since one before them matches all that they match: each with the first such one, counted from 1.
    #[must_use]
    pub fn hidden(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let mut before = self.rules.iter().take(place);
            if let Some(first) = before.position(|one| one.hides(rule)) {
                found.push((place + 1, first + 1));
            }
        }
        found
    }
}

impl Rule {
    /// Whether it matches all that a later one matches. Of one that names senders that cannot be told from its lists: by what it
    /// does, it is for mail that shows any of them, or for mail that shows nobody else.
    fn hides(&self, later: &Self) -> bool {
        let covered = |one: &str| self.recipient_domain.iter().any(|own| covers(own, one));
        let everybody =
            |patterns: &[String]| patterns.is_empty() || patterns.iter().any(|p| p == "*");
        let domains = everybody(&self.recipient_domain)
            || all(&later.recipient_domain, |one| covered(one))
            || all(&later.recipient, |one| {
                one.rsplit_once('@')
                    .is_some_and(|(_, domain)| covered(domain))
            });
        let mailboxes =
            self.recipient.is_empty() || all(&later.recipient, |one| self.recipient.contains(one));
        let anybody = self.sender_domain.is_empty() && self.sender.is_empty();
        anybody && everybody(&self.domain) && domains && mailboxes
    }
}

/// Whether there are any, and it holds of each.
fn all(list: &[String], holds: impl Fn(&String) -> bool) -> bool {
    !list.is_empty() && list.iter().all(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_behind_one_for_all_that_it_is_for_is_hidden() {
        let hidden = |rules: &[&str]| {
            let rules = rules.iter().map(|when| {
                format!("[[rule]]\nwhen = {{ {when} }}\nthen = {{ encrypt = \"must\" }}\n")
            });
            let text = rules.collect::<String>();
            MailRules::from_toml(&text, "mail.toml").unwrap().hidden()
        };
        for before in [
            "",
            "domain = \"*\"",
            "recipient_domain = \"*\"",
            "recipient_domain = \"b.example\"",
            "recipient_domain = [\"a.example\", \"B.example\"]",
        ] {
            let found = hidden(&[
                "recipient = \"x@y.example\"",
                before,
                "recipient_domain = \"b.example\"",
            ]);
            assert_eq!(found, [(3, 2)], "{before}");
            assert_eq!(
                hidden(&[before, "recipient = \"bob@b.example\""]),
                [(2, 1)],
                "{before}"
            );
        }
        let below = "recipient_domain = \"*.b.example\"";
        assert_eq!(
            hidden(&[below, "recipient_domain = \"*.a.b.example\""]),
            [(2, 1)]
        );
        for (before, after) in [
            (below, "recipient_domain = \"b.example\""),
            ("recipient_domain = \"b.example\"", below),
            ("recipient_domain = \"b.example\"", ""),
            ("recipient_domain = \"b.example\"", "domain = \"b.example\""),
            ("domain = \"b.example\"", "recipient_domain = \"b.example\""),
            (
                "recipient_domain = \"b.example\"",
                "recipient_domain = [\"b.example\", \"c.example\"]",
            ),
            (
                "recipient = \"bob@b.example\"",
                "recipient_domain = \"b.example\"",
            ),
            ("sender_domain = \"*\"", "recipient_domain = \"b.example\""),
            (
                "sender = \"eve@own.example\"",
                "sender = \"eve@own.example\"",
            ),
        ] {
            assert!(hidden(&[before, after]).is_empty(), "{before} / {after}");
        }
    }
}
