//! The edge's line to the key process, for all mails at once: questions go out in the order in which they come, and each
//! answer goes to whoever asked. When the line has ended, everybody learns it at once. Never asks on its own.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenin_keys::protocol::{Answer, EdgeRequest, MAX_FRAME, Refusal};
use kenin_keys::{ClientError, NoKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// A line. It ends when this is dropped, and with it whoever hears it.
#[derive(Debug)]
pub(super) struct Line {
    /// One mail sends few, and there are only so many mails; where nothing is answered, nothing more is put here.
    frames: mpsc::UnboundedSender<Vec<u8>>,
    asking: Arc<Asking>,
    number: AtomicU32,
    gone: watch::Receiver<bool>,
}

impl Line {
    /// Speaks over this connection, which nobody else uses. Within a runtime.
    pub(super) fn open(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (read, write) = tokio::net::UnixStream::from_std(stream)?.into_split();
        let (frames, outgoing) = mpsc::unbounded_channel();
        let (ended, gone) = watch::channel(false);
        let asking = Arc::new(Asking(Mutex::new(Some(HashMap::new()))));
        let heard = Arc::clone(&asking);
        tokio::spawn(async move {
            tokio::select! {
                // Why it has ended is in the log of the process that has.
                _ = hear(read, &heard) => {}
                () = say(write, outgoing) => {}
            }
            heard.end();
            let _ = ended.send(true);
        });
        Ok(Self {
            frames,
            asking,
            number: AtomicU32::new(0),
            gone,
        })
    }

    /// Whether somebody hears it.
    pub(super) fn is_there(&self) -> bool {
        !*self.gone.borrow()
    }

    /// Tells when nobody hears it any more, without keeping it.
    pub(super) fn gone(&self) -> watch::Receiver<bool> {
        self.gone.clone()
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, request: &EdgeRequest) -> Result<Answer, NoKey> {
        let (number, frame) = self.frame(request)?;
        let (asker, answer) = oneshot::channel();
        self.asking.add(number, asker).ok_or(NoKey::Gone)?;
        self.frames.send(frame).map_err(|_| NoKey::Gone)?;
        match timeout(PATIENCE, answer).await {
            Ok(Ok(Answer::Refused(refusal))) => Err(ClientError::from(refusal).into()),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(NoKey::Gone),
        }
    }

    /// Says something whose answer nobody waits for.
    pub(super) fn tell(&self, request: &EdgeRequest) {
        // What was granted ends by itself.
        if self.asking.is_full() {
            return;
        }
        if let Ok((_, frame)) = self.frame(request) {
            // Where nobody hears it, what it is about has ended too.
            let _ = self.frames.send(frame);
        }
    }

    fn frame(&self, request: &EdgeRequest) -> Result<(u32, Vec<u8>), NoKey> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let frame = request.to_frame(number);
        Ok((number, frame.map_err(|_| Refusal::Failed)?))
    }
}

/// Who waits for which answer; nothing when none will come any more.
#[derive(Debug)]
struct Asking(Mutex<Option<HashMap<u32, oneshot::Sender<Answer>>>>);

impl Asking {
    fn add(&self, number: u32, asker: oneshot::Sender<Answer>) -> Option<()> {
        let mut all = self.lock();
        let all = all.as_mut().filter(|all| all.len() < MAX_UNANSWERED)?;
        all.insert(number, asker);
        Some(())
    }

    /// Whether nobody answers any more, as it seems.
    fn is_full(&self) -> bool {
        let all = self.lock();
        all.as_ref().is_some_and(|all| all.len() >= MAX_UNANSWERED)
    }

    fn answer(&self, number: u32, answer: Answer) {
        let asker = self.lock().as_mut().and_then(|all| all.remove(&number));
        if let Some(asker) = asker {
            // Who has not waited so long does not need it.
            let _ = asker.send(answer);
        }
    }

    fn end(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<u32, oneshot::Sender<Answer>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn hear(stream: OwnedReadHalf, asking: &Asking) -> io::Result<()> {
    // No key comes here, so nothing has to be wiped.
    let mut stream = BufReader::with_capacity(AHEAD, stream);
    loop {
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).await?;
        let answered = Answer::from_frame(&frame);
        let (number, answer) = answered.map_err(|_| io::ErrorKind::InvalidData)?;
        asking.answer(number, answer);
    }
}

async fn say(mut stream: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) {
    let mut ready = Vec::new();
    while frames.recv_many(&mut ready, AT_ONCE).await > 0 {
        if stream.write_all(&ready.concat()).await.is_err() {
            return;
        }
        ready.clear();
    }
}

/// What the key process answers on this line needs no key.
const PATIENCE: Duration = Duration::from_secs(2);
/// Octets that are read at once: some answers.
const AHEAD: usize = 1024;
/// Frames that are written at once, where so many mails speak.
const AT_ONCE: usize = 64;
/// Questions without an answer, also such as nobody waits for any more: more than there are mails.
const MAX_UNANSWERED: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use kenin_keys::protocol::Transaction;

    use super::*;

    fn release(octet: u8) -> EdgeRequest {
        EdgeRequest::Release(Transaction::from_octets([octet; 16]))
    }

    /// The number of the next question that comes.
    fn heard(stream: &mut UnixStream) -> u32 {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        stream.read_exact(&mut frame).unwrap();
        EdgeRequest::from_frame(&frame).unwrap().0
    }

    #[tokio::test]
    async fn each_answer_goes_to_who_asked() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let line = Line::open(ours).unwrap();
        line.tell(&release(0));
        let other = tokio::task::spawn_blocking(move || {
            let numbers = [0; 3].map(|_| heard(&mut theirs));
            // The last one first.
            for (number, answer) in [
                (numbers[2], Answer::NoMore),
                (numbers[1], Answer::Done),
                (numbers[0], Answer::Done),
            ] {
                let frame = answer.to_frame(number).unwrap();
                theirs.write_all(frame.expose()).unwrap();
            }
            theirs
        });
        let (first, second) = (release(1), release(2));
        let (first, second) = tokio::join!(line.ask(&first), line.ask(&second));
        assert_eq!(first, Ok(Answer::Done));
        assert_eq!(second, Ok(Answer::NoMore));
        assert!(line.is_there());
        drop(other.await.unwrap());
        line.gone().wait_for(|gone| *gone).await.unwrap();
        assert_eq!(line.ask(&release(3)).await, Err(NoKey::Gone));
        assert!(!line.is_there());
    }

    /// A key process waits for whoever reads its record. Meanwhile the edge kept every question in memory, without end.
    #[tokio::test]
    async fn one_that_does_not_answer_is_not_asked_without_end() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let line = Line::open(ours).unwrap();
        let add = |number: usize| {
            let number = u32::try_from(number).unwrap();
            line.asking.add(number, oneshot::channel().0)
        };
        assert!((0..MAX_UNANSWERED).all(|number| add(number).is_some()));
        assert!(add(MAX_UNANSWERED).is_none());
        assert_eq!(line.ask(&release(1)).await, Err(NoKey::Gone));
        let sent = line.number.load(Ordering::Relaxed);
        line.tell(&release(1));
        assert_eq!(line.number.load(Ordering::Relaxed), sent);
        // It answers again.
        line.asking.answer(0, Answer::Done);
        line.tell(&release(1));
        assert_eq!(line.number.load(Ordering::Relaxed), sent + 1);
        assert!(add(0).is_some());
    }

    #[tokio::test]
    async fn who_waits_when_it_ends_waits_no_longer() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let line = Line::open(ours).unwrap();
        let question = release(1);
        let asked = line.ask(&question);
        let ends = tokio::task::spawn_blocking(move || {
            heard(&mut theirs);
            // Not what a key process says.
            theirs.write_all(b"\0\0\0\x01x").unwrap();
            theirs
        });
        let (asked, theirs) = tokio::join!(asked, ends);
        assert_eq!(asked, Err(NoKey::Gone));
        assert!(!line.is_there());
        drop(theirs);
    }

    #[tokio::test]
    async fn the_other_end_learns_that_nobody_speaks() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let line = Line::open(ours).unwrap();
        let mut gone = line.gone();
        line.tell(&release(7));
        let hears = tokio::task::spawn_blocking(move || {
            heard(&mut theirs);
            theirs.read(&mut [0]).unwrap()
        });
        drop(line);
        gone.wait_for(|gone| *gone).await.unwrap();
        assert_eq!(hears.await.unwrap(), 0);
    }
}
