//! What is for some eyes only: who may see it, and in which form each recipient gets it (I4, I5).

use std::collections::BTreeMap;

use super::{Account, Entry, Invariant};
use crate::ledger::fan::Wish;
use crate::sink::Record;

/// What is for some eyes only.
#[derive(Clone, Debug, Default)]
pub struct Secret {
    /// Whether the mail came encrypted.
    pub came_encrypted: bool,
    /// The recipients whose copies are opened.
    pub opens: Vec<String>,
    /// The recipients of whom it names a key that is held, whether it opens or not: nobody outside hears what the next
    /// hop says of their copies.
    pub named: Vec<String>,
    /// SHA-256 of the body that is inside.
    pub inside: [u8; 32],
}

impl Secret {
    /// Whether nobody outside hears what becomes of this recipient's copy.
    pub(super) fn is_hushed(&self, address: &str) -> bool {
        self.named.iter().any(|to| to == address)
    }
}

impl Entry {
    /// Whether a recipient may get to see it.
    fn may_see(&self, address: &str) -> bool {
        let Some(secret) = &self.secret else {
            return false;
        };
        match self.wish(address) {
            Wish::Opens => true,
            Wish::Must | Wish::Uncertified => false,
            _ => !secret.came_encrypted && self.to.iter().any(|to| to == address),
        }
    }
}

/// A mail that Kenin holds itself.
#[derive(Clone, Debug)]
pub struct HeldMail {
    /// Its Message-ID.
    pub id: String,
    /// SHA-256 of its body.
    pub body: [u8; 32],
    /// For whom it is held.
    pub to: Vec<String>,
}

impl HeldMail {
    pub(super) fn is_for(&self, id: &str, address: &str) -> bool {
        self.id == id && self.to.iter().any(|to| to == address)
    }
}

impl Account {
    /// I4 and I5 of what arrived, a notification too.
    pub(super) fn look_into(&mut self, id: &str, entry: &Entry, record: &Record) {
        let to = &record.to;
        if !record.shows || (record.notice.is_none() && to.iter().all(|to| entry.may_see(to))) {
            return;
        }
        let must = |address: &String| matches!(Wish::of(address), Wish::Must | Wish::Uncertified);
        let invariant = match to.iter().any(must) || entry.to.iter().all(must) {
            true => Invariant::I4MustIsEncrypted,
            false => Invariant::I5OpenedStaysInside,
        };
        self.violate(invariant, format!("{id}: {to:?} got it in clear"));
    }

    /// That a copy is in the form in which its recipients have to get it.
    pub(super) fn judge_secret(
        &mut self,
        id: &str,
        entry: &Entry,
        secret: &Secret,
        record: &Record,
    ) {
        let first = record.to.first().map(String::as_str).unwrap_or_default();
        let Some((body, subject)) = &entry.text else {
            return;
        };
        let wish = entry.wish(first);
        let (whole, stamps) = match wish {
            Wish::Opens => (record.body == secret.inside, 1),
            Wish::Must => (record.inside == Some(secret.inside), 1),
            // What stays encrypted gets no stamp.
            _ => (record.body == *body, usize::from(!secret.came_encrypted)),
        };
        if !whole {
            let what = format!("{id}, {first}: another body than it has to be");
            self.violate(Invariant::I1NothingIsLost, what);
        }
        let stamp = record.stamps.concat();
        if record.stamps.len() != stamps || stamp.contains("smime=pass") {
            let what = format!("{id}, {first}: stamped {:?}", record.stamps);
            self.violate(Invariant::I6PassIsTrue, what);
        }
        if !wish.fits(subject, &record.subject, &stamp) {
            let what = format!("{id}, {first}: {subject:?} became {:?}", record.subject);
            self.violate(Invariant::I6PassIsTrue, what);
        }
        self.opened += usize::from(wish == Wish::Opens);
        self.encrypted += usize::from(wish == Wish::Must);
    }

    /// What is held was sent, and is for its recipients what they have to get.
    pub(super) fn judge_held(&mut self, entries: &BTreeMap<String, Entry>, held: &[HeldMail]) {
        for one in held {
            let Some(entry) = entries.get(&one.id) else {
                let what = format!("{}: held, and nobody sent it", one.id);
                self.violate(Invariant::I2NothingRefusedArrives, what);
                continue;
            };
            let text = entry.text.as_ref().map(|(body, _)| *body);
            let as_it_is = |address: &String| match (&entry.secret, entry.wish(address)) {
                (Some(secret), Wish::Opens) => one.body == secret.inside,
                _ => text.is_none_or(|body| body == one.body),
            };
            if !one
                .to
                .iter()
                .all(|to| entry.to.contains(to) && as_it_is(to))
            {
                let what = format!("{}: held for {:?}, another body", one.id, one.to);
                self.violate(Invariant::I1NothingIsLost, what);
            }
        }
    }

    /// I3 where the reply does not say that a delivery was in doubt: there are no more of these than connections of the
    /// next hop that broke.
    pub(super) fn judge_hushed(&mut self, breaks: usize) {
        if self.hushed > breaks {
            let what = format!(
                "{} copies came again, {breaks} connections were cut",
                self.hushed
            );
            self.violate(Invariant::I3DuplicatesWereInDoubt, what);
        }
    }
}
