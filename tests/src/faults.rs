//! Faults on every link: one after every byte of a dialogue, and each kind in each phase. The ledger
//! says whether an answer was untrue; after each fault the next mail has to go through. Where a mail
//! becomes several copies, it is the same mail that is tried again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::client::Envelope;
use crate::kenin::{Gateway, Setup};
use crate::ledger::{
    Account, Answers, Circumstances, Courier, Ledger, Letters, Road, Truth, Try, behind_postfix,
    fan,
};
use crate::postfix::Postfix;
use crate::proxy::{Fault, Moment, Proxy, Way};
use crate::sink::{Behaviour, Sink};
use crate::world::{PATIENCE, wait_for};

mod divided;

pub use divided::{Branch, Cuts, cross_divided, cut_divided};

/// A link with a proxy on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Between the client and Kenin, SMTP.
    Client,
    /// Between the client and Kenin, LMTP.
    LmtpClient,
    /// Between Kenin and the next hop.
    NextHop,
    /// The same, for a client that speaks LMTP to Kenin.
    LmtpNextHop,
    /// Between a real Postfix and Kenin as its milter.
    Milter,
}

impl Link {
    fn is_lmtp(self) -> bool {
        matches!(self, Self::LmtpClient | Self::LmtpNextHop)
    }

    fn is_of_the_next_hop(self) -> bool {
        matches!(self, Self::NextHop | Self::LmtpNextHop)
    }
}

/// Faults after so many bytes of a dialogue, one connection each.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Sweep {
    pub link: Link,
    pub way: Way,
    pub fault: Fault,
    /// To recipients who are treated differently.
    pub divided: bool,
}

/// Breaks a connection after every byte of its way, in sessions side by side; gives the account, after
/// how many different bytes, and of how many.
///
/// # Panics
/// When a mail does not go through afterwards.
pub fn sweep(sweep: &Sweep) -> (Account, usize, usize) {
    let mut stage = Stage::new(sweep.link, sweep.divided);
    stage.only = Some(if sweep.divided { UNSIGNED } else { 0 });
    stage.clean();
    let length = stage.faulty.carried(sweep.way);
    assert!(length > 150, "{sweep:?}: only {length} bytes");
    let places = length + 1;
    let (way, fault) = (sweep.way, sweep.fault);
    stage
        .faulty
        .script(move |byte| (byte <= length).then_some((Moment::Byte(way, byte), fault)));
    let fired = stage.faulty.fired();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while stage.faulty.connections() < places {
                    stage.attempt(PATIENCE);
                }
            });
        }
    });
    // The last byte is passed on before the connection breaks, and a goodbye may come late: the answer
    // may be here sooner.
    wait_for("the last fault happens", || {
        stage.faulty.fired() >= fired + places
    });
    stage.faulty.cut_all();
    let fired = stage.faulty.fired() - fired;
    stage.faulty.calm();
    stage.clean();
    (stage.close(), fired, places)
}

/// Every fault in every phase of a link, and a clean mail after each.
///
/// # Panics
/// When a fault does not happen, a mail that is only slow is not taken, or the next mail is not.
pub fn matrix(link: Link) -> Account {
    let stage = Stage::new(link, false);
    stage.clean();
    for moment in Moment::PHASES {
        for fault in Fault::ALL {
            if link.is_of_the_next_hop() {
                // What waits there for the next mail has had its greeting.
                stage.faulty.cut_all();
            }
            let before = stage.faulty.fired();
            stage.faulty.once(moment, fault);
            let cell = format!("{link:?}, {moment:?}, {fault:?}");
            if fault.is_only_slow() {
                let (_, told) = stage.attempt(PATIENCE);
                assert!(told.is_accepted(), "{cell}: {told:?}");
            } else {
                // Nobody waits for ever for what does not come: the client leaves.
                let (id, _) = stage.attempt(IMPATIENCE);
                if fault == Fault::Garbage {
                    stage.ledger.garbled(&id);
                }
                if fault == Fault::Garbage && moment == Moment::InData {
                    let truth = if link.is_of_the_next_hop() {
                        Truth::Changed
                    } else {
                        Truth::NotGood
                    };
                    stage.ledger.changed(&id, truth);
                }
                stage.faulty.cut_all();
            }
            assert_eq!(stage.faulty.fired(), before + 1, "{cell} did not happen");
            stage.clean();
        }
    }
    stage.close()
}

/// Kenin with a proxy on one link.
struct Stage {
    link: Link,
    gateway: Gateway,
    postfix: Option<Postfix>,
    faulty: Proxy,
    sink: Sink,
    front: SocketAddr,
    ledger: Ledger,
    letters: Letters,
    /// A sweep needs dialogues of one length.
    only: Option<usize>,
    to: Vec<String>,
    next: AtomicUsize,
    descriptors: usize,
    memory: u64,
}

impl Stage {
    fn new(link: Link, divided: bool) -> Self {
        let sink = Sink::with(Behaviour {
            keeps_bytes: false,
            ..Behaviour::default()
        });
        let mut postfix = None;
        let (mut gateway, faulty, front);
        let setup = |next_hop| Setup {
            mode: if link.is_lmtp() {
                Road::Lmtp.mode()
            } else {
                Road::Smtp.mode()
            },
            mail: if divided { fan::RULES } else { "" }.to_owned(),
            ..Setup::new(next_hop)
        };
        match link {
            Link::Client | Link::LmtpClient => {
                gateway = Gateway::start(&setup(sink.address));
                faulty = Proxy::start(gateway.address);
                front = faulty.address;
            }
            Link::NextHop | Link::LmtpNextHop => {
                faulty = Proxy::start(sink.address);
                gateway = Gateway::start(&setup(faulty.address));
                front = gateway.address;
            }
            Link::Milter => {
                let (beside, started) = behind_postfix(&sink, Road::Milter.mode(), "");
                gateway = started;
                faulty = Proxy::start(gateway.address);
                beside.execute(&format!(
                    "postconf -e 'smtpd_milters=inet:{}'",
                    faulty.address
                ));
                front = beside.front;
                postfix = Some(beside);
            }
        }
        let (descriptors, memory) = (gateway.descriptors(), gateway.resident_kib());
        Self {
            link,
            gateway,
            postfix,
            faulty,
            sink,
            front,
            ledger: Ledger::default(),
            letters: Letters::new(),
            only: None,
            to: if divided {
                fan::whole_circle()
            } else {
                vec!["reader@example.jp".to_owned()]
            },
            next: AtomicUsize::new(0),
            descriptors,
            memory,
        }
    }

    /// Hands a new mail over once, over a connection of its own.
    fn attempt(&self, patience: Duration) -> (String, Try) {
        let letter = self.letter();
        let told = self.hand_over(&letter, patience);
        (letter.id, told)
    }

    /// A new mail, in the books.
    fn letter(&self) -> Letter {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let id = format!("<{:?}.{number:06}@faults.example>", self.link);
        let envelope = Envelope {
            to: self.to.clone(),
            ..Envelope::new("sender@example.jp", "reader@example.jp")
        };
        let which = self.only.unwrap_or(number);
        let raw = self.letters.entered(which, &id, &envelope, &self.ledger);
        Letter { id, envelope, raw }
    }

    fn courier(&self, patience: Duration) -> Courier {
        let courier = Courier::new(self.front, patience);
        if self.link.is_lmtp() {
            courier.lmtp()
        } else {
            courier
        }
    }

    fn hand_over(&self, letter: &Letter, patience: Duration) -> Try {
        let mut courier = self.courier(patience);
        let told = courier.hand_over(&self.ledger, &letter.id, &letter.envelope, &letter.raw);
        courier.quit();
        told
    }

    /// A mail without a fault has to be taken.
    fn clean(&self) {
        let (id, told) = self.attempt(PATIENCE);
        assert!(told.open().is_empty(), "{id}: {told:?}");
        assert!(told.is_accepted() || self.link.is_lmtp(), "{id}: {told:?}");
    }

    fn close(mut self) -> Account {
        if let Some(postfix) = &self.postfix {
            wait_for("Postfix's queue is empty", || postfix.queued() == 0);
        }
        self.faulty.cut_all();
        let mut answers = Answers::of_the_sink();
        if self.postfix.is_some() {
            answers = answers.and_postfix();
        }
        let mut left_behind = self.gateway.left_behind(self.descriptors, PATIENCE);
        let memory = self.gateway.resident_kib();
        if memory > self.memory + MEMORY_SLACK_KIB {
            left_behind.push(format!("{memory} KiB, {} before", self.memory));
        }
        let mut hop_breaks = 0;
        if self.link.is_of_the_next_hop() {
            hop_breaks = self.faulty.broken();
            // What the sink says to a command that was changed on its way.
            answers = answers.and("500 5.5.2 What?");
        }
        let circumstances = Circumstances {
            answers,
            hop_breaks,
            left_behind,
            ..Circumstances::default()
        };
        self.ledger.check(&self.sink.records(), &circumstances)
    }
}

/// A mail with its envelope.
struct Letter {
    id: String,
    envelope: Envelope,
    raw: Vec<u8>,
}

/// The letter that is short, and refused to a strict recipient; the one that is refused as tampered
/// with.
const UNSIGNED: usize = 2;
const TAMPERED: usize = 3;
/// How long a client waits where no answer is to come.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// What an allocator keeps of a few sessions side by side.
const MEMORY_SLACK_KIB: u64 = 64 << 10;
