//! Moments of a dialogue, found in its bytes as they pass.

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the one who connected.
    ToServer,
    /// From the one who listens.
    ToClient,
}

/// A moment of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When so many bytes have gone this way.
    Byte(Way, usize),
    /// Before the first byte of the server: the greeting; with a milter, the negotiation.
    Greeting,
    /// Before EHLO or LHLO; a milter's HELO.
    Ehlo,
    /// Before MAIL.
    Mail,
    /// Before RCPT.
    Rcpt,
    /// Before DATA; with a milter, before the first header field.
    Data,
    /// Behind the empty line of the mail; with a milter, before the first piece of the body.
    InData,
    /// Before the final dot; with a milter, before the end of the body.
    Dot,
    /// Before the answer to the dot.
    AfterDot,
    /// Before the connection's second final dot.
    NextDot,
    /// Before the answer to it.
    AfterNextDot,
}

impl Moment {
    /// The phases of the matrix.
    pub const PHASES: [Self; 8] = [
        Self::Greeting,
        Self::Ehlo,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::InData,
        Self::Dot,
        Self::AfterDot,
    ];
}

/// Where in the bytes that were just read the moment is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    NotYet,
    /// Before this byte.
    At(usize),
}

/// Watches both directions for the moment; finds it once.
pub(super) struct Watcher {
    moment: Option<Moment>,
    /// Bytes so far, each way.
    seen: [usize; 2],
    /// What the client said, until the moment was found.
    said: Vec<u8>,
    dot_passed: bool,
    /// A milter's first packet is a negotiation: three zero bytes no SMTP client begins with.
    milter: bool,
}

impl Watcher {
    pub(super) fn new(moment: Option<Moment>) -> Self {
        Self {
            moment,
            seen: [0; 2],
            said: Vec::new(),
            dot_passed: false,
            milter: false,
        }
    }

    /// Looks at the next bytes of a direction.
    pub(super) fn look(&mut self, way: Way, bytes: &[u8]) -> Place {
        let Some(moment) = self.moment else {
            return Place::NotYet;
        };
        let seen = &mut self.seen[way as usize];
        let before = *seen;
        *seen += bytes.len();
        let found = match (moment, way) {
            (Moment::Byte(its_way, at), _) => {
                // The byte behind the moment need not have come yet: the last is cut behind.
                let reached = its_way == way && at <= before + bytes.len() && at >= before;
                reached.then(|| at - before)
            }
            (Moment::Greeting, Way::ToClient) => Some(0),
            (Moment::AfterDot | Moment::AfterNextDot, Way::ToClient) => {
                self.dot_passed.then_some(0)
            }
            (_, Way::ToClient) => None,
            (_, Way::ToServer) => {
                let before = self.said.len();
                self.said.extend_from_slice(bytes);
                self.milter |= self.said.starts_with(&[0, 0, 0]);
                let end = |text: &[u8]| find(&self.said, text).map(|at| at + text.len());
                let found = match moment {
                    Moment::AfterDot | Moment::Greeting => {
                        let dot = if self.milter {
                            packet(&self.said, b"E")
                        } else {
                            end(DOT)
                        };
                        self.dot_passed |= dot.is_some();
                        None
                    }
                    Moment::AfterNextDot => {
                        self.dot_passed |= second(&self.said, DOT).is_some();
                        None
                    }
                    Moment::NextDot => second(&self.said, DOT).map(|at| at + 2),
                    Moment::Byte(..) => None,
                    _ if self.milter => packet(&self.said, moment_command(moment)),
                    Moment::Ehlo => Some(0),
                    Moment::Mail => find(&self.said, b"MAIL FROM:"),
                    Moment::Rcpt => find(&self.said, b"RCPT TO:"),
                    Moment::Data => find(&self.said, b"\r\nDATA\r\n").map(|at| at + 2),
                    Moment::InData => end(b"\r\n\r\n"),
                    Moment::Dot => find(&self.said, DOT).map(|at| at + 2),
                };
                // What was passed on already cannot be held back.
                found.map(|at| at.saturating_sub(before))
            }
        };
        let Some(at) = found else {
            return Place::NotYet;
        };
        self.moment = None;
        Place::At(at)
    }
}

/// The milter command before which a moment is; several where an MTA may leave one out.
fn moment_command(moment: Moment) -> &'static [u8] {
    match moment {
        Moment::Ehlo => b"HC",
        Moment::Mail => b"M",
        Moment::Rcpt => b"R",
        Moment::Data => b"TL",
        Moment::InData => b"B",
        _ => b"E",
    }
}

/// Where the first packet with one of these commands begins.
fn packet(said: &[u8], commands: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length: [u8; 4] = said.get(at..at + 4)?.try_into().ok()?;
        if commands.contains(said.get(at + 4)?) {
            return Some(at);
        }
        at += 4 + u32::from_be_bytes(length) as usize;
    }
}

/// Where a text begins for the second time.
fn second(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let behind = find(bytes, text)? + text.len();
    find(&bytes[behind..], text).map(|at| behind + at)
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

const DOT: &[u8] = b"\r\n.\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of a moment in a dialogue that comes in pieces of a size.
    fn place(moment: Moment, said: &[u8], size: usize) -> Option<usize> {
        let mut watcher = Watcher::new(Some(moment));
        for (n, piece) in said.chunks(size).enumerate() {
            if let Place::At(at) = watcher.look(Way::ToServer, piece) {
                return Some(n * size + at);
            }
        }
        None
    }

    #[test]
    fn moments_are_found_in_smtp() {
        let said = b"EHLO x\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nA: b\r\n\r\nbody\r\n.\r\n";
        let at = |text: &str| find(said, text.as_bytes());
        assert_eq!(place(Moment::Ehlo, said, 1000), Some(0));
        assert_eq!(place(Moment::Mail, said, 1000), at("MAIL"));
        assert_eq!(place(Moment::Rcpt, said, 1000), at("RCPT"));
        assert_eq!(place(Moment::Data, said, 1000), at("DATA"));
        assert_eq!(place(Moment::InData, said, 1000), at("body"));
        assert_eq!(place(Moment::Dot, said, 1000), at(".\r\n"));
        for size in 1..9 {
            assert_eq!(place(Moment::Byte(Way::ToServer, 7), said, size), Some(7));
        }
        let mut watcher = Watcher::new(Some(Moment::AfterDot));
        assert_eq!(watcher.look(Way::ToClient, b"354 go\r\n"), Place::NotYet);
        assert_eq!(watcher.look(Way::ToServer, said), Place::NotYet);
        assert_eq!(watcher.look(Way::ToClient, b"250 ok\r\n"), Place::At(0));
        assert_eq!(watcher.look(Way::ToClient, b"221 bye\r\n"), Place::NotYet);
    }

    #[test]
    fn moments_of_a_second_mail_are_found() {
        let said = b"DATA\r\nA: b\r\n\r\n1\r\n.\r\nMAIL FROM:<>\r\nDATA\r\n\r\n2\r\n.\r\n";
        assert_eq!(place(Moment::NextDot, said, 1000), Some(said.len() - 3));
        let mut watcher = Watcher::new(Some(Moment::AfterNextDot));
        assert_eq!(watcher.look(Way::ToServer, &said[..24]), Place::NotYet);
        assert_eq!(watcher.look(Way::ToClient, b"250 ok\r\n"), Place::NotYet);
        assert_eq!(watcher.look(Way::ToServer, &said[24..]), Place::NotYet);
        assert_eq!(watcher.look(Way::ToClient, b"250 ok\r\n"), Place::At(0));
    }

    #[test]
    fn moments_are_found_in_a_milters_packets() {
        let said = b"\0\0\0\x0dO123456789012\0\0\0\x02DM\0\0\0\x03M<>\0\0\0\x02Bx\0\0\0\x01E";
        assert_eq!(place(Moment::Mail, said, 1000), Some(23));
        assert_eq!(place(Moment::InData, said, 1000), Some(30));
        assert_eq!(place(Moment::Dot, said, 1000), Some(36));
        assert_eq!(place(Moment::Rcpt, said, 1000), None);
    }
}
