//! From a verdict to what is done with the message: the mail rules, then the stamp, for each group of
//! recipients that is treated alike.
//!
//! Never looks at a certificate. A body is changed by the policy only: a message of our own takes its place,
//! or what was signed without its signature.

use std::path::Path;

use kenin_pki::name::Name;
use kenin_policy::verdict::Verdict;
use kenin_policy::{
    Act, Delivered, Harvest, HeaderEdits, Parties, Reason, Shown, StampContext, StampMode,
    deliver_each, header, is_wrapped,
};
use kenin_smtp_filter::{Division, Edit, Group, Mail, MailBytes, Reply, Share, Treatment};
use kenin_sys::{TempBody, TempBodyError};
use tracing::error;

use crate::clock::{Moment, Trust, unix_time};
use crate::snapshot::Snapshot;
use crate::{metrics, reply};

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
    /// Which rule of `mail.toml` refused it or had it held, counted from 1.
    pub(crate) rule: Option<usize>,
    /// Of each copy that gets another body, whether that is wrapped.
    pub(crate) bodies: Vec<bool>,
}

/// The mail rules, then the stamp. `had` are the recipients, by their place, that have the message since
/// an earlier try.
///
/// While the clock is not trusted, nothing is signed, since all that is signed has a date: mail goes on without
/// `X-Kenin-Verdict`, and what would be wrapped stays the sender's.
pub(crate) fn act(
    mail: &Mail,
    snapshot: &Snapshot,
    mut verdict: Verdict,
    now: Moment,
    had: &[usize],
) -> Decided {
    verdict.revision.clone_from(&snapshot.revision);
    let envelope = &mail.envelope;
    let had = match envelope.division {
        // The MTA has it for all of them, whoever has it from elsewhere.
        Division::Never => &[],
        Division::Copies | Division::Answers => had,
    };
    let each = by_the_rules(mail, snapshot, &verdict);
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
    let shielded = snapshot
        .trust
        .shielded_names(snapshot.known.intermediates());
    let shielded: Vec<&[u8]> = shielded.into_iter().map(Name::der).collect();
    let context = StampContext {
        authserv_id: &snapshot.config.authserv_id,
        site_authserv_ids: &snapshot.config.site_authserv_ids,
        key: snapshot.key.as_ref().filter(|_| now.trust.is_trusted()),
        id: &envelope.id,
        now: unix_time(now.time),
        mode: StampMode::Headers,
        tags: snapshot.mail.may_tag(),
        wrapper: snapshot.wrapper.as_ref(),
        shielded_names: &shielded,
    };
    let form = Form::of(&verdict);
    let groups = groups(&each, had, envelope.division, form);
    let limits = snapshot.config.engine_limits();
    let held = each.iter().find_map(|act| match act {
        Act::Hold { reason, .. } => Some(*reason),
        Act::Refuse { .. } | Act::Stamp(_) => None,
    });
    let mut modes: Vec<StampMode> = groups
        .iter()
        .filter_map(|(course, _)| course.mode())
        .collect();
    // There is one body in one queue: what is held for several groups is held in the plainest form.
    let plainest = form.shown(StampMode::Headers);
    let one_body = envelope.division == Division::Never;
    if one_body && held.is_some() && groups.len() != 1 && !modes.contains(&plainest) {
        modes.push(plainest);
    }
    let wraps = |mode: &StampMode| context.wrapper.is_some() && is_wrapped(&verdict, *mode);
    let copies = match !now.trust.is_trusted() && modes.iter().any(wraps) {
        // It would be a signed statement with a wrong date.
        true => Err(Reason::ClockNotTrusted),
        false => deliver_each(&mail.raw, &verdict, &context, &modes, &limits),
    };
    let copies = match copies {
        Ok(copies) => copies,
        // Whatever the mode: what must not be shown cannot be kept out of it, and stays the sender's.
        Err(reason) => {
            let reply = match reason {
                // That it took too long may be ours, and another time it can be wrapped.
                Reason::LimitTime => Some(reply::busy()),
                _ => reason
                    .strict_reply()
                    .map(|reply| reply::refused(reason, &reply, &envelope.id)),
            };
            return refusal_of(
                verdict,
                reply.unwrap_or_else(Reply::aborted),
                rule,
                now.trust,
            );
        }
    };
    let made = modes.into_iter().zip(copies);
    let mut copies: Vec<Made> = made.map(|(mode, copy)| Made::of(mode, copy)).collect();
    let mut bodies = Vec::new();
    let mut changed = Vec::new();
    let mut edits = |place: usize, mode: StampMode| {
        let copy = copies.iter().position(|own| own.mode == mode);
        let Some(copy) = copy.map(|copy| copies.swap_remove(copy)) else {
            return Vec::new();
        };
        bodies.extend(copy.wrapped);
        changed.extend(copy.rewrites.then_some(place));
        copy.edits
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
                    [(Course::Stamp(mode), _)] => *mode,
                    _ => plainest,
                },
            ),
            reason: why,
        },
        [(Course::Hold(mode), _)] => Treatment::Quarantine {
            edits: edits(0, *mode),
            reason: why,
        },
        [(Course::Stamp(mode), _)] => Treatment::Relay(edits(0, *mode)),
        _ => {
            let groups = groups.into_iter().enumerate();
            let divided = groups.map(|(place, (course, recipients))| Group {
                recipients,
                share: match course {
                    Course::Stamp(mode) => Share::Relay(edits(place, mode)),
                    Course::Hold(mode) => Share::Hold {
                        edits: edits(place, mode),
                        reason: why.clone(),
                    },
                    Course::Refuse => Share::Refuse(refusal.clone().unwrap_or_else(Reply::aborted)),
                    Course::Had => Share::Had,
                },
            });
            Treatment::Divide(divided.collect())
        }
    };
    let action = match &treatment {
        Treatment::Divide(_) => "divide",
        Treatment::Quarantine { .. } => "quarantine",
        Treatment::Relay(_) | Treatment::Refuse(_) => "stamp",
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
    }
}

/// Puts bodies that were made, and are large, into files without a name, as large mail is, while they wait for the next
/// hop; where that cannot be, nobody gets the mail.
pub(crate) fn keep(mut decided: Decided, id: &str, folder: &Path) -> Decided {
    let kept = each_edit(&mut decided.treatment).try_for_each(|edit| match edit {
        Edit::Body(_, body) => spool(body, folder),
        Edit::Prepend(_) | Edit::Remove(_) | Edit::Insert(..) => Ok(()),
    });
    match kept {
        Ok(()) => {
            for wrapped in &decided.bodies {
                metrics::rewritten(*wrapped);
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
    if body.len() > IN_MEMORY && !body.is_mapped() {
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
    }
}

/// A copy as the front end takes it.
struct Made {
    mode: StampMode,
    edits: Vec<Edit>,
    /// Whether a field of the sender's is changed.
    rewrites: bool,
    /// Whether it is wrapped; nothing where its body is the one that came.
    wrapped: Option<bool>,
}

impl Made {
    fn of(mode: StampMode, copy: Delivered) -> Self {
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
        let wrapped = copy.body.as_ref().map(|_| copy.wrapped);
        if let Some((at, body)) = copy.body {
            edits.push(Edit::Body(at, body.into()));
        }
        Self {
            mode,
            edits,
            rewrites,
            wrapped,
        }
    }
}

/// Octets of a body above which it goes to a file.
const IN_MEMORY: usize = 1 << 20;

/// What the rules say for each recipient.
fn by_the_rules(mail: &Mail, snapshot: &Snapshot, verdict: &Verdict) -> Vec<Act> {
    among(mail, snapshot, |parties| {
        snapshot.mail.decide_each(parties, verdict)
    })
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

/// What becomes of the message for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Stamp(StampMode),
    /// We hold it.
    Hold(StampMode),
    Refuse,
    Had,
}

impl Course {
    /// How its copy is stamped, if there is one.
    fn mode(self) -> Option<StampMode> {
        match self {
            Self::Stamp(mode) | Self::Hold(mode) => Some(mode),
            Self::Refuse | Self::Had => None,
        }
    }
}

/// Which forms there are of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One for each mode.
    Each,
    /// One, whatever the mode: the certificate of its signer must not be shown.
    One,
}

impl Form {
    fn of(verdict: &Verdict) -> Self {
        match verdict.is_shielded() {
            true => Self::One,
            false => Self::Each,
        }
    }

    /// The mode in which a copy is made where a rule says this one.
    fn shown(self, mode: StampMode) -> StampMode {
        match (self, mode) {
            (Self::One, _) => StampMode::Wrap,
            // What a mail store does with the fields changes nothing here.
            (Self::Each, StampMode::Folder) => StampMode::Headers,
            (Self::Each, other) => other,
        }
    }
}

/// Recipients that are treated alike, by their places. Where there is one body for all, it is stamped
/// as all want it or else in the header only.
fn groups(
    each: &[Act],
    had: &[usize],
    division: Division,
    form: Form,
) -> Vec<(Course, Vec<usize>)> {
    let mut groups: Vec<(Course, Vec<usize>)> = Vec::new();
    for (place, act) in each.iter().enumerate() {
        let course = match act {
            _ if had.contains(&place) => Course::Had,
            Act::Hold { mode, .. } if division != Division::Never => {
                Course::Hold(form.shown(*mode))
            }
            Act::Stamp(mode) | Act::Hold { mode, .. } => Course::Stamp(form.shown(*mode)),
            Act::Refuse { .. } => Course::Refuse,
        };
        match groups.iter_mut().find(|(own, _)| *own == course) {
            Some((_, places)) => places.push(place),
            None => groups.push((course, vec![place])),
        }
    }
    if division == Division::Never && groups.len() > 1 {
        let plainest = form.shown(StampMode::Headers);
        groups = vec![(Course::Stamp(plainest), (0..each.len()).collect())];
    }
    groups
}

fn whole(address: &str) -> Option<&str> {
    address.contains('@').then_some(address)
}

#[cfg(test)]
mod tests;
