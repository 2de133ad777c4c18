//! Reads a server's replies, bounded: a line has at most 2048 bytes, a reply at most 100 lines.
//!
//! <https://www.rfc-editor.org/rfc/rfc5321#section-4.2>.

use crate::{Enhanced, Reply};

/// Collects bytes and gives whole replies.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    buffer: Vec<u8>,
    code: Option<u16>,
    enhanced: Option<Enhanced>,
    lines: Vec<String>,
}

/// What was read is not a reply, or too much of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

impl Replies {
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.lines.is_empty()
    }

    /// The next whole reply, if it is there.
    pub(crate) fn poll(&mut self) -> Result<Option<Reply>, Garbage> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
                return if self.buffer.len() > MAX_LINE {
                    Err(Garbage)
                } else {
                    Ok(None)
                };
            };
            if end > MAX_LINE || self.lines.len() >= MAX_LINES {
                return Err(Garbage);
            }
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if let Some(reply) = self.line(line.trim_ascii_end())? {
                return Ok(Some(reply));
            }
        }
    }

    /// Takes one line; gives the reply when it was the last one.
    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, Garbage> {
        let (digits, rest) = line.split_at_checked(3).ok_or(Garbage)?;
        let digits = str::from_utf8(digits).map_err(|_| Garbage)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Garbage);
        }
        let code: u16 = digits.parse().map_err(|_| Garbage)?;
        if !(200..600).contains(&code) || self.code.is_some_and(|c| c != code) {
            return Err(Garbage);
        }
        let (more, text) = match rest.split_first() {
            None => (false, rest),
            Some((b' ', text)) => (false, text),
            Some((b'-', text)) => (true, text),
            Some(_) => return Err(Garbage),
        };
        self.code = Some(code);
        let text: String = String::from_utf8_lossy(text)
            .chars()
            .map(|c| {
                if c.is_ascii_graphic() || c == ' ' {
                    c
                } else {
                    '?'
                }
            })
            .collect();
        let (enhanced, text) = split_enhanced(code, &text);
        self.enhanced = self.enhanced.or(enhanced);
        self.lines.push(text.to_owned());
        if more {
            return Ok(None);
        }
        self.code = None;
        let lines = std::mem::take(&mut self.lines);
        Ok(Some(Reply::from_parts(code, self.enhanced.take(), lines)))
    }
}

/// `5.1.1 text` where the class agrees with the code.
fn split_enhanced(code: u16, text: &str) -> (Option<Enhanced>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match Enhanced::parse(word).filter(|e| u16::from(e.class) == code / 100) {
        Some(enhanced) => (Some(enhanced), rest),
        None => (None, text),
    }
}

const MAX_LINE: usize = 2048;
const MAX_LINES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<String>, Garbage> {
        let mut replies = Replies::default();
        replies.receive(bytes);
        let mut found = Vec::new();
        while let Some(reply) = replies.poll()? {
            found.push(String::from_utf8(reply.to_bytes()).unwrap());
        }
        Ok(found)
    }

    #[test]
    fn replies_are_read() {
        assert_eq!(all(b"250 ok\r\n").unwrap(), ["250 ok\r\n"]);
        assert_eq!(all(b"250\r\n").unwrap(), ["250 \r\n"]);
        assert_eq!(
            all(b"250-a\r\n250 b\r\n221 c\n").unwrap(),
            ["250-a\r\n250 b\r\n", "221 c\r\n"]
        );
        assert_eq!(
            all(b"550-5.1.1 a\r\n550 5.1.1 b\r\n").unwrap(),
            ["550-5.1.1 a\r\n550 5.1.1 b\r\n"]
        );
        assert_eq!(all(b"451 5.1.1 a\r\n").unwrap(), ["451 5.1.1 a\r\n"]);
        assert_eq!(all(b"250 a\0\xff\x1b[m\r\n").unwrap(), ["250 a???[m\r\n"]);
        assert_eq!(all(b"250-a\r\n").unwrap(), [""; 0]);
    }

    #[test]
    fn garbage_is_noticed() {
        for bad in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"2500 x\r\n",
            b"250_x\r\n",
            b"150 x\r\n",
            b"999 x\r\n",
            b"250-a\r\n251 b\r\n",
            b"+50 x\r\n",
        ] {
            assert_eq!(all(bad), Err(Garbage), "{bad:?}");
        }
        assert!(all(&[b'x'; 2049]).is_err());
        let long = |n: usize| [b"250 ", &vec![b'x'; n][..], b"\r\n"].concat();
        assert!(all(&long(2043)).is_ok());
        assert!(all(&long(2044)).is_err());
        assert!(all(&b"250-x\r\n".repeat(100)).is_ok());
        assert!(all(&b"250-x\r\n".repeat(101)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            for reply in all(&bytes).unwrap_or_default() {
                prop_assert!(reply.ends_with("\r\n"));
            }
        }
    }
}
