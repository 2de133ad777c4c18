//! The receiving mailbox of the demo: a small SMTP server that takes everything, for loopback only,
//! and keeps each mail as one `.eml` file and in memory. It changes no byte; it is not for real mail.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A mail that arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Where it is kept.
    pub file: PathBuf,
    /// Envelope sender as given.
    pub mail_from: String,
    /// Envelope recipients as given.
    pub rcpt_to: Vec<String>,
    /// The bytes, dots unstuffed.
    pub bytes: Vec<u8>,
}

/// The mailbox: its address, and what arrives.
#[derive(Debug)]
pub struct Mailbox {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the files are.
    pub folder: PathBuf,
    arrived: mpsc::UnboundedReceiver<Arrived>,
}

impl Mailbox {
    /// Listens on a free loopback port; ends with the runtime.
    pub async fn start(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (sender, arrived) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            count: AtomicUsize::new(0),
            arrived: sender,
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                // A session that breaks off has delivered nothing; its client knows.
                tokio::spawn(async move { session(stream, &shared).await });
            }
        });
        Ok(Self {
            address,
            folder: folder.to_owned(),
            arrived,
        })
    }

    /// The next mail that arrives.
    pub async fn next(&mut self) -> Option<Arrived> {
        self.arrived.recv().await
    }

    /// A mail that has arrived already, if any.
    pub fn try_next(&mut self) -> Option<Arrived> {
        self.arrived.try_recv().ok()
    }
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    count: AtomicUsize,
    arrived: mpsc::UnboundedSender<Arrived>,
}

impl Shared {
    async fn keep(
        &self,
        mail_from: String,
        rcpt_to: Vec<String>,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        let number = self.count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let file = self.folder.join(format!("{number:04}.eml"));
        // Mail readers that watch the folder must never see half a mail.
        let unfinished = self.folder.join(format!(".{number:04}.part"));
        tokio::fs::write(&unfinished, &bytes).await?;
        tokio::fs::rename(&unfinished, &file).await?;
        // Nobody listens any more when the demo is ending; the file is there.
        let _ = self.arrived.send(Arrived {
            file,
            mail_from,
            rcpt_to,
            bytes,
        });
        Ok(())
    }
}

async fn session(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    write
        .write_all(b"220 mailbox.demo.invalid ESMTP demo mailbox\r\n")
        .await?;
    let mut mail_from = None;
    let mut rcpt_to = Vec::new();
    loop {
        let Some(line) = line(&mut read).await? else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let upper = text.to_ascii_uppercase();
        let reply: &[u8] = if upper.starts_with("EHLO") {
            b"250-mailbox.demo.invalid\r\n250-PIPELINING\r\n250-SIZE 67108864\r\n250-8BITMIME\r\n\
              250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
        } else if upper.starts_with("HELO") {
            b"250 mailbox.demo.invalid\r\n"
        } else if let Some(rest) = argument(&text, "MAIL FROM:") {
            mail_from = Some(rest);
            rcpt_to.clear();
            b"250 2.1.0 Ok\r\n"
        } else if let Some(rest) = argument(&text, "RCPT TO:") {
            if mail_from.is_none() || rcpt_to.len() >= 1000 {
                b"503 5.5.1 Bad sequence of commands\r\n"
            } else {
                rcpt_to.push(rest);
                b"250 2.1.5 Ok\r\n"
            }
        } else if upper == "DATA" {
            match (mail_from.take(), std::mem::take(&mut rcpt_to)) {
                (Some(from), to) if !to.is_empty() => {
                    write
                        .write_all(b"354 End data with <CR><LF>.<CR><LF>\r\n")
                        .await?;
                    let Some(bytes) = data(&mut read).await? else {
                        return Ok(());
                    };
                    match shared.keep(from, to, bytes).await {
                        Ok(()) => b"250 2.0.0 Kept\r\n",
                        Err(_) => b"452 4.3.1 Insufficient system storage\r\n",
                    }
                }
                _ => b"503 5.5.1 Bad sequence of commands\r\n",
            }
        } else if upper == "RSET" {
            mail_from = None;
            rcpt_to.clear();
            b"250 2.0.0 Ok\r\n"
        } else if upper.starts_with("NOOP") {
            b"250 2.0.0 Ok\r\n"
        } else if upper == "QUIT" {
            return write.write_all(b"221 2.0.0 Bye\r\n").await;
        } else {
            b"502 5.5.2 Command not recognized\r\n"
        };
        write.write_all(reply).await?;
    }
}

fn argument(line: &str, command: &str) -> Option<String> {
    let head = line.get(..command.len())?;
    head.eq_ignore_ascii_case(command).then(|| {
        line.get(command.len()..)
            .unwrap_or_default()
            .trim()
            .to_owned()
    })
}

async fn line<R: AsyncBufRead + Unpin>(read: &mut R) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let count = read.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    Ok((count > 0).then_some(line))
}

/// The mail up to its lone dot; `None` when the client goes away or never stops.
async fn data<R: AsyncBufRead + Unpin>(read: &mut R) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        let count = read.take(MAX_MAIL).read_until(b'\n', &mut bytes).await?;
        let line = bytes.get(start..).unwrap_or_default();
        let ended_before = start == 0 || bytes.get(..start).is_some_and(|b| b.ends_with(b"\r\n"));
        if count == 0 || u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_MAIL {
            return Ok(None);
        }
        if ended_before && line.starts_with(b".") {
            if line == b".\r\n" {
                bytes.truncate(start);
                return Ok(Some(bytes));
            }
            bytes.remove(start);
        }
    }
}

const MAX_LINE: u64 = 8192;
const MAX_MAIL: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::super::client;
    use super::*;

    #[tokio::test]
    async fn a_mail_arrives_as_it_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let mut mailbox = Mailbox::start(folder.path()).await.unwrap();
        let mail = b"Subject: x\r\n\r\n.dot\r\n..two\r\nlast\r\n";
        let reply = client::send(mailbox.address, "<a@example.jp>", &["<b@example.jp>"], mail)
            .await
            .unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        let arrived = mailbox.next().await.unwrap();
        assert_eq!(arrived.bytes, mail);
        assert_eq!(arrived.rcpt_to, ["<b@example.jp>"]);
        assert_eq!(std::fs::read(arrived.file).unwrap(), mail);
    }
}
