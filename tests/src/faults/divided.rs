//! Faults while one mail becomes several copies and a notification: on the connection that has the
//! first copy and the notification, or on the one that has the second. The same mail is tried again
//! until it is settled: by then nobody has it twice who need not.

use std::time::Instant;

use super::{IMPATIENCE, Link, Stage, TAMPERED, UNSIGNED};
use crate::ledger::{Account, until_settled};
use crate::proxy::{Fault, Moment, Way};
use crate::world::{PATIENCE, wait_for};

/// A connection of a mail's delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// The first: the session's own.
    First,
    /// The one beside it.
    Second,
}

/// Connections that break after so many bytes.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Cuts {
    pub link: Link,
    pub branch: Branch,
    pub way: Way,
    pub fault: Fault,
    /// After every byte, or every so many.
    pub step: usize,
}

/// Breaks a connection to the next hop after every so many bytes; gives the account, after how many
/// different bytes, and of how many.
///
/// # Panics
/// When a mail is not settled afterwards.
pub fn cut_divided(cuts: &Cuts) -> (Account, usize, usize) {
    let mut stage = Stage::new(cuts.link, true);
    stage.only = Some(UNSIGNED);
    let number = cuts.branch as usize;
    stage.faulty.cut_all();
    stage.faulty.calm();
    stage.clean();
    let length = stage.faulty.carried_by(number, cuts.way);
    assert!(length > 150, "{cuts:?}: only {length} bytes");
    let (mut fired, mut places) = (0, 0);
    for byte in (0..=length).step_by(cuts.step) {
        let before = stage.faulty.fired();
        stage.suffer(number, Moment::Byte(cuts.way, byte), cuts.fault);
        fired += stage.faulty.fired() - before;
        places += 1;
    }
    (stage.close(), fired, places)
}

/// Every fault in every phase of both connections to the next hop.
///
/// # Panics
/// When a fault does not happen, or a mail is not settled afterwards.
pub fn cross_divided(link: Link) -> Account {
    let mut stage = Stage::new(link, true);
    stage.only = Some(TAMPERED);
    stage.clean();
    let mut branches = vec![Branch::First];
    // Under LMTP one copy goes after the other.
    if !link.is_lmtp() {
        branches.push(Branch::Second);
    }
    for branch in branches {
        let next = [Moment::NextDot, Moment::AfterNextDot];
        let next = if branch == Branch::First {
            &next[..]
        } else {
            &[]
        };
        for moment in Moment::PHASES.iter().chain(next) {
            for fault in Fault::ALL {
                let before = stage.faulty.fired();
                stage.suffer(branch as usize, *moment, fault);
                let fired = stage.faulty.fired() - before;
                assert_eq!(fired, 1, "{link:?}, {branch:?}, {moment:?}, {fault:?}");
            }
        }
    }
    stage.close()
}

impl Stage {
    /// A mail meets a fault, and is then tried until it is settled.
    fn suffer(&self, number: usize, moment: Moment, fault: Fault) {
        // What waits at the next hop for another mail would be taken for one of this mail's.
        self.faulty.cut_all();
        self.faulty
            .script(move |n| (n == number).then_some((moment, fault)));
        let before = self.faulty.fired();
        let mut letter = self.letter();
        if fault == Fault::Garbage {
            self.ledger.garbled(&letter.id);
            if moment == Moment::InData {
                self.ledger
                    .changed(&letter.id, crate::ledger::Truth::Changed);
            }
        }
        let slow = fault.is_only_slow();
        let patience = if slow { PATIENCE } else { IMPATIENCE };
        let told = self.hand_over(&letter, patience);
        let settled = told.open().is_empty();
        assert!(settled || !slow, "{moment:?}, {fault:?}: {told:?}");
        wait_for("the fault happens", || self.faulty.fired() > before);
        self.faulty.cut_all();
        self.faulty.calm();
        letter.envelope.to = told.open();
        let mut courier = self.courier(PATIENCE);
        let end = Instant::now() + PATIENCE;
        until_settled(
            &mut courier,
            &self.ledger,
            &letter.id,
            &letter.envelope,
            &letter.raw,
            end,
        );
        courier.quit();
    }
}
