//! Work that is done together: what comes while some of it is being done waits, and is then done all at once. So what costs
//! as much for many as for one, as a transaction that has to reach the disk, is paid for once.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What waits to be done.
pub(crate) struct Together<W, A>(Mutex<Waiting<W, A>>);

struct Waiting<W, A> {
    /// In the order in which it came, with who waits for the answer.
    queue: Vec<(W, oneshot::Sender<A>)>,
    /// Whether somebody is at it, who looks again for what waits.
    led: bool,
}

impl<W: Send + 'static, A: Send + 'static> Together<W, A> {
    /// Has this done with all that waits beside it, and gives its answer; nothing where it was broken off. `all` does
    /// several at once, and gives their answers in the same order.
    ///
    /// It is done by a task of its own: whoever stops waiting stops nobody else's. What nobody waits for any more when
    /// its turn comes is left out.
    pub(crate) async fn add<F, D>(self: &Arc<Self>, one: W, all: F) -> Option<A>
    where
        F: FnMut(Vec<W>) -> D + Send + 'static,
        D: Future<Output = Vec<A>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        if self.queue(one, answer) {
            let lead = Lead {
                together: Arc::clone(self),
                ended: false,
            };
            tokio::spawn(lead.run(all));
        }
        answered.await.ok()
    }

    /// Puts it at the end; whether nobody is at it.
    fn queue(&self, one: W, answer: oneshot::Sender<A>) -> bool {
        let mut waiting = self.waiting();
        waiting.queue.push((one, answer));
        !std::mem::replace(&mut waiting.led, true)
    }
}

impl<W, A> Together<W, A> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<W, A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W, A> Default for Together<W, A> {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            queue: Vec::new(),
            led: false,
        }))
    }
}

/// What waits is not shown: it may be part of a mail.
impl<W, A> fmt::Debug for Together<W, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

/// Whoever does what waits. If it ends early, by a panic or with its runtime, all who wait hear that.
struct Lead<W, A> {
    together: Arc<Together<W, A>>,
    ended: bool,
}

impl<W, A> Lead<W, A> {
    async fn run<F, D>(mut self, mut all: F)
    where
        F: FnMut(Vec<W>) -> D,
        D: Future<Output = Vec<A>>,
    {
        while let Some((batch, waiting)) = self.next() {
            let answers = all(batch).await;
            for (answer, to) in answers.into_iter().zip(waiting) {
                // Whoever waited may have gone.
                let _ = to.send(answer);
            }
        }
    }

    /// The next that is done at once; nothing where nobody waits.
    fn next(&mut self) -> Option<(Vec<W>, Vec<oneshot::Sender<A>>)> {
        let mut waiting = self.together.waiting();
        waiting.queue.retain(|(_, answer)| !answer.is_closed());
        let many = waiting.queue.len().min(MOST);
        if many == 0 {
            // While it is locked: who comes next finds nobody.
            waiting.led = false;
            self.ended = true;
            return None;
        }
        Some(waiting.queue.drain(..many).unzip())
    }
}

impl<W, A> Drop for Lead<W, A> {
    fn drop(&mut self) {
        if !self.ended {
            let mut waiting = self.together.waiting();
            waiting.led = false;
            waiting.queue.clear();
        }
    }
}

/// What is done at once at most: as many as there are mails in hand by default, and no transaction without end.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    /// Work that ends when it is let, and is multiplied by ten. To do zero is a panic.
    #[derive(Clone)]
    struct Bench {
        together: Arc<Together<usize, usize>>,
        batches: Arc<Mutex<Vec<Vec<usize>>>>,
        gate: Arc<Semaphore>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                together: Arc::default(),
                batches: Arc::default(),
                gate: Arc::new(Semaphore::new(0)),
            }
        }

        fn add(&self, one: usize) -> JoinHandle<Option<usize>> {
            let own = self.clone();
            tokio::spawn(async move {
                let bench = own.clone();
                let all = move |batch| bench.clone().work(batch);
                own.together.add(one, all).await
            })
        }

        async fn work(self, batch: Vec<usize>) -> Vec<usize> {
            self.batches.lock().unwrap().push(batch.clone());
            self.gate.acquire().await.unwrap().forget();
            assert!(!batch.contains(&0), "zero");
            batch.iter().map(|one| one * 10).collect()
        }

        /// Until so many batches have begun, and so many wait.
        async fn until(&self, begun: usize, waiting: usize) {
            while self.batches().len() != begun || self.together.waiting().queue.len() != waiting {
                yield_now().await;
            }
        }

        fn batches(&self) -> Vec<Vec<usize>> {
            self.batches.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn what_comes_meanwhile_is_done_at_once_and_in_order() {
        let bench = Bench::new();
        let mut all = vec![bench.add(1)];
        bench.until(1, 0).await;
        for one in [2, 3, 4] {
            all.push(bench.add(one));
        }
        bench.until(1, 3).await;
        assert!(!all[0].is_finished(), "nobody hears before it is done");
        bench.gate.add_permits(1);
        bench.until(2, 0).await;
        assert!(!all[1].is_finished());
        bench.gate.add_permits(1);
        for (at, one) in all.into_iter().enumerate() {
            assert_eq!(one.await.unwrap(), Some((at + 1) * 10));
        }
        assert_eq!(bench.batches(), [vec![1], vec![2, 3, 4]]);
        // And again, once all has ended.
        bench.gate.add_permits(1);
        assert_eq!(bench.add(5).await.unwrap(), Some(50));
    }

    #[tokio::test]
    async fn who_stops_waiting_stops_nobody_else() {
        let bench = Bench::new();
        let first = bench.add(1);
        bench.until(1, 0).await;
        let (second, third) = (bench.add(2), bench.add(3));
        bench.until(1, 2).await;
        for gone in [first, second] {
            gone.abort();
            assert!(gone.await.unwrap_err().is_cancelled());
        }
        bench.gate.add_permits(2);
        assert_eq!(third.await.unwrap(), Some(30));
        assert_eq!(bench.batches(), [[1], [3]], "nobody waits for the second");
    }

    #[tokio::test]
    async fn what_breaks_off_is_told_to_all_who_wait_and_the_next_begins_anew() {
        let bench = Bench::new();
        let first = bench.add(0);
        bench.until(1, 0).await;
        let second = bench.add(2);
        bench.until(1, 1).await;
        bench.gate.add_permits(1);
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (None, None));
        bench.gate.add_permits(1);
        assert_eq!(bench.add(3).await.unwrap(), Some(30));
        assert_eq!(bench.batches(), [[0], [3]]);
    }

    #[tokio::test]
    async fn only_so_much_is_done_at_once() {
        let bench = Bench::new();
        let first = bench.add(1);
        bench.until(1, 0).await;
        let others: Vec<_> = (0..=MOST).map(|one| bench.add(one + 2)).collect();
        bench.until(1, MOST + 1).await;
        bench.gate.add_permits(3);
        assert_eq!(first.await.unwrap(), Some(10));
        for (at, one) in others.into_iter().enumerate() {
            assert_eq!(one.await.unwrap(), Some((at + 2) * 10));
        }
        let sizes: Vec<usize> = bench.batches().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, MOST, 1]);
    }
}
