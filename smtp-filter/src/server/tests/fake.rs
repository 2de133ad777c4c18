//! A next hop for tests, written apart from the code under test. It keeps the commands and the
//! mails it got and misbehaves in one way.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// The one thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misdeed {
    None,
    Greeting554,
    SevenBitOnly,
    RefuseMail,
    RefuseRcpt,
    DieAtMail,
    DieAtRcpt,
    GarbageAtRcpt,
    Say421AtRcpt,
    DieAtData,
    DieInData,
    RefuseData,
    RefuseDot,
    DeferDot,
    DieAfterDot,
    GarbageAfterDot,
    SilentAfterDot,
    CloseAfterMail,
    InjectBehindStartTls,
    TwoAnswersAtRcpt,
    AcceptWith354,
    AcceptInData,
    RefuseInData,
    SilentAtSecondRcpt,
    SilentAtData,
    TiresOfWaiting,
    TiresThenRefuses,
    /// Offers PIPELINING, and after RSET says nothing before RCPT.
    AnswersTogether,
    /// The same, with another answer to RSET.
    TwoAnswersAtRset,
    /// The same, and refuses the second MAIL of a connection.
    RefusesTogether,
    /// The same, and says 421 to the second MAIL of a connection, and no to what is behind it.
    Says421Together,
    /// The same, and leaves behind its 421.
    LeavesTogether,
    /// The same, and after RSET leaves where the first recipient should be answered.
    DiesTogether,
    /// The same, and after RSET refuses a recipient that it took before.
    RefusesRcptTogether,
    /// Offers PIPELINING, and leaves where a command does not wait for the answer to the one before it.
    LeavesAtHaste,
    /// Says goodbye before anybody asks, after a mail.
    Say421AfterMail,
    /// Refuses the second MAIL of a connection.
    RefuseSecondMail,
    /// Refuses the second XFORWARD of a connection.
    RefuseSecondXforward,
    /// Each transaction ends as the address of its first recipient says.
    AsAddressed,
}

#[derive(Default)]
struct Kept {
    commands: Vec<String>,
    mails: Vec<Vec<u8>>,
    recipients: Vec<Vec<String>>,
    connections: usize,
    /// Those that have ended.
    ended: usize,
}

pub(super) struct FakeHop {
    pub(super) address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

impl FakeHop {
    pub(super) async fn start(misdeed: Misdeed) -> Self {
        Self::listen(misdeed, None).await
    }

    pub(super) async fn start_tls(misdeed: Misdeed, tls: Arc<rustls::ServerConfig>) -> Self {
        Self::listen(misdeed, Some(tls)).await
    }

    pub(super) fn commands(&self) -> Vec<String> {
        self.kept.lock().unwrap().commands.clone()
    }

    /// The mails it got, dots unstuffed.
    pub(super) fn mails(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap().mails.clone()
    }

    /// The recipients of each of those mails.
    pub(super) fn recipients(&self) -> Vec<Vec<String>> {
        self.kept.lock().unwrap().recipients.clone()
    }

    /// How many connections it had, and how many of them have ended.
    pub(super) fn connections(&self) -> (usize, usize) {
        let kept = self.kept.lock().unwrap();
        (kept.connections, kept.ended)
    }

    async fn listen(misdeed: Misdeed, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, tls) = (Arc::clone(&shared), tls.clone());
                kept.lock().unwrap().connections += 1;
                tokio::spawn(async move {
                    let mut stream = stream;
                    let greeting = if misdeed == Misdeed::Greeting554 {
                        "554 no\r\n"
                    } else {
                        "220 fake\r\n"
                    };
                    if stream.write_all(greeting.as_bytes()).await.is_err() {
                        return;
                    }
                    if talk(&mut stream, misdeed, &kept, tls.is_some()).await == Some(true) {
                        let acceptor = TlsAcceptor::from(tls.unwrap());
                        if let Ok(mut stream) = acceptor.accept(stream).await {
                            talk(&mut stream, misdeed, &kept, false).await;
                        }
                    }
                    kept.lock().unwrap().ended += 1;
                });
            }
        });
        Self { address, kept }
    }
}

/// Speaks SMTP; true when TLS is to begin.
async fn talk(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    misdeed: Misdeed,
    kept: &Mutex<Kept>,
    tls: bool,
) -> Option<bool> {
    let mut input = Vec::new();
    let mut recipients: Vec<String> = Vec::new();
    let mut said: Vec<String> = Vec::new();
    let together = matches!(
        misdeed,
        Misdeed::AnswersTogether
            | Misdeed::TwoAnswersAtRset
            | Misdeed::RefusesTogether
            | Misdeed::Says421Together
            | Misdeed::LeavesTogether
            | Misdeed::DiesTogether
            | Misdeed::RefusesRcptTogether
    );
    let pipelines = together || misdeed == Misdeed::LeavesAtHaste;
    // Answers that are kept back.
    let mut behind = String::new();
    let tires = matches!(misdeed, Misdeed::TiresOfWaiting | Misdeed::TiresThenRefuses);
    let first = kept.lock().unwrap().commands.is_empty();
    let patience = Duration::from_millis(if tires && first { 100 } else { 60_000 });
    loop {
        let Ok(line) = timeout(patience, until(stream, &mut input, b"\r\n")).await else {
            stream.write_all(b"421 4.4.2 timeout\r\n").await.ok()?;
            return None;
        };
        let line = line?;
        let line = String::from_utf8(line).unwrap();
        kept.lock().unwrap().commands.push(line.clone());
        if misdeed == Misdeed::LeavesAtHaste && !input.is_empty() {
            return None;
        }
        let verb = line.split(' ').next().unwrap().to_owned();
        match verb.as_str() {
            "MAIL" => recipients.clear(),
            "RCPT" => recipients.push(line.replace("RCPT TO:", "")),
            _ => {}
        }
        let again = said.contains(&verb);
        said.push(verb.clone());
        let was_reset = said.contains(&"RSET".to_owned());
        let says = |word: &str| {
            let first: Option<&String> = recipients.first();
            misdeed == Misdeed::AsAddressed && first.is_some_and(|first| first.contains(word))
        };
        let reply = match (verb.as_str(), misdeed) {
            ("EHLO", _) if pipelines => "250-fake\r\n250-8BITMIME\r\n250 PIPELINING",
            ("EHLO", Misdeed::SevenBitOnly) => "250-fake\r\n250 PIPELINING",
            ("EHLO", _) if tls => "250-fake\r\n250-8BITMIME\r\n250 STARTTLS",
            ("EHLO", _) => {
                "250-fake\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-SIZE\r\n\
                 250 XFORWARD NAME ADDR HELO"
            }
            ("STARTTLS", Misdeed::InjectBehindStartTls) => "220 go\r\n250 forged",
            ("STARTTLS", _) => {
                stream.write_all(b"220 go\r\n").await.ok()?;
                return Some(true);
            }
            ("MAIL", Misdeed::RefuseMail) => "550 5.7.1 not you",
            ("RSET", Misdeed::TwoAnswersAtRset) => "250 ok\r\n250 also ok",
            ("MAIL", Misdeed::RefuseSecondMail | Misdeed::RefusesTogether) if again => {
                "452 4.5.3 enough mails"
            }
            ("MAIL", Misdeed::Says421Together | Misdeed::LeavesTogether) if again => {
                "421 4.3.2 leaving"
            }
            ("RCPT", Misdeed::LeavesTogether | Misdeed::DiesTogether) if was_reset => {
                stream.write_all(behind.as_bytes()).await.ok()?;
                return None;
            }
            ("RCPT", Misdeed::Says421Together) if was_reset => "503 5.5.1 no transaction",
            ("RCPT", Misdeed::RefusesRcptTogether) if was_reset && line.contains("second") => {
                "550 5.1.1 who"
            }
            ("XFORWARD", Misdeed::RefuseSecondXforward) if again => "503 5.5.1 once is enough",
            ("MAIL", Misdeed::DieAtMail) => return None,
            ("RCPT", Misdeed::RefuseRcpt) => "450 4.2.1 later",
            ("RCPT", Misdeed::DieAtRcpt) => return None,
            ("RCPT", Misdeed::GarbageAtRcpt) => "hello there",
            ("RCPT", Misdeed::TwoAnswersAtRcpt) => "250 ok\r\n250 also ok",
            ("RCPT", Misdeed::TiresThenRefuses) if !first => "450 4.2.1 later",
            ("RCPT", Misdeed::SilentAtSecondRcpt) if line.contains("second") => {
                std::future::pending().await
            }
            ("RCPT", Misdeed::Say421AtRcpt) => "421 4.3.2 leaving",
            ("RCPT", Misdeed::AsAddressed) if line.contains("unknown") => "550 5.1.1 who",
            ("RCPT", Misdeed::AsAddressed) if line.contains("busy") => "450 4.2.1 later",
            ("DATA", _) if says("no-data") => "554 5.5.0 no data",
            ("DATA", Misdeed::SilentAtData) => std::future::pending().await,
            ("DATA", Misdeed::DieAtData) => return None,
            ("DATA", Misdeed::RefuseData) => "554 5.5.0 no data",
            ("DATA", Misdeed::DieInData) => {
                stream.write_all(b"354 go\r\n").await.ok()?;
                let mut some = [0; 1000];
                let _ = stream.read(&mut some).await;
                return None;
            }
            ("DATA", _) => {
                let go: &[u8] = match misdeed {
                    Misdeed::AcceptWith354 => b"354 go\r\n250 2.0.0 queued\r\n",
                    _ => b"354 go\r\n",
                };
                stream.write_all(go).await.ok()?;
                let early: &[u8] = match misdeed {
                    Misdeed::AcceptInData => b"250 2.0.0 queued\r\n",
                    Misdeed::RefuseInData => b"552 5.3.4 enough of this\r\n",
                    _ => b"",
                };
                if !early.is_empty() {
                    let mut some = [0; 1000];
                    let _ = stream.read(&mut some).await;
                    stream.write_all(early).await.ok()?;
                }
                input.splice(0..0, *b"\r\n");
                let mut mail = until(stream, &mut input, b"\r\n.\r\n").await?;
                mail.extend_from_slice(b"\r\n");
                let mail = unstuffed(&mail)[2..].to_vec();
                match misdeed {
                    _ if says("refuse") => "550 5.7.1 bad content",
                    _ if says("defer") => "452 4.2.2 full",
                    _ if says("vanish") => return None,
                    Misdeed::RefuseDot => "550 5.7.1 bad content",
                    Misdeed::DeferDot => "452 full",
                    Misdeed::DieAfterDot => return None,
                    Misdeed::GarbageAfterDot => "oops",
                    Misdeed::SilentAfterDot => std::future::pending().await,
                    _ => {
                        {
                            let mut kept = kept.lock().unwrap();
                            kept.mails.push(mail);
                            kept.recipients.push(recipients.clone());
                        }
                        stream
                            .write_all(b"250 2.0.0 queued as FAKE\r\n")
                            .await
                            .ok()?;
                        match misdeed {
                            Misdeed::CloseAfterMail => return None,
                            Misdeed::Say421AfterMail => {
                                stream.write_all(b"421 4.4.2 timeout\r\n").await.ok()?;
                                return None;
                            }
                            _ => {}
                        }
                        continue;
                    }
                }
            }
            ("QUIT", _) => "221 bye",
            _ => "250 ok",
        };
        if verb == "RCPT" && !reply.starts_with('2') {
            recipients.pop();
        }
        behind.push_str(reply);
        behind.push_str("\r\n");
        // Of a group, the last is RCPT.
        let more = verb == "RSET" || (verb == "MAIL" && was_reset);
        if together && more {
            continue;
        }
        let answers = std::mem::take(&mut behind);
        stream.write_all(answers.as_bytes()).await.ok()?;
    }
}

/// Takes one dot off each line that begins with one.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wire.len());
    let mut rest = wire;
    while let Some(at) = memchr::memmem::find(rest, b"\r\n.") {
        out.extend_from_slice(&rest[..at + 2]);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    out
}

/// Everything up to `end`, which is taken off.
async fn until(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
    end: &[u8],
) -> Option<Vec<u8>> {
    let mut from = 0;
    loop {
        if let Some(at) = memchr::memmem::find(&input[from..], end) {
            let rest = input.split_off(from + at + end.len());
            let mut found = std::mem::replace(input, rest);
            found.truncate(from + at);
            return Some(found);
        }
        from = input.len().saturating_sub(end.len());
        let mut some = vec![0; 64 << 10];
        match stream.read(&mut some).await {
            Ok(n @ 1..) => input.extend_from_slice(&some[..n]),
            _ => return None,
        }
    }
}
