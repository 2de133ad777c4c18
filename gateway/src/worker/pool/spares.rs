//! Workers and templates that have nothing to do: which of them the next mail gets, how many are kept and for how long, and when
//! a copy that is kept with its template is ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::time::sleep_until;
use tracing::warn;

use super::MAX_LISTS;
use super::process::{Copy, Sort, Worker};
use crate::snapshot::Snapshot;
use crate::worker::People;

/// Those that are free. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Spares {
    shared: Arc<Mutex<Free>>,
    /// How many of each sort are kept.
    always: usize,
}

#[derive(Debug, Default)]
struct Free {
    /// Who came back last is the last.
    all: Vec<Worker>,
    /// Whether there is a task that ends in time what is not always at hand.
    is_watched: bool,
}

impl Spares {
    pub(super) fn new(always: usize) -> Self {
        Self {
            shared: Arc::default(),
            always,
        }
    }

    /// One that judges by this snapshot: a worker, or, where the keys of somebody may work for the mail, a template.
    pub(super) fn take(&self, people: Option<&People>, snapshot: &Arc<Snapshot>) -> Option<Worker> {
        loop {
            let mut worker = lock(&self.shared).fitting(people, snapshot)?;
            if worker.is_there() {
                return Some(worker);
            }
            warn!("{ENDED_OR_SPOKE}");
        }
    }

    /// Keeps one that judges by the current snapshot and is not too old; and lets those go that no longer do or are.
    pub(super) fn put(&self, mut worker: Worker, snapshots: &Arc<ArcSwap<Snapshot>>) {
        // Outside of a runtime, which the gateway never is, nobody would end its copy.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        worker.idle = Instant::now();
        let mut shared = lock(&self.shared);
        shared.all.push(worker);
        let gone = shared.superfluous(self.always, &snapshots.load_full());
        if !shared.is_watched && shared.has_to_shrink(self.always) {
            shared.is_watched = true;
            let watched = Arc::downgrade(&self.shared);
            runtime.spawn(shrink(watched, Arc::clone(snapshots), self.always));
        }
        drop(shared);
        // Their end is waited for while nobody waits for the lock.
        drop(gone);
    }
}

impl Free {
    /// The one that came back last, so that those nobody needs grow idle. A template with the copy that these people have; or
    /// one that has none; or else the one whose copy has waited longest.
    fn fitting(&mut self, people: Option<&People>, snapshot: &Arc<Snapshot>) -> Option<Worker> {
        let fits = |one: &Worker, sort| one.sort == sort && Arc::ptr_eq(&one.snapshot, snapshot);
        let place = match people {
            None => self.all.iter().rposition(|one| fits(one, Sort::Worker)),
            Some(people) => {
                let is_theirs = |copy: &Copy| copy.is_for(people);
                let has_theirs = |one: &Worker| one.copy.as_ref().is_some_and(is_theirs);
                let all = || self.all.iter();
                let theirs = all().rposition(|one| fits(one, Sort::Template) && has_theirs(one));
                let empty =
                    || all().rposition(|one| fits(one, Sort::Template) && one.copy.is_none());
                let any = || all().position(|one| fits(one, Sort::Template));
                theirs.or_else(empty).or_else(any)
            }
        };
        place.map(|place| self.all.remove(place))
    }

    /// Takes out those that are not kept.
    fn superfluous(&mut self, always: usize, current: &Arc<Snapshot>) -> Vec<Worker> {
        let is_good = |worker: &Worker| {
            Arc::ptr_eq(&worker.snapshot, current)
                && worker.mails < MAX_MAILS
                && worker.lists.len() < MAX_LISTS
        };
        let (mut gone, mut workers, mut templates) = (Vec::new(), 0, 0);
        let mut place = 0;
        while let Some(worker) = self.all.get(place) {
            let count = match worker.sort {
                Sort::Worker => &mut workers,
                Sort::Template => &mut templates,
            };
            if is_good(worker) && is_spare(*count, always, worker.idle.elapsed()) {
                *count += 1;
                place += 1;
            } else {
                gone.push(self.all.remove(place));
            }
        }
        gone
    }

    /// Whether there is what has to end by its time, though no mail comes any more: a copy, or more than are always kept.
    fn has_to_shrink(&self, always: usize) -> bool {
        let templates = self.all.iter().filter(|one| one.sort == Sort::Template);
        let templates = templates.count();
        let workers = self.all.len().saturating_sub(templates);
        templates > always || workers > always || self.all.iter().any(|one| one.copy.is_some())
    }

    /// Ends the copies whose time is over, and those that judge by what was in force before. Takes out templates that cannot be
    /// told so, and those whose copy has ended before: its copies are laid out alike. And those that are not kept. Says when to
    /// look again, if at all.
    fn shrink(
        &mut self,
        now: Instant,
        current: &Arc<Snapshot>,
        always: usize,
    ) -> (Option<Instant>, Vec<Worker>) {
        let (mut gone, mut place) = (Vec::new(), 0);
        while let Some(worker) = self.all.get_mut(place) {
            let is_old = !Arc::ptr_eq(&worker.snapshot, current);
            let is_over = |copy: &Copy| is_old || copy.end <= now;
            let has_to_end = worker.copy.as_ref().is_some_and(is_over);
            let was_there = !has_to_end || worker.is_there();
            if !was_there {
                warn!("{ENDED_OR_SPOKE}");
            }
            if !was_there || (has_to_end && worker.end_copy().is_err()) {
                gone.push(self.all.remove(place));
            } else {
                place += 1;
            }
        }
        gone.append(&mut self.superfluous(always, current));
        self.is_watched = self.has_to_shrink(always);
        let copies = self.all.iter().filter_map(|one| one.copy.as_ref());
        let next = copies.map(|copy| copy.end).fold(now + LOOK, Instant::min);
        (self.is_watched.then_some(next), gone)
    }
}

/// Ends copies in time, and what a rush has left, also where no mail comes any more, until there is nothing of either. It looks
/// now and then: one that is put back later may have to end sooner, and all have to after a reload.
async fn shrink(shared: Weak<Mutex<Free>>, snapshots: Arc<ArcSwap<Snapshot>>, always: usize) {
    loop {
        let now = Instant::now();
        let current = snapshots.load_full();
        let Some((next, gone)) = shared
            .upgrade()
            .map(|shared| lock(&shared).shrink(now, &current, always))
        else {
            return;
        };
        drop(current);
        if !gone.is_empty() {
            // Nobody waits for their end.
            tokio::task::spawn_blocking(move || drop(gone));
        }
        let Some(next) = next else {
            return;
        };
        sleep_until(next.into()).await;
    }
}

/// Whether one more is kept beside so many: as many as are always at hand, and in a rush those that had a mail a moment ago,
/// since one that is started costs more than many mails.
fn is_spare(kept: usize, always: usize, idle: Duration) -> bool {
    kept < always || (kept < MOST_SPARES && idle < RUSH)
}

fn lock(shared: &Mutex<Free>) -> MutexGuard<'_, Free> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nobody hears what it had to say, and nobody has a mail of it.
const ENDED_OR_SPOKE: &str = "a worker has ended, or said something, while it had no mail";
/// How long it may take until something ends whose time is over.
const LOOK: Duration = Duration::from_secs(1);
/// How many are kept at most: as many mails are in hand at one time, by default.
const MOST_SPARES: usize = 64;
/// How long one is kept that is not always at hand.
const RUSH: Duration = Duration::from_secs(10);
/// A worker that has had so many mails is replaced: who has taken it over does not keep it.
const MAX_MAILS: u32 = 10_000;

#[cfg(test)]
impl Spares {
    pub(super) fn count(&self) -> usize {
        lock(&self.shared).all.len()
    }

    pub(super) fn push(&self, worker: Worker) {
        lock(&self.shared).all.push(worker);
    }

    pub(super) fn have_been_idle_since(&self, time: Instant) {
        for worker in &mut lock(&self.shared).all {
            worker.idle = time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_rush_those_are_kept_that_had_a_mail_a_moment_ago() {
        let (now, long) = (Duration::ZERO, RUSH);
        for (kept, idle, expected) in [
            (3, long, true),
            (4, now, true),
            (4, long, false),
            (MOST_SPARES - 1, now, true),
            (MOST_SPARES, now, false),
        ] {
            assert_eq!(is_spare(kept, 4, idle), expected, "{kept} {idle:?}");
        }
    }
}
