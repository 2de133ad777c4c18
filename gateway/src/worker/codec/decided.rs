//! What was decided of a mail, as octets, and what the edge looks at before it believes that a worker decided it.

use kenin_keys::octets::Malformed;
use kenin_smtp_filter::{Division, Edit, Envelope, Group, Share, Treatment};

use super::{coded, coded_by_number};
use crate::act::Decided;
use crate::clock::{Moment, Trust};
use crate::opening::State;

coded!(Decided {
    verdict,
    treatment,
    action,
    changed,
    sealed,
    clock,
    rule,
    bodies,
    protected,
    states,
    discreet,
});

coded_by_number!(State:
    Opened = 0,
    NotRoot = 1,
    NotRecipient = 2,
    Undecryptable = 3,
    Replayed = 4,
    Throttled = 5,
);

coded!(Moment { time, trust });

coded_by_number!(Trust: Yes = 0, TooEarly = 1, TooLate = 2, BeforeMark = 3, Jumped = 4);

/// Checks that it is something that can be done with this mail: each recipient in one group, edits within the mail, and
/// nothing accepted in anybody's stead but what is held.
pub(in crate::worker) fn check(
    decided: &Decided,
    envelope: &Envelope,
    length: usize,
) -> Result<(), Malformed> {
    match &decided.treatment {
        Treatment::Relay(all) | Treatment::Quarantine { edits: all, .. } => edits(all, length),
        Treatment::Refuse(_) => Ok(()),
        Treatment::Divide(groups) => {
            if envelope.division == Division::Never {
                return Err(Malformed("a mail that cannot be divided"));
            }
            each_once(groups, envelope.rcpt_to.len())?;
            groups.iter().try_for_each(|group| match &group.share {
                Share::Relay(all) | Share::Hold { edits: all, .. } => edits(all, length),
                Share::Confide(confided) => {
                    let content = confided.content.as_ref();
                    let length = content.map_or(length, |content| content.len());
                    edits(&confided.edits, length)
                }
                Share::Refuse(_) | Share::Had => Ok(()),
            })
        }
    }
}

/// Room in which it can be written: where a vector grows, what was opened is left behind in its old place.
pub(in crate::worker) fn room(decided: &Decided) -> usize {
    let sizes = match &decided.treatment {
        Treatment::Relay(edits) | Treatment::Quarantine { edits, .. } => size_of(edits),
        Treatment::Refuse(_) => 0,
        Treatment::Divide(groups) => {
            let sizes = groups.iter().map(|group| match &group.share {
                Share::Relay(edits) | Share::Hold { edits, .. } => size_of(edits),
                Share::Confide(confided) => {
                    let content = confided.content.as_ref();
                    let content = content.map_or(0, |content| content.len());
                    content.saturating_add(size_of(&confided.edits))
                }
                Share::Refuse(_) | Share::Had => 0,
            });
            sizes.fold(0, usize::saturating_add)
        }
    };
    sizes.saturating_add(BESIDE_CONTENT)
}

fn size_of(edits: &[Edit]) -> usize {
    let sizes = edits.iter().map(|edit| match edit {
        Edit::Prepend(octets) | Edit::Insert(_, octets) => octets.len(),
        Edit::Body(_, octets) => octets.len(),
        Edit::ReturnPath(path) => path.len(),
        Edit::Remove(_) => 0,
    });
    sizes
        .map(|size| size.saturating_add(BESIDE_EDIT))
        .fold(0, usize::saturating_add)
}

fn edits(edits: &[Edit], length: usize) -> Result<(), Malformed> {
    let mut bodies = 0;
    for edit in edits {
        let end = match edit {
            Edit::Prepend(_) | Edit::ReturnPath(_) => 0,
            Edit::Remove(range) => range.end,
            Edit::Insert(at, _) => *at,
            Edit::Body(at, _) => {
                bodies += 1;
                *at
            }
        };
        if end > length || bodies > 1 {
            return Err(Malformed("an edit beyond the mail"));
        }
    }
    Ok(())
}

fn each_once(groups: &[Group], recipients: usize) -> Result<(), Malformed> {
    let mut seen = vec![false; recipients];
    for place in groups.iter().flat_map(|group| &group.recipients) {
        match seen.get_mut(*place) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(Malformed("a recipient in no group, or in two")),
        }
    }
    match seen.iter().all(|seen| *seen) {
        true => Ok(()),
        false => Err(Malformed("a recipient in no group")),
    }
}

/// Octets of a verdict and the rest, mostly.
const BESIDE_CONTENT: usize = 8 << 10;
/// Octets of an edit beside what is new in it.
const BESIDE_EDIT: usize = 24;
