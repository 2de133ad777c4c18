//! The memory of mail that is open: one budget for all of it at one moment, and octets that are wiped when nobody needs
//! them any more. What was opened lies here and nowhere else, never in a file.

use std::sync::Arc;

use kenin_pki::crypto::Secret;
use kenin_smtp_filter::MailBytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all mails that are open may take together.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    kibibytes: Arc<Semaphore>,
    all: u32,
}

/// A part of it, for one mail; it is given back when the last of its copies is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// Nothing where another process holds it.
    kibibytes: Vec<Arc<OwnedSemaphorePermit>>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Others have it.
    Now,
    /// There is not as much, whoever waits.
    Ever,
}

impl Room {
    /// Held in another process, as long as that knows of the mail.
    pub(crate) const fn elsewhere() -> Self {
        Self {
            kibibytes: Vec::new(),
        }
    }

    /// Takes over what was taken later for the same mail.
    pub(super) fn join(&mut self, mut more: Self) {
        self.kibibytes.append(&mut more.kibibytes);
    }
}

impl Memory {
    /// So many octets.
    pub(crate) fn new(octets: u64) -> Self {
        let all = u32::try_from(octets >> 10).unwrap_or(u32::MAX);
        let permits = usize::try_from(all).unwrap_or(usize::MAX);
        Self {
            kibibytes: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            all,
        }
    }

    /// Room for a mail whose encrypted content has so many octets, if there is some at once.
    pub(crate) fn try_take(&self, octets: usize) -> Result<Room, NoRoom> {
        let need = self.need(octets)?;
        let taken = Arc::clone(&self.kibibytes).try_acquire_many_owned(need);
        let taken = taken.map_err(|_| NoRoom::Now)?;
        Ok(Room {
            kibibytes: vec![Arc::new(taken)],
        })
    }

    /// The same, as soon as there is.
    pub(crate) async fn take(&self, octets: usize) -> Result<Room, NoRoom> {
        let need = self.need(octets)?;
        let taken = Arc::clone(&self.kibibytes).acquire_many_owned(need);
        let taken = taken.await.map_err(|_| NoRoom::Ever)?;
        Ok(Room {
            kibibytes: vec![Arc::new(taken)],
        })
    }

    fn need(&self, octets: usize) -> Result<u32, NoRoom> {
        let kibibytes = octets.saturating_mul(COPIES) >> 10;
        let need = u32::try_from(kibibytes).unwrap_or(u32::MAX);
        let need = need.saturating_add(1);
        (need <= self.all).then_some(need).ok_or(NoRoom::Ever)
    }
}

/// Octets of a mail that was opened.
pub(crate) struct Plain {
    octets: Secret,
    _room: Option<Arc<Room>>,
}

impl Plain {
    /// In this room.
    pub(crate) fn new(octets: Secret, room: Option<Arc<Room>>) -> Self {
        Self {
            octets,
            _room: room,
        }
    }
}

impl AsRef<[u8]> for Plain {
    fn as_ref(&self) -> &[u8] {
        self.octets.expose()
    }
}

impl From<Plain> for MailBytes {
    fn from(plain: Plain) -> Self {
        Self::lent(Arc::new(plain))
    }
}

/// What was opened in another process, with the room that is held for it here.
struct Lodged {
    octets: MailBytes,
    _rooms: Arc<Vec<Room>>,
}

impl AsRef<[u8]> for Lodged {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

/// The same octets; the rooms are given back with the last of them.
pub(crate) fn lodged(octets: MailBytes, rooms: &Arc<Vec<Room>>) -> MailBytes {
    MailBytes::lent(Arc::new(Lodged {
        octets,
        _rooms: Arc::clone(rooms),
    }))
}

/// How often a content lies in memory while its mail is open, at most: as it was decoded, opened, made a message, read,
/// wrapped, and sent.
const COPIES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_fit_waits_or_never_fits() {
        let memory = Memory::new(16 << 20);
        let first = memory.try_take(2 << 20).unwrap();
        assert_eq!(memory.try_take(2 << 20).unwrap_err(), NoRoom::Now);
        assert_eq!(memory.try_take(3 << 20).unwrap_err(), NoRoom::Ever);
        assert_eq!(memory.take(usize::MAX).await.unwrap_err(), NoRoom::Ever);
        // A small one finds a place beside a large one.
        let small = memory.try_take(10).unwrap();
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.take(2 << 20).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        drop(small);
        assert!(memory.try_take(2 << 20).is_ok());
    }

    #[test]
    fn room_is_given_back_with_the_last_who_holds_the_octets() {
        let memory = Memory::new(16 << 20);
        let room = Arc::new(memory.try_take(2 << 20).unwrap());
        let canary = Secret::new(b"canary".to_vec());
        let bytes = MailBytes::from(Plain::new(canary, Some(room)));
        let other = bytes.clone();
        assert!(!format!("{bytes:?}").contains("canary"));
        assert!(!bytes.is_mapped());
        drop(bytes);
        assert!(memory.try_take(2 << 20).is_err());
        assert_eq!(&other[..], b"canary");
        drop(other);
        assert!(memory.try_take(2 << 20).is_ok());
    }
}
