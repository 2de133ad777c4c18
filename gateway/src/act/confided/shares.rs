//! The shares of a mail that names keys which are here: what nobody outside is to hear of, as it goes on.

use std::sync::Arc;

use kenin_smtp_filter::{Confided, Division, Edit, Group, Mail, MailBytes, Share, Treatment};

use crate::act::{Decided, each_edit};
use crate::config::{Config, Receipts};
use crate::opening::{Room, lodged, wishes};

/// The treatment of a mail that was not looked into, so that it looks like that of one which was.
pub(crate) fn confide(mail: &Mail, config: &Config, treatment: Treatment) -> Treatment {
    let places: Vec<usize> = (0..mail.envelope.rcpt_to.len()).collect();
    match (treatment, mail.envelope.division) {
        (Treatment::Relay(mut edits), Division::Never) => {
            edits.extend(unasked(mail, config));
            edits.push(Edit::ReturnPath(return_path(mail, config)));
            Treatment::Relay(edits)
        }
        (other, Division::Never) => other,
        (other, _) => {
            let groups = groups_of(other, &places).into_iter();
            let confided = groups.map(|group| Group {
                share: match group.share {
                    Share::Relay(edits) => confided(mail, config, None, edits),
                    other => other,
                },
                ..group
            });
            Treatment::Divide(confided.collect())
        }
    }
}

/// Whether it is what was opened, or that encrypted again.
pub(super) fn is_opened(confided: &Confided) -> bool {
    confided.content.is_some()
}

/// A treatment of the mail for these recipients alone, as groups of all.
pub(super) fn groups_of(treatment: Treatment, places: &[usize]) -> Vec<Group> {
    let all = |share| {
        vec![Group {
            recipients: places.to_vec(),
            share,
        }]
    };
    match treatment {
        Treatment::Relay(edits) => all(Share::Relay(edits)),
        Treatment::Refuse(reply) => all(Share::Refuse(reply)),
        Treatment::Quarantine { edits, reason } => all(Share::Hold { edits, reason }),
        Treatment::Divide(groups) => {
            let own = |at: &usize| places.get(*at).copied();
            let groups = groups.into_iter().map(|group| Group {
                recipients: group.recipients.iter().filter_map(own).collect(),
                share: group.share,
            });
            groups.collect()
        }
    }
}

pub(super) fn confided(
    mail: &Mail,
    config: &Config,
    content: Option<MailBytes>,
    mut edits: Vec<Edit>,
) -> Share {
    let what = match &content {
        Some(_) => "opened mail",
        None => {
            edits.extend(unasked(mail, config));
            "mail that stayed encrypted"
        }
    };
    Share::Confide(Confided {
        content,
        edits,
        return_path: Some(return_path(mail, config)),
        reason: format!("{what} (id {})", mail.envelope.id),
    })
}

/// Takes out of a mail that stayed encrypted what is taken out of opened mail: a receipt for the one, where there is never
/// one for the other, would tell which it was.
fn unasked(mail: &Mail, config: &Config) -> Vec<Edit> {
    match config.decrypt.receipts {
        Receipts::Strip => wishes(&mail.raw).into_iter().map(Edit::Remove).collect(),
        Receipts::Keep => Vec::new(),
    }
}

/// Who is told of what becomes of it behind us: never its sender, who would get it back opened.
pub(super) fn return_path(mail: &Mail, config: &Config) -> String {
    // Of a notification nobody is notified.
    let own = (!mail.envelope.mail_from.is_empty()).then_some(config.decrypt.return_path.as_ref());
    own.flatten().cloned().unwrap_or_default()
}

/// Who is told of mail that a worker has confided is who we say, whatever it says.
pub(crate) fn own_return_path(decided: &mut Decided, mail: &Mail, config: &Config) {
    for edit in each_edit(&mut decided.treatment) {
        if let Edit::ReturnPath(path) = edit {
            *path = return_path(mail, config);
        }
    }
    for confided in each_confided(&mut decided.treatment) {
        confided.return_path = Some(return_path(mail, config));
    }
}

/// Has what was opened in a worker hold the room that is held for it here.
pub(crate) fn lodge(decided: &mut Decided, rooms: &Arc<Vec<Room>>) {
    for edit in each_edit(&mut decided.treatment) {
        if let Edit::Body(_, body) = edit
            && body.is_lent()
        {
            *body = lodged(body.clone(), rooms);
        }
    }
    for confided in each_confided(&mut decided.treatment) {
        let content = confided.content.take();
        confided.content = content.map(|content| lodged(content, rooms));
    }
}

fn each_confided(treatment: &mut Treatment) -> impl Iterator<Item = &mut Confided> {
    let groups = match treatment {
        Treatment::Divide(groups) => groups.as_mut_slice(),
        Treatment::Relay(_) | Treatment::Refuse(_) | Treatment::Quarantine { .. } => &mut [],
    };
    groups
        .iter_mut()
        .filter_map(|group| match &mut group.share {
            Share::Confide(confided) => Some(confided),
            Share::Relay(_) | Share::Refuse(_) | Share::Hold { .. } | Share::Had => None,
        })
}

/// Octets that a copy has of its own.
pub(super) fn size_of(group: &Group) -> usize {
    let (content, edits) = match &group.share {
        Share::Confide(confided) => (confided.content.as_ref(), &confided.edits),
        Share::Relay(edits) | Share::Hold { edits, .. } => (None, edits),
        Share::Refuse(_) | Share::Had => return 0,
    };
    let bodies = edits.iter().map(|edit| match edit {
        Edit::Body(_, body) => body.len(),
        Edit::Prepend(_) | Edit::Remove(_) | Edit::Insert(..) | Edit::ReturnPath(_) => 0,
    });
    let content = content.map_or(0, |content| content.len());
    bodies.fold(content, usize::saturating_add)
}
