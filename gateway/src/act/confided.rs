//! What is done with a mail that names keys which are here: who may have it gets what was opened, everybody else what came,
//! and its client hears the same whatever that was (threats.md §2).
//!
//! What a rule would refuse or hold of an opened message stays encrypted, and goes on as what did not open: anything else would
//! tell of what is inside.

mod shares;

use std::rc::Rc;
use std::sync::Arc;

use kenin_keys::KeyFacts;
use kenin_pki::address::Address;
use kenin_pki::crypto::Secret;
use kenin_policy::verdict::Verdict;
use kenin_policy::{Act, Delivered, StampMode, stamp};
use kenin_smtp_filter::{Division, Edit, Group, Mail, MailBytes, Outgoing, Share, Treatment};
use tracing::{error, warn};

use super::groups::Course;
use super::{
    Decided, Made, Manner, act, act_as, by_the_rules, context, copies_size, handling_each,
    opening_each, rewritten, shielded,
};
use crate::clock::Moment;
use crate::opening::{OpenedCopy, Opening, Person, Plain, State};
use crate::protect::{Fate, Plan};
use crate::snapshot::Snapshot;

pub(crate) use shares::{confide, lodge, own_return_path};
use shares::{confided, groups_of, is_opened, return_path, size_of};

/// The recipients whose mail may be opened: they have keys that open mail, and no rule says otherwise. What a rule refuses
/// or holds for what can be seen outside is not opened.
pub(super) fn openable(
    mail: &Mail,
    snapshot: &Snapshot,
    outer: &Verdict,
    had: &[usize],
    keys: impl Fn(&Address) -> Vec<Arc<KeyFacts>>,
) -> Vec<Person> {
    let envelope = &mail.envelope;
    let one_body = envelope.division == Division::Never;
    if !one_body && snapshot.config.quarantine.is_none() {
        // There would be no place for what the next hop refuses.
        return Vec::new();
    }
    let recipients = envelope.rcpt_to.iter().enumerate();
    let mut people: Vec<Person> = recipients
        .filter(|(place, _)| one_body || !had.contains(place))
        .filter_map(|(place, to)| {
            let address = Address::parse(&to.address).ok()?;
            let mut keys = keys(&address);
            keys.retain(|key| key.uses.decrypt);
            (!keys.is_empty()).then(|| Person {
                place,
                address,
                keys,
                rule: Default::default(),
            })
        })
        .collect();
    if people.is_empty() {
        return people;
    }
    let (acts, rules) = (
        by_the_rules(mail, snapshot, outer),
        opening_each(mail, snapshot),
    );
    people.retain_mut(|person| {
        let Some(rule) = rules.get(person.place) else {
            return false;
        };
        person.rule = *rule;
        rule.decrypt && matches!(acts.get(person.place), Some(Act::Stamp(_)))
    });
    // Where there is one body, nobody has it opened unless all may.
    if one_body && people.len() < envelope.rcpt_to.len() {
        people.clear();
    }
    people
}

/// A mail, the verdict on it as it came, and what is needed to treat it.
pub(super) struct Confider<'c> {
    pub(super) mail: &'c Mail,
    pub(super) snapshot: &'c Snapshot,
    pub(super) outer: &'c Verdict,
    pub(super) now: Moment,
    pub(super) had: &'c [usize],
    /// For the mail as it came.
    pub(super) plan: &'c Plan,
    pub(super) again: &'c Again<'c>,
}

/// The plan by which what was opened is encrypted again for these recipients (by their place).
pub(super) type Again<'a> = dyn Fn(&[usize]) -> Plan + 'a;

/// Recipients who get one copy, whatever is inside and whether it opens.
struct Alike {
    recipients: Vec<usize>,
    /// The plan by which they get it encrypted again, and the copy that is theirs there.
    again: Option<(Rc<Plan>, usize)>,
}

/// What becomes of a mail so far.
#[derive(Default)]
struct Parts {
    groups: Vec<Group>,
    changed: Vec<usize>,
    bodies: Vec<bool>,
    protected: Vec<&'static str>,
    /// The verdict of the first part that was opened, or of the first; and the first rule that refused one or had it held.
    first: Option<(Verdict, Option<usize>)>,
    /// Whether that is of one that was opened.
    opened: bool,
}

impl Confider<'_> {
    /// What is done with it for each recipient.
    pub(super) fn act(&self, opening: &Opening) -> Decided {
        let one_body = self.mail.envelope.division == Division::Never;
        let mut decided = match (opening.named.is_empty(), one_body) {
            (true, _) => self.as_it_came(),
            (false, true) => self.in_one_queue(opening),
            (false, false) => self.divided(opening),
        };
        decided.states = states(opening, &decided);
        decided
    }

    fn as_it_came(&self) -> Decided {
        act(
            self.mail,
            self.snapshot,
            self.outer.clone(),
            self.now,
            self.had,
            self.plan,
        )
    }

    /// A copy for each who is treated differently (SMTP, LMTP).
    fn divided(&self, opening: &Opening) -> Decided {
        let (alike, most) = (self.alike(opening), copies_size(self.snapshot));
        let longest = opening.copies.iter().map(|copy| copy.message.len()).max();
        let all = longest.unwrap_or_default().saturating_mul(alike.len());
        let fits = |parts: &Parts| {
            let size = parts.groups.iter().map(size_of).sum::<usize>();
            parts.groups.len() <= MOST_GROUPS && size <= most
        };
        // Before any is made: to encrypt them all again for nothing would take time.
        let few = alike.len() <= MOST_GROUPS && all <= most;
        let made = few.then(|| self.parts(&opening.copies, opening, &alike));
        let mut parts = made.filter(fits).unwrap_or_else(|| {
            error!(
                id = self.mail.envelope.id,
                "too many differ in what they may have of a mail: nobody has it opened"
            );
            self.parts(&[], opening, &alike)
        });
        if parts.groups.len() > MOST_GROUPS {
            let all = Alike {
                recipients: opening.named.clone(),
                again: None,
            };
            parts = self.parts(&[], opening, &[all]);
        }
        let mut shares = parts.groups.iter().map(|group| &group.share);
        let opened = |share: &Share| matches!(share, Share::Confide(one) if is_opened(one));
        let action = match shares.any(opened) {
            true => OPEN,
            false => "confide",
        };
        let (verdict, rule) = match parts.first {
            Some(first) => first,
            None => (self.outer.clone(), None),
        };
        Decided {
            verdict,
            treatment: Treatment::Divide(parts.groups),
            action,
            changed: parts.changed,
            sealed: "",
            clock: self.now.trust,
            rule,
            bodies: parts.bodies,
            protected: parts.protected,
            states: Vec::new(),
            discreet: true,
        }
    }

    fn parts(&self, copies: &[OpenedCopy], opening: &Opening, alike: &[Alike]) -> Parts {
        let mut parts = Parts::default();
        for some in alike {
            let places = &some.recipients;
            let has = |copy: &OpenedCopy, place: &usize| copy.recipients.contains(place);
            let all_have = |copy: &&OpenedCopy| places.iter().all(|place| has(copy, place));
            match copies.iter().find(all_have) {
                Some(copy) => self.opened(copy, some, &mut parts),
                None => {
                    if copies
                        .iter()
                        .any(|copy| places.iter().any(|place| has(copy, place)))
                    {
                        warn!(
                            id = self.mail.envelope.id,
                            recipients = places.len(),
                            "a mail opens for some of its recipients and not for others: all of them get it encrypted"
                        );
                    }
                    self.closed(places, &mut parts);
                }
            }
        }
        let all = 0..self.mail.envelope.rcpt_to.len();
        let others: Vec<usize> = all.filter(|place| !opening.named.contains(place)).collect();
        if !others.is_empty() {
            let decided = self.original(&others);
            parts.take(decided, &others, false, |share| share);
        }
        parts
    }

    /// Those of whom the mail names a key, together where nothing that is inside could tell them apart. The client sees how
    /// long the transactions take, and so how many there are: one more must not say that it opened, or for whom of two. So
    /// who are together have it opened together, or not at all.
    fn alike(&self, opening: &Opening) -> Vec<Alike> {
        let each = handling_each(self.mail, self.snapshot);
        let named = opening.named.iter().copied();
        let said = named.map(|place| ((each.get(place), opening.apart.contains(&place)), place));
        let mut alike = Vec::new();
        let said = together(said);
        let few = said.len() <= MOST_GROUPS;
        for ((handling, apart), recipients) in said {
            let again = few && !apart && handling.is_some_and(|(_, rule)| rule.reencrypt);
            if !again {
                alike.push(Alike {
                    recipients,
                    again: None,
                });
                continue;
            }
            // Whom that asks is asked whether it opened or not.
            let plan = Rc::new((self.again)(&recipients));
            let copies = recipients.into_iter().map(|place| match plan.fate(place) {
                Fate::Copy(at) => (Some(at), place),
                Fate::AsItIs | Fate::Refused(_) => (None, place),
            });
            let copies = together(copies).into_iter();
            alike.extend(copies.map(|(copy, recipients)| Alike {
                recipients,
                again: copy.map(|at| (Rc::clone(&plan), at)),
            }));
        }
        alike
    }

    /// They get what was opened, or that encrypted again for their own certificates.
    fn opened(&self, copy: &OpenedCopy, some: &Alike, parts: &mut Parts) {
        let places = &some.recipients;
        if self.mail.envelope.seven_bit_only && !copy.again && !copy.message.is_ascii() {
            // The next hop does not take it. What is not sent would be seen by the time.
            return self.closed(places, parts);
        }
        let decided = self.acted(copy, places);
        let Treatment::Relay(edits) = &decided.treatment else {
            // A rule does not want it, and what did not open goes on all the same. The log says which rule, and why.
            parts.see(decided.verdict, decided.rule, true);
            return self.closed(places, parts);
        };
        if !copy.again {
            return parts.take(decided, places, true, |share| match share {
                Share::Relay(edits) => self.confided(Some(copy.message.clone()), edits),
                other => other,
            });
        }
        let Some(share) = self.enclosed(copy, some, edits, &decided.verdict) else {
            return self.closed(places, parts);
        };
        parts.see(decided.verdict, decided.rule, true);
        parts.protected.push("encrypted");
        // As what did not open is sealed.
        parts.changed.push(parts.groups.len());
        let recipients = places.clone();
        parts.groups.push(Group { recipients, share });
    }

    /// What was opened, stamped so and encrypted again; nothing where that cannot be done.
    fn enclosed(
        &self,
        copy: &OpenedCopy,
        some: &Alike,
        edits: &[Edit],
        verdict: &Verdict,
    ) -> Option<Share> {
        let (plan, at) = some.again.as_ref()?;
        let whole = Outgoing::new(copy.message.clone(), b"", edits)?;
        let pieces: Vec<&[u8]> = whole.pieces().collect();
        let whole = Secret::new(pieces.concat());
        let encrypted = plan.copy(*at, whole.expose()).ok()??;
        if self.mail.envelope.seven_bit_only && !encrypted.is_ascii() {
            return None;
        }
        let edits = self.stamped(&encrypted, verdict);
        // It waits for the next hop in the room that it was opened in.
        let content = Plain::new(Secret::new(encrypted), copy.room.clone());
        Some(self.confided(Some(content.into()), edits))
    }

    /// They get what came.
    fn closed(&self, places: &[usize], parts: &mut Parts) {
        // It is encrypted, also where a signature is around that: no copy of it is made that what opens would not have.
        let part = self.part(places, self.mail.raw.clone());
        let plan = Plan::of_nothing(&part, self.snapshot, self.now);
        let outer = self.outer.clone();
        let decided = act(&part, self.snapshot, outer, self.now, &[], &plan);
        parts.take(decided, places, false, |share| match share {
            Share::Relay(edits) => self.confided(None, edits),
            other => other,
        });
    }

    /// There is one body (milter), and it was opened for all or for nobody.
    fn in_one_queue(&self, opening: &Opening) -> Decided {
        let all = self.mail.envelope.rcpt_to.len();
        let decided = match opening.copies.as_slice() {
            [copy]
                if copy.recipients.len() == all
                    && !copy.again
                    && rewritten::is_told_whole(&copy.message) =>
            {
                self.rewritten(copy)
            }
            _ => self.unopened(),
        };
        Decided {
            discreet: true,
            changed: vec![0],
            ..decided
        }
    }

    /// The MTA is told to make what was opened of the mail, unless a rule does not want that or it cannot be told so.
    fn rewritten(&self, copy: &OpenedCopy) -> Decided {
        let decided = self.acted(copy, &copy.recipients);
        let Treatment::Relay(edits) = &decided.treatment else {
            return Decided {
                verdict: decided.verdict,
                rule: decided.rule,
                ..self.unopened()
            };
        };
        let raw: &[u8] = &self.mail.raw;
        let Some(mut edits) = rewritten::edits_of(raw, &copy.message, edits, copy.room.clone())
        else {
            return self.unopened();
        };
        let path = return_path(self.mail, &self.snapshot.config);
        edits.push(Edit::ReturnPath(path));
        Decided {
            treatment: Treatment::Relay(edits),
            action: OPEN,
            ..decided
        }
    }

    fn unopened(&self) -> Decided {
        let plan = Plan::of_nothing(self.mail, self.snapshot, self.now);
        let (outer, had) = (self.outer.clone(), self.had);
        let original = act(self.mail, self.snapshot, outer, self.now, had, &plan);
        let treatment = confide(self.mail, &self.snapshot.config, original.treatment);
        Decided {
            treatment,
            ..original
        }
    }

    /// What the rules and the stamp make of an opened message, for these of its recipients.
    fn acted(&self, copy: &OpenedCopy, places: &[usize]) -> Decided {
        let part = self.part(places, copy.message.clone());
        let plan = Plan::of_nothing(&part, self.snapshot, self.now);
        let verdict = copy.verdict.clone();
        let manner = match copy.again {
            true => Manner::Enclosed(copy.room.clone()),
            false => Manner::Opened(copy.room.clone()),
        };
        act_as(&part, self.snapshot, verdict, self.now, &[], &plan, &manner)
    }

    /// What they make of the mail as it came, for these recipients.
    fn original(&self, places: &[usize]) -> Decided {
        let had = places.iter().enumerate();
        let had: Vec<usize> = had
            .filter(|(_, place)| self.had.contains(place))
            .map(|(at, _)| at)
            .collect();
        let part = self.part(places, self.mail.raw.clone());
        let plan = self.plan.only(places);
        act(
            &part,
            self.snapshot,
            self.outer.clone(),
            self.now,
            &had,
            &plan,
        )
    }

    /// The mail, or another in its place, for these recipients alone.
    fn part(&self, places: &[usize], raw: MailBytes) -> Mail {
        let all = &self.mail.envelope.rcpt_to;
        let mut envelope = self.mail.envelope.clone();
        let some = places.iter().filter_map(|place| all.get(*place)).cloned();
        Arc::make_mut(&mut envelope).rcpt_to = some.collect();
        Mail { envelope, raw }
    }

    fn confided(&self, content: Option<MailBytes>, edits: Vec<Edit>) -> Share {
        confided(self.mail, &self.snapshot.config, content, edits)
    }

    /// The stamp of a message that was encrypted again, with the verdict on what is inside, or of the mail as it came.
    fn stamped(&self, encrypted: &[u8], verdict: &Verdict) -> Vec<Edit> {
        let names = shielded(self.snapshot);
        let context = context(self.snapshot, &self.mail.envelope.id, self.now, &names);
        let copy = Delivered {
            header: stamp(encrypted, verdict, &context),
            ..Delivered::default()
        };
        Made::of(Course::Stamp(StampMode::Headers), copy).edits
    }
}

impl Parts {
    /// Takes in what was decided for some recipients, with what `change` makes of each share. `opened` says whether that was on
    /// what was inside.
    fn take(
        &mut self,
        decided: Decided,
        places: &[usize],
        opened: bool,
        change: impl Fn(Share) -> Share,
    ) {
        let first = self.groups.len();
        let changed = decided.changed.iter().map(|at| first + at);
        self.changed.extend(changed);
        self.bodies.extend(decided.bodies);
        self.protected.extend(decided.protected);
        self.see(decided.verdict, decided.rule, opened);
        for group in groups_of(decided.treatment, places) {
            let share = change(group.share);
            let at = self.groups.len();
            // What was not opened gets a seal too: to make one takes time.
            if matches!(share, Share::Confide(_)) && !self.changed.contains(&at) {
                self.changed.push(at);
            }
            let recipients = group.recipients;
            self.groups.push(Group { recipients, share });
        }
    }

    /// The verdict on a part of it, and the rule that refused it.
    fn see(&mut self, verdict: Verdict, rule: Option<usize>, opened: bool) {
        let first = match self.first.take() {
            Some((_, before)) if opened && !self.opened => (verdict, before.or(rule)),
            Some((known, before)) => (known, before.or(rule)),
            None => (verdict, rule),
        };
        self.first = Some(first);
        self.opened |= opened;
    }
}

/// Places, together where what is said of them is the same, in the order in which they come.
fn together<T: PartialEq>(each: impl Iterator<Item = (T, usize)>) -> Vec<(T, Vec<usize>)> {
    let mut groups: Vec<(T, Vec<usize>)> = Vec::new();
    for (said, place) in each {
        match groups.iter_mut().find(|(own, _)| *own == said) {
            Some((_, places)) => places.push(place),
            None => groups.push((said, vec![place])),
        }
    }
    groups
}

/// What became of the encryption for each person. What opens, and is not given to them so, is as if it did not.
pub(super) fn states(opening: &Opening, decided: &Decided) -> Vec<State> {
    let gets_it = |place: usize| match &decided.treatment {
        Treatment::Divide(groups) => groups.iter().any(|group| match &group.share {
            Share::Confide(confided) => is_opened(confided) && group.recipients.contains(&place),
            Share::Relay(_) | Share::Refuse(_) | Share::Hold { .. } | Share::Had => false,
        }),
        Treatment::Relay(_) | Treatment::Refuse(_) | Treatment::Quarantine { .. } => {
            decided.action == OPEN
        }
    };
    let states = opening.states.iter().map(|(place, state)| match state {
        State::Opened if !gets_it(*place) => State::Undecryptable,
        other => *other,
    });
    states.collect()
}

/// In the log: somebody gets it opened.
const OPEN: &str = "open";
/// As many transactions as one mail may have.
const MOST_GROUPS: usize = 16;
