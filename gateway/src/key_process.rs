//! `kenin key-process`: what `kenin run` starts to work with private keys, and what nobody else does. It reads the
//! settings, opens the keys, gives up every right that it needs no more, and serves its two sockets until the edge goes.
//!
//! It parses no mail and has no network. Its log is its own: who asks for a key cannot reach it.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use kenin_keys::protocol::Transaction;
use kenin_keys::{
    Alert, Event, FolderCause, FolderError, HeldKey, Keeper, KeyId, Log, Moment, Network, Outcome,
    Server, Time, Tokens, abort_on_panic,
};
use kenin_pki::address::Address;
use kenin_sys::{Files, Otherwise, Role};
use tracing::{debug, error, info, warn};

use crate::config::{Config, Keys, KeysError, LogAddresses};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::run::RunOptions;

/// Runs until the edge goes.
pub(crate) fn run(options: &RunOptions) -> ExitCode {
    abort_on_panic();
    match serve(options) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            log::last_words(&format!("kenin key-process: {failure}\n"));
            failure.exit.into()
        }
    }
}

fn serve(options: &RunOptions) -> Result<(), Failure> {
    kenin_sys::ignore_termination().map_err(unavailable)?;
    kenin_sys::forbid_core_dumps().map_err(unavailable)?;
    // The edge says it where this cannot be; cores are forbidden anyway.
    let _ = kenin_sys::keep_out_of_dumps();
    kenin_sys::forbid_tracing().map_err(unavailable)?;
    // In the place of what is usually there; the numbers are never used again.
    let edge = socket(io::stdin().as_fd())?;
    let door = socket(io::stdout().as_fd())?;
    let config = Config::load(&options.config)
        .map_err(|error| Failure::new(Exit::Configuration, error.report()))?;
    let keys = config.keys.as_ref();
    let keys = keys.ok_or_else(|| Failure::new(Exit::Configuration, "there is no [keys]"))?;
    let mistaken = |error: KeysError| {
        if error.is_away() {
            return Failure::new(Exit::Unavailable, error.to_string());
        }
        let mistake = config.mistake("keys", error.to_string());
        Failure::new(Exit::Configuration, mistake.report())
    };
    let settings = keys
        .token_settings()
        .map_err(|error| mistaken(error.into()))?;
    let role = match settings.is_empty() {
        true => Role::Keys,
        false => Role::Tokens,
    };
    // The threads of the modules begin before the process gives up what they need.
    let tokens = Tokens::start(settings);
    let (held, troubles) = open(keys, &tokens).map_err(mistaken)?;
    let locked = kenin_sys::lock_memory();
    let files = kenin_sys::confine(role, Otherwise::Refuse).map_err(|error| {
        let text = format!("this process cannot be confined: {error}");
        Failure::new(Exit::Unavailable, text)
    })?;
    // After the rights are gone: what it starts shall have none either.
    log::install_record(&config.log, options.log_format, module_path!());
    if let Err(error) = locked {
        error!(%error, "private keys may be written to the swap space");
    }
    if files != Files::OutOfReach {
        warn!("this kernel keeps files from the key process by system calls alone, or not all");
    }
    for trouble in tokens.troubles() {
        error!(error = %trouble, "a token is not used");
    }
    for trouble in troubles {
        error!(error = %trouble, "a key is not used");
    }
    let journal = Journal {
        addresses: config.log.addresses,
    };
    let time = Time {
        now: kenin_sys::since_boot,
        wait: std::thread::sleep,
    };
    let server = Server::new(Keeper::new(held, journal), time);
    let ended = server.run(edge, door);
    ended.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))
}

/// The keys that open, or are in one of these tokens, and why the others are not used. A token that guards the secret is
/// asked here, and not again.
pub(crate) fn open(
    keys: &Keys,
    tokens: &Tokens,
) -> Result<(Vec<HeldKey>, Vec<FolderError>), KeysError> {
    let mut unlocker = keys.unlocker(tokens)?;
    let folder = match keys.open_folder() {
        Ok(folder) => folder,
        // Before the first key is imported.
        Err(error) if is_absent(&error) => return Ok((Vec::new(), Vec::new())),
        Err(error) => return Err(error.into()),
    };
    let (mut held, mut troubles) = (Vec::new(), Vec::new());
    for key in folder.held(&mut unlocker, tokens)? {
        match key {
            Ok(key) => held.push(key),
            Err(error) => troubles.push(error),
        }
    }
    // A secret that opens none of the keys is a mistake, and not a folder without keys: all mail would go on closed and
    // unsigned, and a reload would take the keys away that work.
    if held.is_empty()
        && let Some(at) = troubles.iter().position(is_of_another_secret)
    {
        return Err(troubles.swap_remove(at).into());
    }
    Ok((held, troubles))
}

fn is_of_another_secret(error: &FolderError) -> bool {
    matches!(&error.cause, FolderCause::Seal(error) if error.is_of_another_secret())
}

fn is_absent(error: &FolderError) -> bool {
    matches!(&error.cause, FolderCause::Io(error) if error.kind() == io::ErrorKind::NotFound)
}

fn socket(place: BorrowedFd<'_>) -> Result<UnixStream, Failure> {
    let own = place.try_clone_to_owned().map_err(unavailable)?;
    let stream = UnixStream::from(own);
    // Whoever calls this from a shell has put none there.
    match stream.peer_addr() {
        Ok(_) => Ok(stream),
        Err(_) => Err(Failure::new(
            Exit::Usage,
            "only \"kenin run\" starts this command",
        )),
    }
}

fn unavailable(error: io::Error) -> Failure {
    Failure::new(Exit::Unavailable, error.to_string())
}

/// The log of the key process: each use of a key is a line, and what should not wait until somebody reads it is an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journal {
    /// How much of an address it shows.
    pub(crate) addresses: LogAddresses,
}

impl Journal {
    fn shown(self, address: &Address) -> String {
        let address = address.to_string();
        match (self.addresses, address.rsplit_once('@')) {
            (LogAddresses::Domain, Some((_, domain))) => format!("*@{domain}"),
            (LogAddresses::Domain, None) | (LogAddresses::Full, _) => address,
        }
    }
}

impl Log for Journal {
    fn record(&mut self, _: Moment, event: &Event) -> bool {
        match event {
            Event::Grant {
                transaction,
                tenant,
                recipients,
                network,
                outcome,
            } => {
                let recipients = u64::try_from(*recipients).unwrap_or(u64::MAX);
                let (transaction, network) = (transaction.to_string(), Shown(*network).to_string());
                match refusal(*outcome) {
                    None => info!(transaction, tenant, recipients, network, "granted"),
                    Some(why) => {
                        warn!(transaction, tenant, recipients, network, why, "not granted");
                    }
                }
            }
            Event::Released { transaction } => {
                debug!(transaction = transaction.to_string(), "released");
            }
            Event::Unwrap {
                transaction,
                recipient,
                key,
                outcome,
            } => self.used("unwrap", transaction, Some(recipient), *key, *outcome),
            Event::Sign {
                transaction,
                key,
                outcome,
            } => self.used("sign", transaction, None, *key, *outcome),
            Event::Opened {
                transaction,
                recipient,
                key,
                outcome,
            } => {
                let (transaction, key) = (transaction.to_string(), key.to_string());
                let recipient = self.shown(recipient);
                match refusal(*outcome) {
                    None => debug!(transaction, recipient, key, "opened"),
                    Some(why) => warn!(transaction, recipient, key, why, "said to have opened"),
                }
            }
            Event::Shown { key } => {
                let key = key.map(|key| key.to_string());
                let key = key.as_deref();
                debug!(key, "told which keys there are");
            }
            Event::Away { transaction, key } => {
                let (transaction, key) = (transaction.to_string(), key.to_string());
                warn!(transaction, key, "the key is not at hand");
            }
            Event::Unused { transaction, key } => {
                let (transaction, key) = (transaction.to_string(), key.to_string());
                warn!(
                    transaction,
                    key, "too many answers wait: the key was not used"
                );
            }
            Event::Untold { refusals } => {
                warn!(refusals, "more was refused than is told one by one");
            }
            Event::TurnedAway { connections } => {
                warn!(
                    connections,
                    "connections were turned away: there are too many"
                );
            }
            Event::Alert(alert) => raise(*alert),
        }
        log::is_written()
    }
}

impl Journal {
    fn used(
        self,
        what: &'static str,
        transaction: &Transaction,
        recipient: Option<&Address>,
        key: KeyId,
        outcome: Outcome,
    ) {
        let (transaction, key) = (transaction.to_string(), key.to_string());
        let recipient = recipient.map(|recipient| self.shown(recipient));
        let recipient = recipient.as_deref();
        let late = outcome == Outcome::Delayed;
        match refusal(outcome) {
            None => info!(what, transaction, recipient, key, late, "a key was used"),
            Some(why) => warn!(what, transaction, recipient, key, why, "a key was refused"),
        }
    }
}

fn raise(alert: Alert) {
    match alert {
        Alert::Network { key, network } => {
            let (key, network) = (key.to_string(), Shown(network).to_string());
            error!(
                key,
                network, "mail of this network fails too often for this key: it stays encrypted"
            );
        }
        Alert::Key { key } => {
            let key = key.to_string();
            error!(
                key,
                "mail fails too often for this key: its answers are delayed"
            );
        }
        Alert::Work { key } => {
            let key = key.to_string();
            error!(
                key,
                "this key works more often than mail comes: it rests, and the service may be taken over"
            );
        }
        Alert::Hostile => error!("what no worker asks for was asked for: one may be taken over"),
    }
}

fn refusal(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Admitted | Outcome::Delayed => None,
        Outcome::Refused(why) => Some(why.as_str()),
    }
}

/// A network as it is written.
struct Shown(Network);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Network::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0)),
            Network::V6([a, b, c, d, e, g]) => {
                let pair = |high, low| u16::from_be_bytes([high, low]);
                let network = Ipv6Addr::new(pair(a, b), pair(c, d), pair(e, g), 0, 0, 0, 0, 0);
                write!(f, "{network}/48")
            }
            Network::Local => f.write_str("local"),
            Network::Crowd => f.write_str("others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SecretAt, WhenGone};

    #[test]
    fn networks_are_written_as_people_write_them() {
        for (network, text) in [
            (Network::V4([192, 0, 2]), "192.0.2.0/24"),
            (Network::V6([0x20, 1, 0xd, 0xb8, 0, 1]), "2001:db8:1::/48"),
            (Network::Local, "local"),
            (Network::Crowd, "others"),
        ] {
            assert_eq!(Shown(network).to_string(), text);
        }
    }

    #[test]
    fn addresses_are_shown_as_far_as_the_log_shows_any() {
        let address = Address::parse("alice@example.com").unwrap();
        for (addresses, text) in [
            (LogAddresses::Full, "alice@example.com"),
            (LogAddresses::Domain, "*@example.com"),
        ] {
            assert_eq!(Journal { addresses }.shown(&address), text);
        }
    }

    #[test]
    fn without_a_folder_there_are_no_keys_and_with_a_wrong_one_there_is_an_error() {
        use std::fs;
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("kek");
        fs::write(&secret, [7; 32]).unwrap();
        fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let keys = Keys {
            folder: dir.path().join("keys"),
            seal: SecretAt::Key(secret),
            previous: None,
            when_gone: WhenGone::default(),
            tokens: Vec::new(),
        };
        let none = Tokens::none();
        let (held, troubles) = open(&keys, &none).unwrap();
        assert!(held.is_empty() && troubles.is_empty());
        fs::create_dir(&keys.folder).unwrap();
        fs::set_permissions(&keys.folder, PermissionsExt::from_mode(0o755)).unwrap();
        let error = open(&keys, &none).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
}
