//! What an MTA tells of a client and of a mail, on its way to an envelope and bytes.

use std::net::IpAddr;

use super::{edits::Field, frame::strings};
use crate::{Body, Recipient, Reply, client::Sender, path::is_mailbox};

/// What the MTA said of the SMTP client.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) name: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) helo: String,
}

/// The mail that is coming.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    pub(super) sender: Sender,
    pub(super) recipients: Vec<Recipient>,
    pub(super) header: Vec<u8>,
    pub(super) fields: Vec<Field>,
    pub(super) header_ended: bool,
    pub(super) size: u64,
    pub(super) refusal: Option<Reply>,
}

impl Gathering {
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
    }

    /// A recipient, whom the MTA takes for `resolved`.
    pub(super) fn recipient(
        &mut self,
        data: &[u8],
        resolved: Option<&str>,
        limit: usize,
    ) -> Option<()> {
        // An MTA has limits of its own; more than ours cannot be remembered.
        if self.recipients.len() >= limit {
            self.refuse(Reply::new(452, "4.5.3", "Too many recipients"));
            return Some(());
        }
        let mut known = recipient(data)?;
        match meant(&known.address, resolved) {
            Some(address) => known.address = address,
            // Whose rules hold for it cannot be known.
            None => self.refuse(Reply::new(553, "5.1.3", "Bad recipient address syntax")),
        }
        self.recipients.push(known);
        Some(())
    }

    /// Counts bytes; false when there are too many, or when the mail is refused anyway.
    pub(super) fn grow(&mut self, more: u64, limit: u64) -> bool {
        self.size = self.size.saturating_add(more);
        if self.size > limit {
            self.refuse(Reply::new(552, "5.3.4", "Message too big"));
        }
        self.refusal.is_none()
    }

    /// A header field: its bytes as they are in the mail, as far as the MTA told them. Where it was not agreed that it tells
    /// the space behind the colon (not `exact`), it took one away.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8], exact: bool, bounds: (usize, usize)) {
        let (size, count) = bounds;
        let start = self.header.len();
        if self.fields.len() >= count {
            self.refuse(Reply::new(
                550,
                "5.6.0",
                "Message has too many header fields",
            ));
        }
        let length = name.len().saturating_add(value.len());
        if start.saturating_add(length) > size {
            self.refuse(Reply::new(552, "5.3.4", "Message header too big"));
        }
        if self.refusal.is_some() {
            return;
        }
        self.header.extend_from_slice(name);
        self.header.push(b':');
        // Nothing was taken from a fold or a tab.
        if !exact && value.first().is_some_and(|first| !b"\t\n".contains(first)) {
            self.header.push(b' ');
        }
        let mut last = 0;
        for byte in value {
            // Folds come with LF alone.
            if *byte == b'\n' && last != b'\r' {
                self.header.push(b'\r');
            }
            self.header.push(*byte);
            last = *byte;
        }
        self.header.extend_from_slice(b"\r\n");
        let range = start..self.header.len();
        self.size = self
            .size
            .saturating_add(u64::try_from(range.len()).unwrap_or(u64::MAX));
        self.fields.push(Field {
            range,
            name: name.trim_ascii_end().to_vec(),
        });
    }
}

impl Client {
    /// Host name, family, port, address.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let end = memchr::memchr(0, data)?;
        let (name, rest) = data.split_at_checked(end)?;
        let (family, rest) = rest.get(1..)?.split_first()?;
        let known = text(name);
        let name = (!known.is_empty() && !known.starts_with('[')).then_some(known);
        let mut client = Self {
            name,
            ..Self::default()
        };
        if matches!(family, b'4' | b'6') {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let address = text(strings(rest).next().unwrap_or_default());
            let bare = match address.get(..5) {
                Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => address.get(5..)?,
                _ => &address,
            };
            client.port = u16::from_be_bytes(*port);
            client.address = bare.parse().ok();
        }
        Some(client)
    }
}

/// The sender and its parameters; what is no parameter that we know is passed over, since the MTA
/// has accepted it.
pub(super) fn sender(data: &[u8], resolved: Option<&str>) -> Option<Sender> {
    let mut parts = strings(data);
    let told = path(parts.next()?)?;
    let read = meant(&told, resolved).filter(|_| !told.is_empty());
    let mut sender = Sender::new(&read.unwrap_or(told));
    for part in parts {
        let part = text(part);
        let (key, value) = part.split_once('=').unwrap_or((&part, ""));
        match key.to_ascii_uppercase().as_str() {
            "SIZE" => sender.size = value.parse().ok(),
            "BODY" if value.eq_ignore_ascii_case("8BITMIME") => sender.body = Body::EightBitMime,
            "SMTPUTF8" => sender.smtputf8 = true,
            "RET" => sender.ret = Some(value.to_ascii_uppercase()),
            "ENVID" => sender.envid = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(sender)
}

fn recipient(data: &[u8]) -> Option<Recipient> {
    let mut parts = strings(data);
    let mut recipient = Recipient {
        address: path(parts.next()?)?,
        notify: None,
        orcpt: None,
    };
    for part in parts {
        let part = text(part);
        let (key, value) = part.split_once('=').unwrap_or((&part, ""));
        match key.to_ascii_uppercase().as_str() {
            "NOTIFY" => recipient.notify = Some(value.to_owned()),
            "ORCPT" => recipient.orcpt = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(recipient)
}

/// Where mail to this address, as the client wrote it, goes. MTAs take forms that are no mailbox (`<a@b>` in brackets again,
/// with a comment, `a%b`), and routes in a local part, and deliver to what they read there: `resolved`, their macro. A rule
/// for a domain would hold for none of these. Nothing where it is not known.
fn meant(told: &str, resolved: Option<&str>) -> Option<String> {
    let (local, _) = told.rsplit_once('@').unwrap_or((told, ""));
    if is_mailbox(told) && !local.contains(['@', '%', '!']) {
        return Some(told.to_owned());
    }
    let resolved = resolved.filter(|address| is_mailbox(address));
    // A name alone is that of a user of the MTA's.
    let is_name = |c: char| !c.is_control() && !" \"%!(),:;<>@[\\]".contains(c);
    let own = || (is_mailbox(told) || told.chars().all(is_name)).then_some(told);
    resolved.or_else(own).map(str::to_owned)
}

/// A path without its angle brackets.
fn path(bytes: &[u8]) -> Option<String> {
    if bytes.len() > MAX_PATH {
        return None;
    }
    let path = text(bytes);
    let bare = path.strip_prefix('<').and_then(|p| p.strip_suffix('>'));
    Some(bare.unwrap_or(&path).to_owned())
}

/// Text of a packet, cut where it is too long.
pub(super) fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

const MAX_TEXT: usize = 1024;
const MAX_PATH: usize = 1000;
