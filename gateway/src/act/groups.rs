//! Recipients who are treated alike: by the mail rules, by how the verdict is shown, and by the plan of protection.

use kenin_policy::verdict::Verdict;
use kenin_policy::{Act, StampMode};
use kenin_smtp_filter::Division;

use crate::protect::Fate;

/// What becomes of the message for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It goes on with its stamp.
    Stamp(StampMode),
    /// We hold it.
    Hold(StampMode),
    /// It is shown like this, and protected as this group of the plan says.
    Protect(StampMode, usize),
    /// A rule refuses it.
    Refuse,
    /// The plan refuses it, for this group of its own.
    Denied(usize),
    /// They have it.
    Had,
}

impl Course {
    /// How the verdict is shown, where the message goes on.
    pub(super) const fn mode(self) -> Option<StampMode> {
        match self {
            Self::Stamp(mode) | Self::Hold(mode) | Self::Protect(mode, _) => Some(mode),
            Self::Refuse | Self::Denied(_) | Self::Had => None,
        }
    }

    /// Whether somebody gets the copy that is stamped for it, or will.
    pub(super) const fn goes_on(self) -> bool {
        matches!(self, Self::Stamp(_) | Self::Hold(_))
    }

    /// The copy that is stamped for it: what is protected is made of the one that goes on.
    pub(super) const fn stamped(self) -> Option<Self> {
        match self {
            Self::Stamp(mode) | Self::Protect(mode, _) => Some(Self::Stamp(mode)),
            Self::Hold(mode) => Some(Self::Hold(mode)),
            Self::Refuse | Self::Denied(_) | Self::Had => None,
        }
    }

    /// The same, shown like this.
    const fn shown(self, mode: StampMode) -> Self {
        match self {
            Self::Stamp(_) => Self::Stamp(mode),
            Self::Hold(_) => Self::Hold(mode),
            Self::Protect(_, at) => Self::Protect(mode, at),
            Self::Refuse | Self::Denied(_) | Self::Had => self,
        }
    }
}

/// Which forms there are of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One for each mode.
    Each,
    /// One, whatever the mode: the certificate of its signer must not be shown.
    One,
}

impl Form {
    pub(super) fn of(verdict: &Verdict) -> Self {
        match verdict.is_shielded() {
            true => Self::One,
            false => Self::Each,
        }
    }

    /// The mode in which a copy is made where a rule says this one.
    pub(super) fn shown(self, mode: StampMode) -> StampMode {
        match (self, mode) {
            (Self::One, _) => StampMode::Wrap,
            // What a mail store does with the fields changes nothing here.
            (Self::Each, StampMode::Folder) => StampMode::Headers,
            (Self::Each, other) => other,
        }
    }
}

/// Recipients that are treated alike, by their places. Where there is one body for all, it is stamped
/// as all want it or else in the header only; so it is where there would be more groups than can be sent.
pub(super) fn groups(
    each: &[Act],
    had: &[usize],
    division: Division,
    form: Form,
    fates: &[Fate],
) -> Vec<(Course, Vec<usize>)> {
    let mut groups: Vec<(Course, Vec<usize>)> = Vec::new();
    for (place, act) in each.iter().enumerate() {
        let course = match act {
            _ if had.contains(&place) => Course::Had,
            Act::Stamp(mode) | Act::Hold { mode, .. } => {
                let mode = form.shown(*mode);
                let holds = division != Division::Never && matches!(act, Act::Hold { .. });
                match fates.get(place) {
                    // What has no recipient goes to nobody.
                    Some(Fate::AsItIs) | None if holds => Course::Hold(mode),
                    Some(Fate::AsItIs) | None => Course::Stamp(mode),
                    // It is not held in clear.
                    Some(Fate::Copy(at)) if holds => Course::Denied(*at),
                    Some(Fate::Copy(at)) => Course::Protect(mode, *at),
                    Some(Fate::Refused(at)) => Course::Denied(*at),
                }
            }
            Act::Refuse { .. } => Course::Refuse,
        };
        put(&mut groups, course, [place]);
    }
    let one_body = division == Division::Never && groups.len() > 1;
    if !one_body && groups.len() <= MAX_GROUPS {
        return groups;
    }
    let plainest = form.shown(StampMode::Headers);
    let plain = groups
        .into_iter()
        .map(|(course, places)| (course.shown(plainest), places));
    merged(plain.collect())
}

/// The same with those together that are treated alike.
pub(super) fn merged(groups: Vec<(Course, Vec<usize>)>) -> Vec<(Course, Vec<usize>)> {
    let mut out = Vec::new();
    for (course, places) in groups {
        put(&mut out, course, places);
    }
    out
}

fn put(
    groups: &mut Vec<(Course, Vec<usize>)>,
    course: Course,
    places: impl IntoIterator<Item = usize>,
) {
    match groups.iter_mut().find(|(own, _)| *own == course) {
        Some((_, known)) => known.extend(places),
        None => groups.push((course, places.into_iter().collect())),
    }
}

/// The next hop takes no more at once.
const MAX_GROUPS: usize = 16;
