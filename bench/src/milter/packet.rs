//! Packets of the milter protocol as the client and the no-op filter of this package write and read
//! them; nothing of Kenin's own is used, so that a mistake of its cannot be shared.

use std::io::{ErrorKind, Read, Result};

/// Commands of an MTA.
pub(super) mod command {
    pub(crate) const BODY: u8 = b'B';
    pub(crate) const CONNECT: u8 = b'C';
    pub(crate) const MACRO: u8 = b'D';
    pub(crate) const END_OF_BODY: u8 = b'E';
    pub(crate) const HELO: u8 = b'H';
    pub(crate) const HEADER: u8 = b'L';
    pub(crate) const MAIL: u8 = b'M';
    pub(crate) const END_OF_HEADERS: u8 = b'N';
    pub(crate) const NEGOTIATE: u8 = b'O';
    pub(crate) const QUIT: u8 = b'Q';
    pub(crate) const RCPT: u8 = b'R';
    pub(crate) const DATA: u8 = b'T';
}

/// Answers of a filter.
pub(super) mod reply {
    pub(crate) const ACCEPT: u8 = b'a';
    pub(crate) const REPLACE_BODY: u8 = b'b';
    pub(crate) const CONTINUE: u8 = b'c';
    pub(crate) const ADD_HEADER: u8 = b'h';
    pub(crate) const INSERT_HEADER: u8 = b'i';
    pub(crate) const CHANGE_HEADER: u8 = b'm';
    pub(crate) const NEGOTIATE: u8 = b'O';
    pub(crate) const PROGRESS: u8 = b'p';
    pub(crate) const SKIP: u8 = b's';
}

/// Bytes of body in one packet.
pub(super) const CHUNK: usize = 65_535;

/// Appends a packet.
pub(super) fn write(out: &mut Vec<u8>, command: u8, data: &[&[u8]]) {
    let size: usize = data.iter().map(|part| part.len()).sum();
    let length = u32::try_from(size + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(command);
    for part in data {
        out.extend_from_slice(part);
    }
}

/// The next packet; `None` at the end.
pub(super) fn read(stream: &mut impl Read) -> Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 5];
    match stream.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [a, b, c, d, command] = head;
    let length = u32::from_be_bytes([a, b, c, d]).saturating_sub(1);
    let mut data = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut data)?;
    Ok(Some((command, data)))
}
