//! One key process as the edge sees it: its line, the keys it said it has, and connections of the kind that workers
//! have. Never starts it, and never holds a private key.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenin_keys::protocol::{EdgeRequest, Reach, Transaction};
use kenin_keys::{ClientError, EdgeClient, Hand, KeyFacts, NoKey, WorkerClient, mailbox};
use kenin_pki::address::Address;

use super::line::Line;

/// A key process. It ends when this is dropped.
pub(super) struct Vault {
    pub(super) line: Line,
    /// By tenant and mailbox.
    owners: HashMap<(String, String), Vec<Arc<KeyFacts>>>,
    keys: usize,
    /// Where connections are handed in.
    door: UnixStream,
    /// Connections of the edge's own that no mail uses now.
    free: Mutex<Vec<Arc<Mutex<WorkerClient>>>>,
}

impl Vault {
    /// One that has these keys. Within a runtime.
    pub(super) fn new(line: UnixStream, door: UnixStream, keys: Vec<KeyFacts>) -> io::Result<Self> {
        let count = keys.len();
        let mut owners: HashMap<_, Vec<_>> = HashMap::new();
        for key in keys {
            let key = Arc::new(key);
            for address in &key.addresses {
                let owner = (key.tenant.clone(), mailbox(address));
                owners.entry(owner).or_default().push(Arc::clone(&key));
            }
        }
        door.set_write_timeout(Some(AT_THE_DOOR))?;
        Ok(Self {
            line: Line::open(line)?,
            owners,
            keys: count,
            door,
            free: Mutex::default(),
        })
    }

    /// How many keys it has.
    pub(super) const fn len(&self) -> usize {
        self.keys
    }

    /// The keys of a mailbox.
    pub(super) fn of(&self, tenant: &str, address: &Address) -> &[Arc<KeyFacts>] {
        let owner = (tenant.to_owned(), mailbox(address));
        self.owners.get(&owner).map_or(&[][..], Vec::as_slice)
    }

    /// Works with the keys of a mail over a connection that nobody else uses meanwhile. It blocks.
    pub(super) fn by_hand<T>(
        &self,
        transaction: Transaction,
        work: impl FnOnce(&Hand) -> Result<T, NoKey>,
    ) -> Result<T, NoKey> {
        let free = self.lock().pop();
        let client = match free {
            Some(client) => client,
            None => {
                let connection = self.connection(Reach::All).map_err(|_| NoKey::Gone)?;
                Arc::new(Mutex::new(WorkerClient::new(connection)))
            }
        };
        let done = work(&Hand::new(Arc::clone(&client), transaction));
        // What comes late on a connection that did not answer would be nobody's.
        if !matches!(done, Err(NoKey::Gone)) {
            let mut free = self.lock();
            if free.len() < MAX_FREE {
                free.push(client);
            }
        }
        done
    }

    /// Says that the mail has ended.
    pub(super) fn release(&self, transaction: Transaction) {
        self.line.tell(&EdgeRequest::Release(transaction));
    }

    /// A connection of the kind that workers have, which reaches so far. Nobody waits on it for ever, whoever has it.
    pub(super) fn connection(&self, reach: Reach) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let said = reach.to_octets();
        kenin_sys::send_descriptor_with(self.door.as_fd(), theirs.as_fd(), &said)?;
        ours.set_read_timeout(Some(PATIENCE))?;
        ours.set_write_timeout(Some(PATIENCE))?;
        Ok(ours)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Mutex<WorkerClient>>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// Asks a key process that was just started which keys it has; so it is known to be there. It blocks.
pub(super) fn introduce(
    line: &UnixStream,
    patience: Duration,
) -> Result<Vec<KeyFacts>, ClientError> {
    line.set_read_timeout(Some(patience))?;
    let keys = EdgeClient::new(line.try_clone()?).keys()?;
    line.set_read_timeout(None)?;
    Ok(keys)
}

/// A key that is attacked answers two seconds late, and a token may take five.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever takes connections in does nothing else.
const AT_THE_DOOR: Duration = Duration::from_secs(1);
/// As many as mails are worked on at once, as a rule.
const MAX_FREE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A key process that was stopped held up every mail for which a worker was started, once the door was full.
    #[tokio::test]
    async fn nobody_waits_for_ever_at_a_door_that_nobody_opens() {
        let (line, _theirs) = UnixStream::pair().unwrap();
        let (door, _inside) = UnixStream::pair().unwrap();
        let vault = Vault::new(line, door, Vec::new()).unwrap();
        let refused = (0..10_000).find_map(|_| vault.connection(Reach::All).err());
        assert!(refused.is_some());
    }
}
