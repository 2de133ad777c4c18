//! A mail as received: its envelope and its bytes. The bytes are never copied once received: a
//! small mail is shared memory, a large one a mapped private file.

use std::{fmt, ops::Deref, os::fd::BorrowedFd, sync::Arc};

use kenin_sys::Mapped;

use crate::Envelope;

/// One mail at the end of data.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Who sent it to whom.
    pub envelope: Arc<Envelope>,
    /// The mail with CRLF line ends, dots unstuffed, without our own Received field.
    pub raw: MailBytes,
}

/// The bytes of a mail; cloning shares them.
#[derive(Clone)]
pub struct MailBytes(Store);

#[derive(Clone)]
enum Store {
    Memory(Arc<Vec<u8>>),
    File(Arc<Mapped>),
    Lent(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

impl MailBytes {
    /// Bytes that somebody else holds, and that go with the last clone: what has to happen to them then, the holder
    /// does when it is dropped.
    #[must_use]
    pub fn lent(holder: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        Self(Store::Lent(holder))
    }

    /// Whether the bytes are a mapped file.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Store::File(_))
    }

    /// Whether somebody else holds the bytes.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        matches!(self.0, Store::Lent(_))
    }

    /// What another process can be handed to read them; nothing where they are in memory.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Store::Memory(_) | Store::Lent(_) => None,
            Store::File(mapped) => mapped.descriptor(),
        }
    }
}

impl From<Vec<u8>> for MailBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Store::Memory(Arc::new(bytes)))
    }
}

impl From<Mapped> for MailBytes {
    fn from(mapped: Mapped) -> Self {
        Self(Store::File(Arc::new(mapped)))
    }
}

impl Deref for MailBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Store::Memory(bytes) => bytes,
            Store::File(mapped) => mapped,
            Store::Lent(holder) => (**holder).as_ref(),
        }
    }
}

impl PartialEq for MailBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for MailBytes {}

impl fmt::Debug for MailBytes {
    /// The length only: a mail's content belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailBytes({} bytes)", self.len())
    }
}
