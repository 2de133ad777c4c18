//! A mail's envelope, and what becomes of the mail, as octets.

use kenin_keys::octets::{Malformed, Reader, Writer};
use kenin_smtp_filter::{
    Body, Confided, Division, Edit, Envelope, Group, Recipient, Reply, Share, Treatment, XForward,
};

use super::{Coded, coded, coded_by_number};

coded!(Envelope {
    id,
    mail_from,
    body,
    smtputf8,
    size,
    ret,
    envid,
    rcpt_to,
    helo,
    esmtp,
    division,
    seven_bit_only,
    client,
    tls,
    authenticated,
    daemon,
    xforward,
});

coded!(Recipient {
    address,
    notify,
    orcpt,
});

coded!(XForward {
    name,
    addr,
    port,
    proto,
    helo,
    ident,
    source,
});

coded!(Group { recipients, share });

coded!(Confided {
    content,
    edits,
    return_path,
    reason,
});

coded_by_number!(Body: SevenBit = 0, EightBitMime = 1);
coded_by_number!(Division: Never = 0, Copies = 1, Answers = 2);

impl Coded for Treatment {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Relay(edits) => {
                out.u8(0);
                edits.write(out);
            }
            Self::Refuse(reply) => {
                out.u8(1);
                reply.write(out);
            }
            Self::Quarantine { edits, reason } => {
                out.u8(2);
                edits.write(out);
                reason.write(out);
            }
            Self::Divide(groups) => {
                out.u8(3);
                groups.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::Relay),
            1 => Coded::read(from).map(Self::Refuse),
            2 => Ok(Self::Quarantine {
                edits: Coded::read(from)?,
                reason: Coded::read(from)?,
            }),
            3 => Coded::read(from).map(Self::Divide),
            _ => Err(Malformed("an unknown treatment")),
        }
    }
}

impl Coded for Share {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Relay(edits) => {
                out.u8(0);
                edits.write(out);
            }
            Self::Refuse(reply) => {
                out.u8(1);
                reply.write(out);
            }
            Self::Had => {
                out.u8(2);
            }
            Self::Hold { edits, reason } => {
                out.u8(3);
                edits.write(out);
                reason.write(out);
            }
            Self::Confide(confided) => {
                out.u8(4);
                confided.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::Relay),
            1 => Coded::read(from).map(Self::Refuse),
            2 => Ok(Self::Had),
            3 => Ok(Self::Hold {
                edits: Coded::read(from)?,
                reason: Coded::read(from)?,
            }),
            4 => Coded::read(from).map(Self::Confide),
            _ => Err(Malformed("an unknown share")),
        }
    }
}

impl Coded for Edit {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Prepend(octets) => {
                out.u8(0);
                octets.write(out);
            }
            Self::Remove(range) => {
                out.u8(1);
                range.write(out);
            }
            Self::Insert(at, octets) => {
                out.u8(2);
                at.write(out);
                octets.write(out);
            }
            Self::Body(at, octets) => {
                out.u8(3);
                at.write(out);
                octets.write(out);
            }
            Self::ReturnPath(path) => {
                out.u8(4);
                path.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::Prepend),
            1 => Coded::read(from).map(Self::Remove),
            2 => Ok(Self::Insert(Coded::read(from)?, Coded::read(from)?)),
            3 => Ok(Self::Body(Coded::read(from)?, Coded::read(from)?)),
            4 => Coded::read(from).map(Self::ReturnPath),
            _ => Err(Malformed("an unknown edit")),
        }
    }
}

/// Whatever comes, it is a reply of the form of replies.
impl Coded for Reply {
    fn write(&self, out: &mut Writer) {
        out.u32(self.code().into());
        self.enhanced().map(|code| code.to_string()).write(out);
        self.lines().to_vec().write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let code = u16::try_from(from.u32()?).map_err(|_| Malformed("no code of a reply"))?;
        let enhanced = Option::<String>::read(from)?;
        let lines = Vec::<String>::read(from)?;
        let mut lines = lines.iter().map(String::as_str);
        let first = lines.next().unwrap_or_default();
        let reply = match enhanced {
            Some(enhanced) => Self::new(code, &enhanced, first),
            None => Self::plain(code, first),
        };
        Ok(lines.fold(reply, Self::line))
    }
}
