//! Packets of the milter protocol: four octets of length, one of command, its data. Never allocates
//! from a claimed length.
//!
//! There is no RFC; the names are those of Sendmail's `mfdef.h`, which Postfix follows too
//! (<https://www.postfix.org/MILTER_README.html>).

/// One packet from an MTA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Which command (`SMFIC_*`).
    pub(super) command: u8,
    /// What belongs to it.
    pub(super) data: Vec<u8>,
}

/// Why the bytes are no packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// A length of zero.
    #[error("a packet without a command")]
    Empty,
    /// A length beyond what any MTA needs.
    #[error("a packet of {0} bytes")]
    TooLong(u32),
}

/// Bytes on their way to becoming packets.
#[derive(Debug, Default)]
pub(super) struct Packets {
    bytes: Vec<u8>,
    /// How many of them were taken.
    taken: usize,
}

impl Packets {
    /// More bytes from the wire.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole packet.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, PacketError> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            if rest.is_empty() {
                // An MTA that has said all may be silent for long: nothing is held for it meanwhile.
                *self = Self::default();
            }
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        if length == 0 {
            return Err(PacketError::Empty);
        }
        let size = match usize::try_from(length) {
            Ok(size) if size <= MAX_PACKET => size,
            _ => return Err(PacketError::TooLong(length)),
        };
        let Some((command, data)) = rest.get(..size).and_then(<[u8]>::split_first) else {
            // Make room where the next bytes go, once and not for each piece.
            self.bytes.drain(..std::mem::take(&mut self.taken));
            return Ok(None);
        };
        let packet = Packet {
            command: *command,
            data: data.to_vec(),
        };
        self.taken = self.taken.saturating_add(size).saturating_add(4);
        Ok(Some(packet))
    }
}

/// Appends a packet to what is sent.
pub(super) fn write(out: &mut Vec<u8>, command: u8, data: &[&[u8]]) {
    let size: usize = data.iter().map(|part| part.len()).sum();
    // What is written here is bounded far below four gigabytes by the limits of a mail.
    let length = u32::try_from(size.saturating_add(1)).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(command);
    for part in data {
        out.extend_from_slice(part);
    }
}

/// The strings of a packet, each with a NUL behind it. The last one may lack it.
pub(super) fn strings(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let data = data.strip_suffix(b"\0").unwrap_or(data);
    data.split(|byte| *byte == 0)
}

/// The longest packet taken: a header field of a megabyte, or a body chunk of any usual size.
pub(super) const MAX_PACKET: usize = (1 << 20) + (64 << 10);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_bounded_before_they_come() {
        let mut packets = Packets::default();
        packets.push(&[0, 0, 0, 0, b'c']);
        assert_eq!(packets.next(), Err(PacketError::Empty));
        let too_long = u32::try_from(MAX_PACKET).unwrap() + 1;
        let mut packets = Packets::default();
        packets.push(&too_long.to_be_bytes());
        assert_eq!(packets.next(), Err(PacketError::TooLong(too_long)));
        let mut packets = Packets::default();
        packets.push(&u32::MAX.to_be_bytes());
        assert!(packets.next().is_err());
        let mut packets = Packets::default();
        packets.push(&(too_long - 1).to_be_bytes());
        assert_eq!(packets.next(), Ok(None));
        packets.push(&vec![7; MAX_PACKET]);
        assert_eq!(packets.next().unwrap().unwrap().data.len(), MAX_PACKET - 1);
    }

    #[test]
    fn nothing_is_held_for_an_mta_that_has_said_all() {
        let mut packets = Packets::default();
        let mut wire = Vec::new();
        write(&mut wire, b'B', &[&[7; 60_000]]);
        packets.push(&wire);
        assert!(packets.next().unwrap().is_some());
        assert_eq!(packets.next(), Ok(None));
        assert_eq!(packets.bytes.capacity(), 0);
        packets.push(&wire[..9]);
        assert_eq!(packets.next(), Ok(None));
        packets.push(&wire[9..]);
        assert_eq!(packets.next().unwrap().unwrap().data, [7; 60_000]);
    }

    #[test]
    fn strings_end_in_nul() {
        let all = |data| strings(data).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(all(b"a\0b\0"), [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(all(b"a\0\0"), [b"a".to_vec(), Vec::new()]);
        assert_eq!(all(b"a"), [b"a".to_vec()]);
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_were_written(
            written in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
            cut in 1..50_usize,
        ) {
            let mut wire = Vec::new();
            for (command, data) in &written {
                write(&mut wire, *command, &[data]);
            }
            let mut packets = Packets::default();
            let mut read = Vec::new();
            for piece in wire.chunks(cut) {
                packets.push(piece);
                while let Some(packet) = packets.next().unwrap() {
                    read.push((packet.command, packet.data));
                }
            }
            prop_assert_eq!(read, written);
        }
    }
}
