//! A request on a stream, and the answer: its head, and its body in pieces.
//!
//! Whatever two readers could end at different places is refused, not guessed. It knows nothing of
//! addresses and names.
//!
//! Framing: <https://www.rfc-editor.org/rfc/rfc9112#section-6>.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::{HttpError, Limits, SinkError};
use crate::fetch::place::shown;
use crate::fetch::rate::{Rate, TooSlow};

/// How an exchange ended.
#[derive(Debug)]
pub(super) enum Answer {
    /// The sink has the whole body, of so many bytes.
    Whole(u64),
    /// The server named another place.
    Moved { status: u16, location: String },
}

/// Sends the request and takes the answer.
pub(super) async fn exchange<S, F>(
    mut stream: S,
    head: &str,
    body: &[u8],
    limits: &Limits,
    sink: &mut F,
) -> Result<Answer, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    F: FnMut(&[u8]) -> Result<(), SinkError> + Send,
{
    let broken = HttpError::Broken;
    stream.write_all(head.as_bytes()).await.map_err(broken)?;
    stream.write_all(body).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut source = Source::new(stream, limits.rate);
    let framing = match read_head(&mut source).await? {
        Head::Moved { status, location } => return Ok(Answer::Moved { status, location }),
        Head::Found(framing) => framing,
    };
    let bytes = match framing {
        Framing::Length(length) if length > limits.bytes => {
            return Err(HttpError::TooLarge(limits.bytes));
        }
        Framing::Length(length) => {
            pass(&mut source, length, sink).await?;
            length
        }
        Framing::Chunked => pass_chunks(&mut source, limits.bytes, sink).await?,
        Framing::Close => pass_rest(&mut source, limits.bytes, sink).await?,
    };
    Ok(Answer::Whole(bytes))
}

/// What the head of an answer says.
#[derive(Debug)]
enum Head {
    Found(Framing),
    Moved { status: u16, location: String },
}

/// Where a body ends.
#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// Bytes of a stream that were read and not used, and how fast they come.
struct Source<S> {
    stream: S,
    held: Vec<u8>,
    /// How many of `held` are used.
    at: usize,
    /// What the sink takes is not the server's to account for.
    rate: Rate,
}

impl<S: AsyncRead + Unpin> Source<S> {
    fn new(stream: S, rate: u64) -> Self {
        Self {
            stream,
            held: Vec::new(),
            at: 0,
            rate: Rate::new(rate),
        }
    }

    /// What is there and not used.
    fn held(&self) -> &[u8] {
        self.held.get(self.at..).unwrap_or_default()
    }

    /// Uses so many bytes, fewer if fewer are there.
    fn take(&mut self, most: usize) -> &[u8] {
        let end = self.at.saturating_add(most).min(self.held.len());
        let start = std::mem::replace(&mut self.at, end);
        self.held.get(start..end).unwrap_or_default()
    }

    /// Waits for more; none at the end. Too slow a server is left.
    async fn fill(&mut self) -> Result<usize, HttpError> {
        self.held.drain(..self.at.min(self.held.len()));
        self.at = 0;
        self.held.reserve(PIECE);
        loop {
            let left = self.rate.left();
            let left = left.map_err(|TooSlow(lowest)| HttpError::TooSlow(lowest))?;
            let begun = Instant::now();
            let read = timeout(left, self.stream.read_buf(&mut self.held)).await;
            let Ok(read) = read else {
                self.rate.waited_in_vain();
                continue;
            };
            let count = read.map_err(HttpError::Broken)?;
            self.rate.note(begun.elapsed(), count);
            return Ok(count);
        }
    }

    /// A line of at most so many bytes, without its CRLF.
    async fn line(&mut self, most: usize) -> Result<&[u8], HttpError> {
        let end = loop {
            let end = self.held().iter().position(|byte| *byte == b'\n');
            // Behind so many bytes CR may stand, and LF at the next place.
            if end.unwrap_or(self.held().len()) > most.saturating_add(1) {
                return Err(HttpError::Framing("a line between chunks is too long"));
            }
            if let Some(end) = end {
                break end.saturating_add(1);
            }
            if self.fill().await? == 0 {
                return Err(HttpError::Truncated);
            }
        };
        let line = self.take(end).strip_suffix(b"\r\n");
        line.filter(|line| !line.contains(&b'\r'))
            .ok_or(HttpError::Framing("a line ends otherwise than by CRLF"))
    }
}

async fn read_head<S>(source: &mut Source<S>) -> Result<Head, HttpError>
where
    S: AsyncRead + Unpin,
{
    let mut searched = 0;
    loop {
        let held = source.held();
        let new = held.get(searched..).unwrap_or_default();
        let end = new.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let end = searched.saturating_add(end).saturating_add(4);
            if end > MAX_HEAD {
                return Err(HttpError::HeadTooLong);
            }
            return parse_head(source.take(end));
        }
        if held.len() >= MAX_HEAD {
            return Err(HttpError::HeadTooLong);
        }
        // The end may lie across two pieces.
        searched = held.len().saturating_sub(3);
        if source.fill().await? == 0 {
            return Err(HttpError::Truncated);
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Head, HttpError> {
    // httparse takes a lone LF for a line end; what stood before us may have read on.
    let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut lines = lines.split(|byte| *byte == b'\n');
    if !lines.all(|line| line.ends_with(b"\r")) {
        return Err(HttpError::Head(
            "a line of its head ends otherwise than by CRLF",
        ));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HttpError::Head("its head has too many fields"));
        }
        _ => return Err(HttpError::Head("its head cannot be read")),
    }
    let (Some(version), Some(status)) = (response.version, response.code) else {
        return Err(HttpError::Head("its head cannot be read"));
    };
    match status {
        200 => Ok(Head::Found(framing(version, response.headers)?)),
        301 | 302 | 303 | 307 | 308 => Ok(Head::Moved {
            status,
            location: location(response.headers)?,
        }),
        _ => Err(HttpError::Status(status)),
    }
}

/// Where the body ends (RFC 9112 §6.3), more strictly: one way to say it, said once.
fn framing(version: u8, fields: &[httparse::Header<'_>]) -> Result<Framing, HttpError> {
    let mut length = None;
    let mut chunked = false;
    for field in fields {
        let value = field.value.trim_ascii();
        let coded = || HttpError::Coding(shown(&String::from_utf8_lossy(value)));
        if field.name.eq_ignore_ascii_case("Content-Length") {
            if length.is_some() {
                return Err(HttpError::Framing("two lengths"));
            }
            length = Some(number(value, 10).ok_or(HttpError::Framing("a length is no number"))?);
        } else if field.name.eq_ignore_ascii_case("Transfer-Encoding") {
            if chunked {
                return Err(HttpError::Framing("chunks of chunks"));
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(coded());
            }
            chunked = true;
        } else if field.name.eq_ignore_ascii_case("Content-Encoding")
            && !value.eq_ignore_ascii_case(b"identity")
        {
            // Undoing one would let a kilobyte become a gigabyte.
            return Err(coded());
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(HttpError::Framing("both a length and chunks")),
        (None, true) if version == 0 => Err(HttpError::Framing("chunks in HTTP/1.0")),
        (None, true) => Ok(Framing::Chunked),
        (Some(length), false) => Ok(Framing::Length(length)),
        (None, false) => Ok(Framing::Close),
    }
}

fn location(fields: &[httparse::Header<'_>]) -> Result<String, HttpError> {
    let mut found = None;
    for field in fields {
        if field.name.eq_ignore_ascii_case("Location") {
            if found.is_some() {
                return Err(HttpError::Head("two redirects in one"));
            }
            found = Some(field.value.trim_ascii());
        }
    }
    let text = found.and_then(|value| std::str::from_utf8(value).ok());
    let text = text.ok_or(HttpError::Head("a redirect to nowhere"))?;
    Ok(text.to_owned())
}

/// Hands on so many bytes, no fewer.
async fn pass<S, F>(source: &mut Source<S>, mut left: u64, sink: &mut F) -> Result<(), HttpError>
where
    S: AsyncRead + Unpin,
    F: FnMut(&[u8]) -> Result<(), SinkError>,
{
    while left > 0 {
        if source.held().is_empty() && source.fill().await? == 0 {
            return Err(HttpError::Truncated);
        }
        let piece = source.take(usize::try_from(left).unwrap_or(usize::MAX));
        left = left.saturating_sub(size(piece.len()));
        sink(piece).map_err(HttpError::Sink)?;
    }
    Ok(())
}

/// Hands on what comes until the connection ends. Over TLS that end is signed; else whatever was
/// cut off is missed by who reads the DER.
async fn pass_rest<S, F>(source: &mut Source<S>, most: u64, sink: &mut F) -> Result<u64, HttpError>
where
    S: AsyncRead + Unpin,
    F: FnMut(&[u8]) -> Result<(), SinkError>,
{
    let mut total: u64 = 0;
    loop {
        let piece = source.take(usize::MAX);
        if !piece.is_empty() {
            total = total.saturating_add(size(piece.len()));
            if total > most {
                return Err(HttpError::TooLarge(most));
            }
            sink(piece).map_err(HttpError::Sink)?;
        }
        if source.fill().await? == 0 {
            return Ok(total);
        }
    }
}

/// Hands on a body in chunks (RFC 9112 §7.1). Extensions and the trailer are read over, up to a
/// limit.
async fn pass_chunks<S, F>(
    source: &mut Source<S>,
    most: u64,
    sink: &mut F,
) -> Result<u64, HttpError>
where
    S: AsyncRead + Unpin,
    F: FnMut(&[u8]) -> Result<(), SinkError>,
{
    let mut total: u64 = 0;
    let mut spare = MAX_SPARE;
    loop {
        let line = source.line(MAX_LINE).await?;
        let (length, extension) = chunk_size(line)?;
        spare = spend(spare, extension)?;
        if length == 0 {
            break;
        }
        // Judged as announced: a chunk of all that a number can say costs no waiting.
        let sum = total.checked_add(length).filter(|sum| *sum <= most);
        total = sum.ok_or(HttpError::TooLarge(most))?;
        pass(source, length, sink).await?;
        if !source.line(0).await?.is_empty() {
            return Err(HttpError::Framing("a chunk does not end where it said"));
        }
    }
    loop {
        let length = source.line(MAX_LINE).await?.len();
        if length == 0 {
            return Ok(total);
        }
        spare = spend(spare, length)?;
    }
}

/// The size that a line before a chunk gives, and how many bytes of it say something else.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), HttpError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let extension = line.len().saturating_sub(digits.len());
    let length = number(digits.trim_ascii_end(), 16);
    let length = length.ok_or(HttpError::Framing("the size of a chunk is no number"))?;
    Ok((length, extension))
}

fn spend(spare: usize, bytes: usize) -> Result<usize, HttpError> {
    let left = spare.checked_sub(bytes);
    left.ok_or(HttpError::Framing("too much between and behind the chunks"))
}

/// A number of digits only: no sign, no space, no prefix.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if !digits.iter().all(|byte| char::from(*byte).is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// What comes of an answer of these octets, behind which the server closes, where so many of them come at a time and
/// a body may have `most`: where a redirect leads, if it is one, how long the body is said to have been, and the
/// body. For `fuzz/` alone, which has no server.
///
/// # Errors
///
/// Why there is no whole answer.
#[doc(hidden)]
pub fn answer_of(
    octets: &[u8],
    piece: usize,
    most: u64,
) -> Result<(Option<String>, u64, Vec<u8>), HttpError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(HttpError::Broken)?;
    let limits = Limits {
        bytes: most,
        ..Limits::OCSP
    };
    let (client, mut server) = tokio::io::duplex(piece.max(1));
    let mut body = Vec::new();
    let mut sink = |piece: &[u8]| -> Result<(), SinkError> {
        body.extend_from_slice(piece);
        Ok(())
    };
    let answer = runtime.block_on(async {
        let serve = async move {
            // The client may have seen enough.
            let _ = server.write_all(octets).await;
            drop(server);
        };
        let (answer, ()) = tokio::join!(exchange(client, "", &[], &limits, &mut sink), serve);
        answer
    });
    match answer? {
        Answer::Whole(bytes) => Ok((None, bytes, body)),
        Answer::Moved { location, .. } => Ok((Some(location), 0, body)),
    }
}

const MAX_HEAD: usize = 16 << 10;
const MAX_FIELDS: usize = 64;
/// How much is read at once.
const PIECE: usize = 16 << 10;
/// The longest line between chunks.
const MAX_LINE: usize = 256;
/// Bytes of extensions and of the trailer together.
const MAX_SPARE: usize = 4 << 10;

#[cfg(test)]
mod tests;
