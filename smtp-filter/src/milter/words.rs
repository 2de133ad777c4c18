//! The words of the milter protocol, named after Sendmail's `mfdef.h` and `mfapi.h`.

/// Commands of an MTA (`SMFIC_*`).
pub(super) mod command {
    pub(crate) const ABORT: u8 = b'A';
    pub(crate) const BODY: u8 = b'B';
    pub(crate) const CONNECT: u8 = b'C';
    pub(crate) const MACRO: u8 = b'D';
    pub(crate) const END_OF_BODY: u8 = b'E';
    pub(crate) const HELO: u8 = b'H';
    pub(crate) const QUIT_NEW_CONNECTION: u8 = b'K';
    pub(crate) const HEADER: u8 = b'L';
    pub(crate) const MAIL: u8 = b'M';
    pub(crate) const END_OF_HEADERS: u8 = b'N';
    pub(crate) const NEGOTIATE: u8 = b'O';
    pub(crate) const QUIT: u8 = b'Q';
    pub(crate) const RCPT: u8 = b'R';
    pub(crate) const DATA: u8 = b'T';
    pub(crate) const UNKNOWN: u8 = b'U';
}

/// Answers (`SMFIR_*`).
pub(super) mod reply {
    pub(crate) const ACCEPT: u8 = b'a';
    pub(crate) const REPLACE_BODY: u8 = b'b';
    pub(crate) const CONTINUE: u8 = b'c';
    pub(crate) const CHANGE_SENDER: u8 = b'e';
    pub(crate) const INSERT_HEADER: u8 = b'i';
    pub(crate) const CHANGE_HEADER: u8 = b'm';
    pub(crate) const NEGOTIATE: u8 = b'O';
    pub(crate) const PROGRESS: u8 = b'p';
    pub(crate) const QUARANTINE: u8 = b'q';
    pub(crate) const REPLY_CODE: u8 = b'y';
}

/// What an MTA may leave out or do otherwise (`SMFIP_*`).
pub(super) mod protocol {
    const NO_UNKNOWN: u32 = 0x100;
    const NO_DATA: u32 = 0x200;
    pub(crate) const NO_REPLY_HEADER: u32 = 0x80;
    pub(crate) const NO_REPLY_CONNECT: u32 = 0x1000;
    pub(crate) const NO_REPLY_HELO: u32 = 0x2000;
    pub(crate) const NO_REPLY_MAIL: u32 = 0x4000;
    pub(crate) const NO_REPLY_RCPT: u32 = 0x8000;
    pub(crate) const NO_REPLY_DATA: u32 = 0x1_0000;
    pub(crate) const NO_REPLY_UNKNOWN: u32 = 0x2_0000;
    pub(crate) const NO_REPLY_END_OF_HEADERS: u32 = 0x4_0000;
    pub(crate) const NO_REPLY_BODY: u32 = 0x8_0000;
    pub(crate) const HEADER_LEADING_SPACE: u32 = 0x10_0000;
    /// What we ask for where it is offered.
    pub(crate) const WANTED: u32 = NO_UNKNOWN
        | NO_DATA
        | NO_REPLY_HEADER
        | NO_REPLY_CONNECT
        | NO_REPLY_HELO
        | NO_REPLY_MAIL
        | NO_REPLY_RCPT
        | NO_REPLY_DATA
        | NO_REPLY_UNKNOWN
        | NO_REPLY_END_OF_HEADERS
        | NO_REPLY_BODY
        | HEADER_LEADING_SPACE;
}

/// What a filter may do with a mail (`SMFIF_*`).
pub(super) mod action {
    /// Adding and changing header fields (`SMFIF_ADDHDRS`, `SMFIF_CHGHDRS`): always needed.
    pub(crate) const HEADER: u32 = 0x01 | 0x10;
    /// `SMFIF_CHGBODY`.
    pub(crate) const BODY: u32 = 0x02;
    /// `SMFIF_CHGFROM`.
    pub(crate) const SENDER: u32 = 0x40;
    /// `SMFIF_QUARANTINE`.
    pub(crate) const QUARANTINE: u32 = 0x20;
}

/// What is told of a new body at a time (`MILTER_CHUNK_SIZE`): with the command, what 16 bits count.
pub(super) const BODY_CHUNK: usize = 65_534;
/// Versions that are spoken.
pub(super) const OLDEST: u32 = 2;
/// See [`OLDEST`].
pub(super) const NEWEST: u32 = 6;
