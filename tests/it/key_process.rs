//! The key process between a test's own edge and workers.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use kenin_keys::protocol::{Grant, Reach, Sign, Transaction, Unwrap};
use kenin_keys::{
    EdgeClient, Kek, KeyFacts, KeyFolder, KeyId, SealedKey, State, Uses, WorkerClient,
};
use kenin_pki::Address;
use kenin_pki::crypto::{
    Aes, DigestAlgorithm, Kdf, KeyType, KeyWrap, Secret, SignatureAlgorithm, SigningKey, SoftKey,
    Wrapped, Wrapping,
};
use kenin_tests::parts;
use kenin_tests::world::{Folder, wait_for, write_secret};
use openssl::pkey::PKey;
use rustix::process::Pid;

pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const BOB: &str = "bob@example.com";

/// A key process, started as `kenin run` starts it.
pub(crate) struct KeyProcess {
    child: Child,
    pub(crate) edge: EdgeClient,
    /// What the edge speaks over.
    pub(crate) line: UnixStream,
    door: UnixStream,
    pub(crate) alice: KeyFacts,
    pub(crate) bob: KeyFacts,
    /// The numbers that nobody else may know.
    pub(crate) private: [Vec<u8>; 2],
    pub(crate) folder: Folder,
}

impl KeyProcess {
    /// With a key of Alice's and one of Bob's.
    pub(crate) fn start() -> Self {
        Self::at_level("warn")
    }

    /// The same, with a log that says so much.
    pub(crate) fn at_level(level: &str) -> Self {
        Self::writing(level, |folder| File::create(folder.join("log")).unwrap())
    }

    /// The same, which is written there.
    pub(crate) fn writing(level: &str, log: impl FnOnce(&Folder) -> File) -> Self {
        let folder = Folder::new();
        write_secret(&folder.join("kek"), &[7; 32]);
        let kek = Kek::from_key(&Secret::new(vec![7; 32])).unwrap();
        fs::create_dir(folder.join("state")).unwrap();
        let keys = KeyFolder::create(&folder.join("state/keys")).unwrap();
        let (alice, hers) = add(&keys, &kek, ALICE);
        let (bob, his) = add(&keys, &kek, BOB);
        let state = folder.join("state");
        let settings = format!(
            "hostname = \"gw.example.jp\"\nstate_dir = \"{}\"\n[next_hop]\naddress = \"127.0.0.1:2\"\n\
             [[listener]]\naddress = \"127.0.0.1:1\"\nmode = \"before-queue\"\n[keys]\nkey_file = \"kek\"\n\
             [log]\nlevel = \"{level}\"\n",
            state.display()
        );
        fs::write(folder.join("kenin.toml"), settings).unwrap();
        let (line, theirs) = UnixStream::pair().unwrap();
        let (door, inside) = UnixStream::pair().unwrap();
        let mut command = Command::new(parts::kenin());
        command
            .arg("--config")
            .arg(folder.join("kenin.toml"))
            .args(["key-process", "--log-format", "json"])
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(inside))
            .stderr(log(&folder));
        let child = command.spawn().unwrap();
        drop(command);
        let mut edge = EdgeClient::new(line.try_clone().unwrap());
        let mut known = edge.keys().expect("it says which keys there are");
        known.sort_by_key(|key| key.addresses[0].to_string());
        assert_eq!(known, [alice.clone(), bob.clone()]);
        Self {
            child,
            edge,
            line,
            door,
            alice,
            bob,
            private: [hers, his],
            folder,
        }
    }

    /// A connection that reaches so far, as it is.
    pub(crate) fn connection(&self, reach: Reach) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let said = reach.to_octets();
        kenin_sys::send_descriptor_with(self.door.as_fd(), theirs.as_fd(), &said).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        ours
    }

    /// Whoever has this mail in hand.
    pub(crate) fn worker(&self, mail: Transaction) -> WorkerClient {
        WorkerClient::new(self.connection(Reach::One(mail)))
    }

    /// A mail to Alice from here.
    pub(crate) fn mail(&mut self, sender: Option<&str>, seconds: u32) -> Transaction {
        let transaction = Transaction::random().unwrap();
        let grant = Grant {
            transaction,
            tenant: "default".to_owned(),
            recipients: vec![address(ALICE)],
            sender: sender.map(address),
            client: Some("192.0.2.1".parse().unwrap()),
            seconds,
        };
        self.edge.grant(grant).unwrap();
        transaction
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// How often the log says this.
    pub(crate) fn said(&self, what: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(what))
            .count()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_for("the key process ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for KeyProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts a key of somebody's there; what everybody may know of it, and the number that nobody may.
fn add(folder: &KeyFolder, kek: &Kek, person: &str) -> (KeyFacts, Vec<u8>) {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let facts = KeyFacts {
        id: KeyId::random().unwrap(),
        tenant: "default".to_owned(),
        version: 1,
        state: State::Active,
        uses: Uses {
            decrypt: true,
            sign: true,
        },
        addresses: vec![address(person)],
        public: key.public_key().clone(),
        certificates: Vec::new(),
    };
    let pkcs8 = Secret::new(key.to_pkcs8().unwrap());
    let sealed = SealedKey::seal(facts.clone(), &pkcs8, kek).unwrap();
    folder.change().unwrap().add(&sealed).unwrap();
    let read = PKey::private_key_from_pkcs8(pkcs8.expose()).unwrap();
    let private = read.ec_key().unwrap().private_key().to_vec_padded(32);
    (facts, private.unwrap())
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) fn unwrap(transaction: Transaction, recipient: &str, facts: &KeyFacts) -> Unwrap {
    Unwrap {
        transaction,
        recipient: address(recipient),
        key: facts.id,
        length: 16,
        wrapped: wrapped(facts, &Secret::new(vec![9; 16])),
    }
}

/// A content-encryption key for the owner of this one.
pub(crate) fn wrapped(facts: &KeyFacts, content_key: &Secret) -> Wrapped {
    let wrapping = Wrapping::Agreement {
        kdf: Kdf::Hkdf(DigestAlgorithm::Sha256),
        wrap: KeyWrap::Aes(Aes::Bits128),
        shared_info: Vec::new(),
    };
    Wrapped::wrap(wrapping, &facts.public, content_key).unwrap()
}

/// SignedAttributes of a mail: content-type data, and a digest.
pub(crate) fn attributes() -> Vec<u8> {
    const TYPE: &[u8] = b"\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03\x31\x0b\
        \x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    const DIGEST: &[u8] = b"\x30\x2f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04\x31\x22\x04\x20";
    let mut set = vec![0x31, 0x4b];
    set.extend_from_slice(TYPE);
    set.extend_from_slice(DIGEST);
    set.extend_from_slice(&[5; 32]);
    set
}

pub(crate) fn sign(transaction: Transaction, facts: &KeyFacts, attributes: Vec<u8>) -> Sign {
    Sign {
        transaction,
        key: facts.id,
        algorithm: SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
        attributes,
    }
}
