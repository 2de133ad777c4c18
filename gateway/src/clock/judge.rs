//! Whether the wall clock can be right: judged by when this program was written, by the latest time that was believed
//! before (the mark), and by a clock that nobody can set. Reads none of them.
//!
//! `docs/decisions/0012-a-clock-is-believed-by-what-it-said-before.md` says why.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kenin_pki::time::UnixTime;

use super::unix_time;

/// Whether the wall clock is trusted, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is.
    Yes,
    /// It stands before there was such a program.
    TooEarly,
    /// It stands where no copy of this program is in use any more.
    TooLate,
    /// It stands before a time that was believed already.
    BeforeMark,
    /// It was set by more than a little, and has not gone on steadily for long enough since.
    Jumped,
}

impl Trust {
    pub(crate) const fn is_trusted(self) -> bool {
        matches!(self, Self::Yes)
    }

    /// Why it is not, in words; nothing where it is.
    pub(crate) const fn why(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::TooEarly => Some("it is earlier than this program"),
            Self::TooLate => Some("it is later than any copy of this program is in use"),
            Self::BeforeMark => Some("it is earlier than a time that was believed before"),
            Self::Jumped => {
                Some("it was set to another time, and has not gone on for ten minutes since")
            }
        }
    }
}

/// What is remembered of two clocks, to judge one of them.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// The latest time that was believed.
    mark: Option<UnixTime>,
    /// Since when the two have agreed.
    span: Option<Span>,
    /// How far the wall clock was ahead when it was last trusted for a whole [`LONG`].
    settled: Option<i64>,
}

/// A time in which two clocks advanced by the same amount.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// When it began, in milliseconds of the clock that nobody can set.
    since: i64,
    /// How far the wall clock was ahead of the other one then, in milliseconds.
    ahead: i64,
}

impl Judge {
    /// Judges what the wall clock says. `up` is what a clock says at the same moment that only goes forward, also
    /// while the machine sleeps.
    pub(crate) fn observe(&mut self, wall: SystemTime, up: Duration) -> Trust {
        let now = unix_time(wall);
        let up = milliseconds(up);
        let ahead =
            milliseconds(wall.duration_since(UNIX_EPOCH).unwrap_or_default()).saturating_sub(up);
        let span = match self.span {
            Some(span) if span.ahead.abs_diff(ahead) <= AGREEMENT => span,
            _ => Span { since: up, ahead },
        };
        self.span = Some(span);
        let plain = plausible(now, self.mark);
        // What cannot be right is no measure for what comes after it.
        if !plain.is_trusted() {
            return plain;
        }
        if up.saturating_sub(span.since) >= LONG {
            self.settled = Some(span.ahead);
            self.raise(now);
            return Trust::Yes;
        }
        match self.settled {
            Some(settled) if settled.abs_diff(ahead) > JUMP => Trust::Jumped,
            _ => Trust::Yes,
        }
    }

    /// The latest time that was believed.
    pub(crate) const fn mark(&self) -> Option<UnixTime> {
        self.mark
    }

    /// Somebody else believed this time.
    pub(crate) fn raise(&mut self, mark: UnixTime) {
        self.mark = self.mark.max(Some(mark));
    }

    /// Somebody who knows says that it is this time: nothing that was observed before counts.
    pub(crate) fn reset(&mut self, mark: UnixTime) {
        *self = Self {
            mark: Some(mark),
            ..Self::default()
        };
    }
}

/// What can be said of a time by itself and by the mark.
pub(crate) fn plausible(now: UnixTime, mark: Option<UnixTime>) -> Trust {
    if now < EARLIEST {
        Trust::TooEarly
    } else if now > LATEST {
        Trust::TooLate
    } else if mark.is_some_and(|mark| now < mark.plus(-TOLERANCE)) {
        Trust::BeforeMark
    } else {
        Trust::Yes
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// 2026-11-01: clocks have been judged like this since then, so that no copy of the program that does is older. Not the
/// day of the build: the same source has to give the same program.
pub(crate) const EARLIEST: UnixTime = UnixTime(1_793_491_200);
/// 2046: a copy that nobody replaced for so long proves a wrong clock rather than a long life.
pub(crate) const LATEST: UnixTime = EARLIEST.plus(20 * 31_557_600);
/// Seconds by which the wall clocks of several nodes may differ, and one may be set back: no certificate or list is
/// made for so short a time.
const TOLERANCE: i64 = 300;
/// Milliseconds by which the wall clock may be set in either direction without a doubt.
const JUMP: u64 = 300_000;
/// Milliseconds by which two clocks that agree may drift apart: a leap second, and small corrections.
const AGREEMENT: u64 = 5_000;
/// Milliseconds for which two clocks have to agree before what the wall clock says raises the mark.
const LONG: i64 = 600_000;

#[cfg(test)]
mod tests;
