//! `kenin template`: what `kenin run` starts for mail whose people have keys. It is told what mail is judged by, as a worker
//! is, and reads no mail. When the edge wants, it doubles itself: the copy has mail, over a line of its own, with a
//! connection to the key process for each, works for it as a worker does, and ends when the edge wants. It has mail of the
//! same people only. So whoever opens a mail has parsed no mail of others before; and where the edge has a copy for each
//! mail, none at all, and nothing of it is there when the next one is opened.
//!
//! A copy begins with all that its template has in memory: nothing of that is secret, nor any mail's. The generator of random
//! numbers sees that it is in a copy and begins anew (aws-lc, by memory that is empty there: MADV_WIPEONFORK). Hash
//! tables of all copies are seeded alike.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use kenin_pki::crypto::Secret;
use kenin_pki::time::UnixTime;
use kenin_policy::{Answer, Question};
use kenin_sys::{Copied, Fork, Otherwise, Template};

use super::{Edge, Lists, code, line, one_mail, say_last_words, snapshot};
use crate::pipeline::verdict_of;
use crate::snapshot::Snapshot;
use crate::worker::frame::Kind;

/// Makes copies until the edge goes; `memory` is how many octets it may have, and each of them.
pub(crate) fn run(memory: u64) -> ExitCode {
    code(work(memory))
}

fn work(memory: u64) -> io::Result<()> {
    let stream = line(memory)?;
    // The generator has to be there before copies are, to see that they are some.
    Secret::random(1).map_err(io::Error::other)?;
    let template = Template::confine(Otherwise::Refuse)?;
    let edge = Arc::new(Edge(Mutex::new(stream)));
    let Some(snapshot) = snapshot(&edge)? else {
        return Ok(());
    };
    warm_up(&snapshot);
    edge.say(Kind::Ready, &[])?;
    let mut copy: Option<Copied> = None;
    loop {
        let came = edge.handed();
        // Whatever comes: there is no more mail for the copy before, which ends now.
        drop(copy.take());
        let line = match came {
            Ok(Some(line)) => UnixStream::from(line),
            Ok(None) => return Ok(()),
            // An octet without a descriptor: nobody else has mail yet.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            Err(error) => return Err(error),
        };
        match template.fork() {
            Ok(Fork::Template(copied)) => copy = Some(copied),
            Ok(Fork::Copy) => {
                let done = take_over(&edge, line, &snapshot);
                // What its template has is given back without being looked at: it is the most that a copy has. There is
                // nothing to be written any more, and what is secret in its memory nobody gets.
                kenin_sys::end_at_once(i32::from(done.is_err()));
            }
            // The edge sees that the line has ended.
            Err(_) => {}
        }
    }
}

/// Judges a mail of nobody's, which says nothing. What that finds out about the processor, which takes long in a virtual
/// machine, no copy has to find out again.
fn warm_up(snapshot: &Snapshot) {
    let nothing = |_: &[Question]| Vec::<Answer>::new();
    drop(verdict_of(
        b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n\r\n",
        snapshot,
        UnixTime(0),
        nothing,
    ));
}

/// What a copy does.
fn take_over(edge: &Arc<Edge>, line: UnixStream, snapshot: &Snapshot) -> io::Result<()> {
    // Nothing is left of the template's line.
    say_last_words(&line)?;
    edge.replace(line);
    edge.say(Kind::Ready, &[])?;
    let mut lists = Lists::new(edge);
    while one_mail(edge, snapshot, &mut lists)? {}
    Ok(())
}
