//! From a verdict to what is done with the message: the mail rules, then the stamp, for each group of
//! recipients that is treated alike.
//!
//! Never looks at a certificate. A body is changed by the policy only: a message of our own takes its place,
//! or what was signed without its signature.

use std::path::Path;
use std::sync::Arc;

use kenin_pki::crypto::Secret;
use kenin_pki::name::Name;
use kenin_policy::mail::{Encrypt, Wish};
use kenin_policy::verdict::Verdict;
use kenin_policy::{
    Act, Delivered, Handling, Harvest, HeaderEdits, OpeningRule, Parties, Reason, Shown,
    StampContext, StampMode, deliver_each, header, is_wrapped,
};
use kenin_smtp_filter::{Division, Edit, Group, Mail, MailBytes, Reply, Share, Treatment};
use kenin_sys::{TempBody, TempBodyError};
use tracing::error;

use crate::clock::{Moment, Trust, unix_time};
use crate::opening::{Plain, Room, State};
use crate::protect::{Fate, Plan};
use crate::snapshot::Snapshot;
use crate::{metrics, reply};

mod confided;
mod follow;
mod groups;
mod protected;
mod rewritten;

pub(crate) use confided::{confide, lodge, own_return_path};
pub(crate) use follow::{Matter, follow};
use groups::{Course, Form, groups, merged};
use protected::{Copies, Making};

/// A verdict and what follows from it.
pub(crate) struct Decided {
    pub(crate) verdict: Verdict,
    pub(crate) treatment: Treatment,
    pub(crate) action: &'static str,
    /// The groups of the treatment, by their place, in whose copy a field of the sender's is changed; what
    /// is treated alike for all is group 0.
    pub(crate) changed: Vec<usize>,
    /// What became of the seal, where there was to be one.
    pub(crate) sealed: &'static str,
    /// Whether the clock was trusted by which it was decided.
    pub(crate) clock: Trust,
    /// Which rule of `mail.toml` refused it or had it held, counted from 1; the first of several, also where only some
    /// recipients are refused.
    pub(crate) rule: Option<usize>,
    /// Of each copy that gets another body, whether that is wrapped.
    pub(crate) bodies: Vec<bool>,
    /// What each copy is that was encrypted or signed, in a word.
    pub(crate) protected: Vec<&'static str>,
    /// What became of its encryption, for each recipient who has a key here, and for all others; nothing of a mail that
    /// is not encrypted.
    pub(crate) states: Vec<State>,
    /// Whether nobody outside is to hear what was done with it.
    pub(crate) discreet: bool,
}

/// What a mail is to its rules.
#[derive(Clone)]
enum Manner {
    /// It is as it came.
    Ordinary,
    /// It was opened, in this room. A rule does not put it off, since that would tell of what is inside; and no copy of it
    /// goes to a file.
    Opened(Option<Arc<Room>>),
    /// The same, and it is encrypted again before anybody gets it.
    Enclosed(Option<Arc<Room>>),
}

/// The mail rules, then the stamp, then the protection that was planned. `had` are the recipients, by their place, that
/// have the message since an earlier try.
///
/// While the clock is not trusted, nothing is signed, since all that is signed has a date: mail goes on without
/// `X-Kenin-Verdict`, and what would be wrapped stays the sender's.
pub(crate) fn act(
    mail: &Mail,
    snapshot: &Snapshot,
    verdict: Verdict,
    now: Moment,
    had: &[usize],
    plan: &Plan,
) -> Decided {
    act_as(mail, snapshot, verdict, now, had, plan, &Manner::Ordinary)
}

fn act_as(
    mail: &Mail,
    snapshot: &Snapshot,
    mut verdict: Verdict,
    now: Moment,
    had: &[usize],
    plan: &Plan,
    manner: &Manner,
) -> Decided {
    verdict.revision.clone_from(&snapshot.revision);
    let envelope = &mail.envelope;
    let had = match envelope.division {
        // The MTA has it for all of them, whoever has it from elsewhere.
        Division::Never => &[],
        Division::Copies | Division::Answers => had,
    };
    let mut each = by_the_rules(mail, snapshot, &verdict);
    if !matches!(manner, Manner::Ordinary) {
        each = each
            .into_iter()
            .map(|act| undelayed(act, now.trust))
            .collect();
    }
    let rule = each.iter().find_map(|act| match act {
        Act::Refuse { rule, .. } | Act::Hold { rule, .. } => Some(*rule),
        Act::Stamp(_) => None,
    });
    // One verdict has one reason, so whichever rules refuse it, the reply is the same.
    let refusal = each.iter().find_map(|act| match act {
        Act::Refuse { reason, reply, .. } => Some(reply::refused(*reason, reply, &envelope.id)),
        Act::Stamp(_) | Act::Hold { .. } => None,
    });
    let all_refused = each.iter().all(|act| matches!(act, Act::Refuse { .. }));
    // Where there is one body, one recipient's rule refuses it for all.
    let refused = envelope.division == Division::Never || (all_refused && had.is_empty());
    if let (Some(reply), true) = (&refusal, refused) {
        return refusal_of(verdict, reply.clone(), rule, now.trust);
    }
    let shielded = shielded(snapshot);
    let context = context(snapshot, &envelope.id, now, &shielded);
    let form = Form::of(&verdict);
    let fates: Vec<Fate> = (0..envelope.rcpt_to.len())
        .map(|place| plan.fate(place))
        .collect();
    let mut groups = groups(&each, had, envelope.division, form, &fates);
    let limits = snapshot.config.engine_limits();
    let held = each.iter().find_map(|act| match act {
        Act::Hold { reason, .. } => Some(*reason),
        Act::Refuse { .. } | Act::Stamp(_) => None,
    });
    let refusal_to_all = |copies: &Copies, groups: &[(Course, Vec<usize>)]| {
        copies.refusal(groups, plan, mail, refusal.as_ref())
    };
    if let Some(reply) = refusal_to_all(&Copies::default(), &groups) {
        let rule = rule.or_else(|| plan.rule());
        return refusal_of(verdict, reply, rule, now.trust);
    }
    let one_body = envelope.division == Division::Never;
    let unprotected =
        |(act, fate): (&Act, &Fate)| matches!(act, Act::Hold { .. }) && *fate != Fate::AsItIs;
    let in_clear = match one_body {
        true => !plan.is_nothing(),
        false => each.iter().zip(&fates).any(unprotected),
    };
    if let Some(reason) = held.filter(|_| in_clear) {
        // It would be held in clear, and go on so.
        let reply = reason.strict_reply();
        let reply = reply.map(|reply| reply::refused(reason, &reply, &envelope.id));
        let reply = reply.unwrap_or_else(Reply::aborted);
        return refusal_of(verdict, reply, rule, now.trust);
    }
    // There is one body in one queue: what is held for several groups is held in the plainest form.
    let plainest = form.shown(StampMode::Headers);
    let held_plainly = (one_body && held.is_some() && groups.len() != 1).then_some(plainest);
    let mut stamped: Vec<Course> = Vec::new();
    let wanted = groups.iter().filter_map(|(course, _)| course.stamped());
    for course in wanted.chain(held_plainly.map(Course::Stamp)) {
        if !stamped.contains(&course) {
            stamped.push(course);
        }
    }
    let modes = stamped.iter().filter_map(|course| course.mode());
    let modes: Vec<StampMode> = modes.collect();
    let wraps = |mode: &StampMode| context.wrapper.is_some() && is_wrapped(&verdict, *mode);
    let delivered = |context: &StampContext<'_>| {
        let copies = match !now.trust.is_trusted() && modes.iter().any(wraps) {
            // It would be a signed statement with a wrong date.
            true => Err(Reason::ClockNotTrusted),
            false => deliver_each(&mail.raw, &verdict, context, &modes, &limits),
        };
        // Whatever the mode: what must not be shown cannot be kept out of it, and stays the sender's.
        let copies = copies.map_err(|reason| kept_back(reason, &envelope.id))?;
        Ok(stamped.iter().copied().zip(copies).collect::<Vec<_>>())
    };
    // What is only made into other copies needs no statement, which would be about a mail that nobody gets.
    let unstated = StampContext {
        key: None,
        ..context
    };
    let goes_on = |groups: &[(Course, Vec<usize>)]| {
        !matches!(manner, Manner::Enclosed(_)) && groups.iter().any(|(own, _)| own.goes_on())
    };
    let is_stated = held_plainly.is_some() || goes_on(&groups);
    let copies = delivered(match is_stated {
        true => &context,
        false => &unstated,
    });
    let mut copies = match copies {
        Ok(copies) => copies,
        Err(reply) => return refusal_of(verdict, reply, rule, now.trust),
    };
    let making = Making {
        plan,
        mail,
        verdict: &verdict,
        context: &context,
        most: copies_size(snapshot),
    };
    let mut protected = Copies::make(&mut groups, &making, &copies);
    if !is_stated && goes_on(&groups) {
        // It could not be protected, and need not be.
        copies = match delivered(&context) {
            Ok(copies) => copies,
            Err(reply) => return refusal_of(verdict, reply, rule, now.trust),
        };
    }
    let groups = merged(groups);
    if let Some(reply) = refusal_to_all(&protected, &groups) {
        return refusal_of(verdict, reply, rule.or_else(|| plan.rule()), now.trust);
    }
    let mut courses = groups.iter().map(|(course, _)| course);
    let denied = courses.any(|course| matches!(course, Course::Denied(_)));
    // The others have it, and somebody has to find why these do not.
    let rule = rule.or_else(|| plan.rule().filter(|_| denied));
    let all = copies
        .into_iter()
        .chain(std::mem::take(&mut protected.made));
    let made = all.map(|(course, copy)| match manner {
        Manner::Ordinary => Made::of(course, copy),
        Manner::Opened(room) | Manner::Enclosed(room) => Made::opened(course, copy, room.clone()),
    });
    let mut copies: Vec<Made> = made.collect();
    let mut bodies = Vec::new();
    let mut changed = Vec::new();
    let mut kinds = Vec::new();
    let mut edits = |place: usize, course: Course| {
        let copy = copies.iter().position(|own| own.course == course)?;
        let copy = copies.swap_remove(copy);
        bodies.extend(copy.wrapped);
        changed.extend((copy.rewrites && !plan.is_submitted()).then_some(place));
        if let Course::Protect(_, at) = course {
            kinds.push(plan.kind(at));
        }
        Some(copy.edits)
    };
    let why = held.map_or_else(String::new, |reason| {
        format!("S/MIME: {} (id {})", reason.id(), envelope.id)
    });
    let treatment = match groups.as_slice() {
        // There is one body in one queue: one recipient's rule has it held for all.
        groups if one_body && held.is_some() => Treatment::Quarantine {
            edits: edits(
                0,
                match groups {
                    [(Course::Stamp(mode), _)] => Course::Stamp(*mode),
                    _ => Course::Stamp(plainest),
                },
            )
            .unwrap_or_default(),
            reason: why,
        },
        // Without its edits a mail would go as it came.
        [(course @ Course::Hold(_), _)] => match edits(0, *course) {
            Some(edits) => Treatment::Quarantine { edits, reason: why },
            None => Treatment::Refuse(Reply::aborted()),
        },
        [(course @ (Course::Stamp(_) | Course::Protect(..)), _)] => {
            let edits = edits(0, *course);
            edits.map_or_else(|| Treatment::Refuse(Reply::aborted()), Treatment::Relay)
        }
        _ => {
            let groups = groups.into_iter().enumerate();
            let divided = groups.map(|(place, (course, recipients))| Group {
                recipients,
                share: match course {
                    Course::Stamp(_) | Course::Protect(..) => edits(place, course)
                        .map_or_else(|| Share::Refuse(Reply::aborted()), Share::Relay),
                    Course::Hold(_) => match edits(place, course) {
                        Some(edits) => Share::Hold {
                            edits,
                            reason: why.clone(),
                        },
                        None => Share::Refuse(Reply::aborted()),
                    },
                    Course::Refuse => Share::Refuse(refusal.clone().unwrap_or_else(Reply::aborted)),
                    Course::Denied(at) => Share::Refuse(protected.reply(at, plan, mail)),
                    Course::Had => Share::Had,
                },
            });
            Treatment::Divide(divided.collect())
        }
    };
    let action = match &treatment {
        Treatment::Divide(_) => "divide",
        Treatment::Quarantine { .. } => "quarantine",
        Treatment::Relay(_) | Treatment::Refuse(_) if plan.is_nothing() => "stamp",
        Treatment::Relay(_) => "protect",
        Treatment::Refuse(_) => "refuse",
    };
    Decided {
        verdict,
        treatment,
        action,
        changed,
        sealed: "",
        clock: now.trust,
        rule,
        bodies,
        protected: kinds,
        states: Vec::new(),
        discreet: false,
    }
}

/// What is said of a mail that must not be shown as it is, and cannot be shown otherwise.
fn kept_back(reason: Reason, id: &str) -> Reply {
    match reason {
        // That it took too long may be ours, and another time it can be wrapped.
        Reason::LimitTime => reply::busy(),
        _ => match reason.strict_reply() {
            Some(reply) => reply::refused(reason, &reply, id),
            None => Reply::aborted(),
        },
    }
}

/// Names of the authorities whose certificates must not be shown.
fn shielded(snapshot: &Snapshot) -> Vec<&[u8]> {
    let known = snapshot.known.intermediates();
    let names = snapshot.trust.shielded_names(known);
    names.into_iter().map(Name::der).collect()
}

/// What a stamp needs, in the plainest mode.
fn context<'s>(
    snapshot: &'s Snapshot,
    id: &'s str,
    now: Moment,
    shielded_names: &'s [&'s [u8]],
) -> StampContext<'s> {
    StampContext {
        authserv_id: &snapshot.config.authserv_id,
        site_authserv_ids: &snapshot.config.site_authserv_ids,
        key: snapshot.key.as_ref().filter(|_| now.trust.is_trusted()),
        id,
        now: unix_time(now.time),
        mode: StampMode::Headers,
        tags: snapshot.mail.may_tag(),
        wrapper: snapshot.wrapper.as_ref(),
        shielded_names,
    }
}

/// What a rule says of an opened mail, where it would say to try again later, or to sign what has no time now.
fn undelayed(act: Act, clock: Trust) -> Act {
    match act {
        Act::Refuse { reply, .. } if reply.code < 500 => Act::Stamp(StampMode::Headers),
        Act::Stamp(_) if !clock.is_trusted() => Act::Stamp(StampMode::Headers),
        other => other,
    }
}

/// Octets of all copies of one mail that are made to protect it: two of the largest that comes, and many of a small one.
fn copies_size(snapshot: &Snapshot) -> usize {
    let largest = snapshot.config.limits.message_size;
    let largest = usize::try_from(largest).unwrap_or(usize::MAX);
    largest.saturating_mul(3).max(LEAST_COPIES)
}

/// Puts bodies that were made, and are large, into files without a name, as large mail is, while they wait for the next
/// hop; where that cannot be, nobody gets the mail.
pub(crate) fn keep(mut decided: Decided, id: &str, folder: &Path) -> Decided {
    let kept = each_edit(&mut decided.treatment).try_for_each(|edit| match edit {
        Edit::Body(_, body) => spool(body, folder),
        Edit::Prepend(_) | Edit::Remove(_) | Edit::Insert(..) | Edit::ReturnPath(_) => Ok(()),
    });
    match kept {
        Ok(()) => {
            for wrapped in &decided.bodies {
                metrics::rewritten(*wrapped);
            }
            for kind in &decided.protected {
                metrics::protected(kind);
            }
            for state in &decided.states {
                metrics::opened(state.as_str());
            }
            decided
        }
        // It would wait for the next hop in memory, and others with it.
        Err(failed) => {
            error!(id, error = %failed, "a rewritten mail cannot be kept");
            refusal_of(
                decided.verdict,
                reply::storage(&failed),
                None,
                decided.clock,
            )
        }
    }
}

/// Every edit of every copy.
fn each_edit(treatment: &mut Treatment) -> impl Iterator<Item = &mut Edit> {
    let copies = match treatment {
        Treatment::Relay(edits) | Treatment::Quarantine { edits, .. } => vec![edits],
        Treatment::Divide(groups) => {
            let shares = groups.iter_mut().map(|group| &mut group.share);
            shares
                .filter_map(|share| match share {
                    Share::Relay(edits) | Share::Hold { edits, .. } => Some(edits),
                    Share::Confide(confided) => Some(&mut confided.edits),
                    Share::Refuse(_) | Share::Had => None,
                })
                .collect()
        }
        Treatment::Refuse(_) => Vec::new(),
    };
    copies.into_iter().flatten()
}

fn spool(body: &mut MailBytes, folder: &Path) -> Result<(), TempBodyError> {
    // What was opened is counted and wiped where it lies, and must not lie on a disk.
    if body.len() > IN_MEMORY && !body.is_mapped() && !body.is_lent() {
        let mut file = TempBody::create_in(folder)?;
        file.append(body)?;
        *body = file.map()?.into();
    }
    Ok(())
}

/// Nobody gets it.
fn refusal_of(verdict: Verdict, reply: Reply, rule: Option<usize>, clock: Trust) -> Decided {
    Decided {
        verdict,
        treatment: Treatment::Refuse(reply),
        action: "refuse",
        changed: Vec::new(),
        sealed: "",
        clock,
        rule,
        bodies: Vec::new(),
        protected: Vec::new(),
        states: Vec::new(),
        discreet: false,
    }
}

/// A copy as the front end takes it.
struct Made {
    course: Course,
    edits: Vec<Edit>,
    /// Whether a field of the sender's is changed.
    rewrites: bool,
    /// Whether it is wrapped; nothing where its body is the one that came.
    wrapped: Option<bool>,
}

impl Made {
    fn of(course: Course, copy: Delivered) -> Self {
        Self::with(course, copy, MailBytes::from)
    }

    /// One of which no octet goes to a file.
    fn opened(course: Course, copy: Delivered, room: Option<Arc<Room>>) -> Self {
        Self::with(course, copy, |body| {
            Plain::new(Secret::new(body), room).into()
        })
    }

    fn with(course: Course, copy: Delivered, bytes: impl FnOnce(Vec<u8>) -> MailBytes) -> Self {
        let HeaderEdits {
            remove,
            insert,
            prepend,
            rewrites,
        } = copy.header;
        let removed = remove.into_iter().map(Edit::Remove);
        let inserted = insert.into_iter().map(|(at, text)| Edit::Insert(at, text));
        let mut edits: Vec<Edit> = removed
            .chain(inserted)
            .chain(std::iter::once(Edit::Prepend(prepend)))
            .collect();
        let protected = matches!(course, Course::Protect(..));
        let wrapped = copy.body.as_ref().map(|_| copy.wrapped);
        let wrapped = wrapped.filter(|_| !protected);
        if let Some((at, body)) = copy.body {
            edits.push(Edit::Body(at, bytes(body)));
        }
        Self {
            course,
            edits,
            rewrites,
            wrapped,
        }
    }
}

/// Octets of a body above which it goes to a file.
const IN_MEMORY: usize = 1 << 20;
/// Octets of copies that may always be made.
const LEAST_COPIES: usize = 1 << 20;

/// What the rules say for each recipient.
fn by_the_rules(mail: &Mail, snapshot: &Snapshot, verdict: &Verdict) -> Vec<Act> {
    among(mail, snapshot, |parties| {
        snapshot.mail.decide_each(parties, verdict)
    })
}

/// How the rules wish the mail to be protected for each recipient.
pub(crate) fn wishes(mail: &Mail, snapshot: &Snapshot) -> Vec<Wish> {
    among(mail, snapshot, |parties| {
        snapshot.mail.protect_each(parties)
    })
}

/// What the rules say of encrypted mail for each recipient. Where mail goes on encrypted or not at all, what was opened
/// does too.
fn opening_each(mail: &Mail, snapshot: &Snapshot) -> Vec<OpeningRule> {
    among(mail, snapshot, |parties| {
        let wishes = snapshot.mail.protect_each(parties);
        let rules = snapshot.mail.opening_each(parties).into_iter();
        let both = rules.zip(wishes).map(|(rule, wish)| OpeningRule {
            reencrypt: rule.reencrypt || wish.encrypt == Encrypt::Must,
            ..rule
        });
        both.collect()
    })
}

/// What the rules may do with encrypted mail for each recipient, whatever is in it and whoever signed that.
fn handling_each(mail: &Mail, snapshot: &Snapshot) -> Vec<(Handling, OpeningRule)> {
    let handled = among(mail, snapshot, |parties| {
        snapshot.mail.handling_each(parties)
    });
    handled
        .into_iter()
        .zip(opening_each(mail, snapshot))
        .collect()
}

/// What the rules say of the certificate of somebody who signed this well.
pub(crate) fn harvest(mail: &Mail, snapshot: &Snapshot) -> Harvest {
    among(mail, snapshot, |parties| snapshot.mail.harvest(parties))
}

/// Asks the rules about the parties of a message.
fn among<T>(mail: &Mail, snapshot: &Snapshot, ask: impl FnOnce(Parties<'_>) -> T) -> T {
    // One without a domain is the postmaster's, whom no rule names.
    let recipients: Vec<&str> = mail
        .envelope
        .rcpt_to
        .iter()
        .map(|to| whole(&to.address).unwrap_or_default())
        .collect();
    // Without a rule nobody asks who is shown.
    let shown = if snapshot.mail.is_empty() {
        Shown::default()
    } else {
        Shown::read(&mail.raw, &header::scan(&mail.raw))
    };
    let parties = Parties {
        sender: whole(&mail.envelope.mail_from),
        shown: &shown,
        recipients: &recipients,
    };
    ask(parties)
}

fn whole(address: &str) -> Option<&str> {
    address.contains('@').then_some(address)
}

#[cfg(test)]
mod tests;
