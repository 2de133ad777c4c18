//! An MTA as a milter sees it: protocol version 6, one mail after the other over one connection, the
//! filter's answer read and judged each time. Packets that need no answer leave together, as they do
//! from Postfix.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::packet::{self, command, reply};
use crate::load::{Session, Trouble};

/// Where a milter listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// As Postfix writes it.
    pub(crate) fn postfix(&self) -> String {
        match self {
            Self::Tcp(address) => format!("inet:{}:{}", address.ip(), address.port()),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Whether somebody listens there.
    pub(crate) fn answers(&self) -> bool {
        match self {
            Self::Tcp(address) => TcpStream::connect(address).is_ok(),
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
        }
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A mail cut into what the protocol tells of it.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Names and values; a value begins behind its colon, its lines end in LF.
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    /// As whom the SMTP client has logged in.
    login: Option<&'static str>,
}

impl Parts {
    pub(crate) fn of(raw: &[u8]) -> Result<Self, Trouble> {
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n");
        let (head, body) = raw
            .split_at_checked(end.ok_or("a mail without a body")? + 4)
            .ok_or("a mail without a body")?;
        let head = String::from_utf8(head.to_vec())?;
        let unfolded = head
            .trim_end()
            .replace("\r\n ", "\n ")
            .replace("\r\n\t", "\n\t");
        let mut fields = Vec::new();
        for field in unfolded.split("\r\n") {
            let (name, value) = field.split_once(':').ok_or("a line that is no field")?;
            fields.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        }
        Ok(Self {
            fields,
            body: body.to_vec(),
            login: None,
        })
    }

    /// The same from a client that has logged in.
    pub(crate) fn of_login(mut self, login: &'static str) -> Self {
        self.login = Some(login);
        self
    }
}

/// What a filter said at the end of a mail.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Fields that it adds, `Name: value`.
    pub(crate) added: Vec<String>,
    /// How many bytes of a new body it sent.
    pub(crate) body: usize,
    last: u8,
}

impl Said {
    /// The value of a field that it added or changed; one that it took away has none.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut fields = self.added.iter().filter_map(|field| field.split_once(':'));
        let found = fields.find(|(own, value)| *own == name && !value.trim().is_empty());
        found.map(|(_, value)| value.trim_start())
    }

    /// Whether it took the mail and added a field that begins so and holds this.
    pub(crate) fn has(&self, name: &str, part: &str) -> bool {
        matches!(self.last, reply::ACCEPT | reply::CONTINUE)
            && self
                .added
                .iter()
                .any(|field| field.starts_with(name) && field.contains(part))
    }
}

/// Whether what a filter said is the right answer.
pub(crate) type Expect = fn(&Said) -> bool;

/// One connection to a milter.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
    out: Vec<u8>,
    protocol: u32,
    parts: Arc<Parts>,
    expect: Expect,
    /// What the filter made of the last body.
    body: Vec<u8>,
}

impl Client {
    /// Connects, negotiates, tells of an SMTP client.
    pub(crate) fn open(
        address: &Address,
        parts: Arc<Parts>,
        expect: Expect,
    ) -> Result<Self, Trouble> {
        let stream: Box<dyn Stream> = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                // Postfix leaves Nagle's algorithm on; so do we.
                Box::new(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        };
        let mut client = Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            out: Vec::new(),
            protocol: 0,
            parts,
            expect,
            body: Vec::new(),
        };
        let offer = [6_u32, 0x1ff, 0x1f_ffff].map(u32::to_be_bytes);
        client.put(command::NEGOTIATE, &[offer.as_flattened()]);
        let (said, terms) = client.answer()?;
        let protocol = terms.get(8..12).and_then(|p| p.first_chunk::<4>());
        let (reply::NEGOTIATE, Some(protocol)) = (said, protocol) else {
            return Err("the filter does not negotiate".into());
        };
        client.protocol = u32::from_be_bytes(*protocol);
        client.macros(
            command::CONNECT,
            &["j", "mx.example.jp", "{daemon_name}", "mx"],
        );
        let port = 40_000_u16.to_be_bytes();
        client.step(
            command::CONNECT,
            0x01,
            0x1000,
            &[b"client.example\0", b"4", &port, b"192.0.2.1\0"],
        )?;
        client.step(command::HELO, 0x02, 0x2000, &[b"client.example\0"])?;
        Ok(client)
    }

    /// Shows the mail; what the filter says of it.
    pub(crate) fn show(&mut self) -> Result<Said, Trouble> {
        let parts = Arc::clone(&self.parts);
        let mut macros = vec!["i", "4F1", "{mail_addr}", "alice@example.jp"];
        if let Some(login) = parts.login {
            macros.extend(["{auth_authen}", login]);
        }
        self.macros(command::MAIL, &macros);
        self.step(
            command::MAIL,
            0x04,
            0x4000,
            &[b"<alice@example.jp>\0", b"BODY=8BITMIME\0"],
        )?;
        self.macros(
            command::RCPT,
            &["i", "4F1", "{rcpt_addr}", "reader@example.jp"],
        );
        self.step(command::RCPT, 0x08, 0x8000, &[b"<reader@example.jp>\0"])?;
        self.step(command::DATA, 0x200, 0x1_0000, &[])?;
        for (name, value) in &parts.fields {
            let exact = self.protocol & 0x10_0000 != 0;
            let bare = value.strip_prefix(b" ").unwrap_or(value);
            let value = if exact { value } else { bare };
            self.step(command::HEADER, 0x20, 0x80, &[name, b"\0", value, b"\0"])?;
        }
        self.step(command::END_OF_HEADERS, 0x40, 0x4_0000, &[])?;
        for chunk in parts.body.chunks(packet::CHUNK) {
            self.step(command::BODY, 0x10, 0x8_0000, &[chunk])?;
        }
        self.macros(command::END_OF_BODY, &["i", "4F1"]);
        self.put(command::END_OF_BODY, &[]);
        let mut said = Said::default();
        self.body.clear();
        loop {
            let (answer, data) = self.answer()?;
            match answer {
                // A change of a field that is not there adds it: rspamd's way.
                reply::INSERT_HEADER | reply::ADD_HEADER | reply::CHANGE_HEADER => {
                    let skipped = if answer == reply::ADD_HEADER { 0 } else { 4 };
                    let text = data.get(skipped..).unwrap_or_default();
                    let text = String::from_utf8_lossy(text).replacen('\0', ":", 1);
                    said.added.push(text.trim_end_matches('\0').to_owned());
                }
                reply::REPLACE_BODY => {
                    said.body += data.len();
                    self.body.extend_from_slice(&data);
                }
                reply::PROGRESS => {}
                last => {
                    said.last = last;
                    return Ok(said);
                }
            }
        }
    }

    /// The body that the filter put in the place of the last one; nothing where it left that.
    pub(crate) fn new_body(&self) -> &[u8] {
        &self.body
    }

    fn macros(&mut self, stage: u8, pairs: &[&str]) {
        let mut data = vec![stage];
        for text in pairs {
            data.extend_from_slice(text.as_bytes());
            data.push(0);
        }
        self.put(command::MACRO, &[&data]);
    }

    /// A command, unless the filter does not want it, and its answer, unless it gives none.
    fn step(
        &mut self,
        command: u8,
        unwanted: u32,
        unanswered: u32,
        data: &[&[u8]],
    ) -> Result<(), Trouble> {
        if self.protocol & unwanted != 0 {
            return Ok(());
        }
        self.put(command, data);
        if self.protocol & unanswered != 0 {
            return Ok(());
        }
        match self.answer()? {
            (reply::CONTINUE | reply::SKIP, _) => Ok(()),
            (other, _) => Err(format!(
                "the filter answers {:?} to {:?}",
                char::from(other),
                char::from(command)
            )
            .into()),
        }
    }

    fn put(&mut self, command: u8, data: &[&[u8]]) {
        packet::write(&mut self.out, command, data);
    }

    fn answer(&mut self) -> Result<(u8, Vec<u8>), Trouble> {
        if !self.out.is_empty() {
            self.stream.get_mut().write_all(&self.out)?;
            self.out.clear();
        }
        packet::read(&mut self.stream)?.ok_or_else(|| "the filter closed".into())
    }
}

impl Session for Client {
    fn mail(&mut self) -> Result<(), Trouble> {
        let said = self.show()?;
        if (self.expect)(&said) {
            return Ok(());
        }
        Err(format!("a wrong answer: {said:?}").into())
    }
}

/// Negotiates and tells of an SMTP client, then says no more: a session that idles.
pub(crate) fn introduce(
    stream: &mut (impl Read + Write),
) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = Vec::new();
    let offer = [6_u32, 0x1ff, 0x1f_ffff].map(u32::to_be_bytes);
    packet::write(&mut out, command::NEGOTIATE, &[offer.as_flattened()]);
    stream.write_all(&out)?;
    packet::read(stream)?.ok_or("the filter closed")?;
    out.clear();
    packet::write(
        &mut out,
        command::CONNECT,
        &[b"client.example\0", b"4\x9c\x40", b"192.0.2.1\0"],
    );
    packet::write(&mut out, command::HELO, &[b"client.example\0"]);
    Ok(stream.write_all(&out)?)
}

const PATIENCE: Duration = Duration::from_secs(60);
