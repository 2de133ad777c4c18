//! From whoever logs to stderr, by way of a bounded queue and one thread: mail must not wait for whoever
//! reads the log. What has no room is dropped and counted, and the log says so when it has room again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Makes the line that says how many lines are missing where it stands.
pub(super) type Lament = Box<dyn Fn(u64) -> String + Send>;

/// Lines on their way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something came, or all of it is out.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Lines that would have come after these.
    lost: u64,
    /// Whether the thread has some that are not out yet.
    writing: bool,
}

impl Queue {
    /// A queue whose lines go to stderr.
    pub(super) fn to_stderr(lament: Lament) -> io::Result<Arc<Self>> {
        // A descriptor of its own: the lock of stderr would be held as long as nobody reads.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let queue = Arc::new(Self::default());
        let own = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || own.write_to(stderr, &lament))?;
        Ok(queue)
    }

    /// Takes whole lines; false where they had no room. Never waits for a reader.
    pub(super) fn push(&self, lines: &[u8]) -> bool {
        let mut waiting = self.lock();
        // After the first loss nothing more until the loss has its place among the lines.
        let room = waiting.lost == 0 && waiting.lines.len().saturating_add(lines.len()) <= ROOM;
        if room {
            waiting.lines.extend_from_slice(lines);
        } else {
            waiting.lost = waiting.lost.saturating_add(1);
        }
        drop(waiting);
        self.changed.notify_all();
        room
    }

    /// Waits until all that came before is out, but not for long.
    pub(super) fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut waiting = self.lock();
        while !waiting.lines.is_empty() || waiting.lost > 0 || waiting.writing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.changed.wait_timeout(waiting, left);
            (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_to(&self, mut out: impl Write, lament: &Lament) {
        loop {
            let mut waiting = self.lock();
            waiting.writing = false;
            self.changed.notify_all();
            while waiting.lines.is_empty() && waiting.lost == 0 {
                let woken = self.changed.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
            waiting.writing = true;
            let mut lines = std::mem::take(&mut waiting.lines);
            let lost = std::mem::take(&mut waiting.lost);
            drop(waiting);
            if lost > 0 {
                lines.extend_from_slice(lament(lost).as_bytes());
                lines.push(b'\n');
            }
            // Where the log cannot be written there is nobody to tell.
            let _ = out.write_all(&lines);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that wait; as many again are being written.
const ROOM: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader};

    use super::*;

    fn piped() -> (Arc<Queue>, BufReader<PipeReader>) {
        let (reader, writer) = io::pipe().unwrap();
        let queue = Arc::new(Queue::default());
        let own = Arc::clone(&queue);
        let lament: Lament = Box::new(|lost| format!("{lost} lost"));
        std::thread::spawn(move || own.write_to(writer, &lament));
        (queue, BufReader::new(reader))
    }

    #[test]
    fn lines_come_out_in_their_order_and_all_of_them_by_the_flush() {
        let (queue, mut reader) = piped();
        for n in 0..100 {
            assert!(queue.push(format!("line {n}\n").as_bytes()));
        }
        queue.flush(Duration::from_secs(60));
        let mut line = String::new();
        for n in 0..100 {
            line.clear();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line, format!("line {n}\n"));
        }
    }

    #[test]
    fn an_unread_log_holds_nobody_up_and_says_what_it_lost() {
        let (queue, mut reader) = piped();
        let line = [&[b'x'; 999][..], b"\n"].concat();
        let count = 10_000_u64;
        let taken = (0..count).filter(|_| queue.push(&line)).count();
        let taken = u64::try_from(taken).unwrap();
        assert!(taken < count / 2, "{taken}");
        // Nobody reads: the flush has an end all the same.
        queue.flush(Duration::from_millis(20));
        let (mut read, mut lost) = (0, 0);
        let mut text = String::new();
        while read + lost < count {
            text.clear();
            reader.read_line(&mut text).unwrap();
            match text.strip_suffix(" lost\n") {
                Some(number) => lost += number.parse::<u64>().unwrap(),
                None => read += 1,
            }
        }
        assert_eq!((read, lost), (taken, count - taken));
        assert!(queue.push(b"again\n"));
        queue.flush(Duration::from_secs(60));
        text.clear();
        reader.read_line(&mut text).unwrap();
        assert_eq!(text, "again\n");
    }
}
