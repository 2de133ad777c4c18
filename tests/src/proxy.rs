//! A proxy that does to a connection what networks and dying machines do, at a chosen moment of the
//! dialogue: SMTP, LMTP or milter. It stands between a client and Kenin, between Kenin and the next
//! hop, or before Kenin's milter socket. It decides nothing by time or chance.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::world::{free_address, wait_for};

mod moment;

pub use moment::{Moment, Way};
use moment::{Place, Watcher};

/// What is done to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// From now on every piece comes late.
    Latency(Duration),
    /// Nothing goes either way for so long; then all goes on.
    Pause(Duration),
    /// Nothing goes either way until [`Proxy::cut_all`].
    Stall,
    /// From now on every byte is a segment of its own.
    SingleBytes,
    /// Both sides see a reset.
    Reset,
    /// Both sides see an end.
    Cut,
    /// The receiving side sees an end; the other direction goes on.
    HalfClose,
    /// A byte that nobody sent, in front of the rest.
    Garbage,
}

impl Fault {
    /// The faults of the matrix.
    pub const ALL: [Self; 8] = [
        Self::Latency(Duration::from_millis(5)),
        Self::Pause(Duration::from_millis(200)),
        Self::Stall,
        Self::SingleBytes,
        Self::Reset,
        Self::Cut,
        Self::HalfClose,
        Self::Garbage,
    ];

    /// Whether a patient client gets its mail through all the same.
    pub fn is_only_slow(self) -> bool {
        matches!(self, Self::Latency(_) | Self::Pause(_) | Self::SingleBytes)
    }
}

type Script = dyn Fn(usize) -> Option<(Moment, Fault)> + Send + Sync;

struct State {
    to: Mutex<SocketAddr>,
    /// The fault of each connection, by its number.
    script: Mutex<Arc<Script>>,
    connections: AtomicUsize,
    fired: AtomicUsize,
    broken: AtomicUsize,
    carried: [AtomicUsize; 2],
    /// The same for each connection since the script began.
    each: Mutex<BTreeMap<usize, [usize; 2]>>,
    open: Mutex<BTreeMap<usize, Arc<Pair>>>,
    /// What clients said, where somebody wants to know.
    heard: Option<Mutex<Vec<u8>>>,
    stopped: AtomicBool,
}

/// A listening proxy.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// One that only passes on.
    pub fn start(to: SocketAddr) -> Self {
        Self::with(to, None)
    }

    /// The same, which keeps what clients say.
    pub fn listening(to: SocketAddr) -> Self {
        Self::with(to, Some(Mutex::default()))
    }

    fn with(to: SocketAddr, heard: Option<Mutex<Vec<u8>>>) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).unwrap();
        let state = Arc::new(State {
            to: Mutex::new(to),
            script: Mutex::new(Arc::new(|_| None)),
            connections: AtomicUsize::new(0),
            fired: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            carried: [AtomicUsize::new(0), AtomicUsize::new(0)],
            each: Mutex::default(),
            open: Mutex::default(),
            heard,
            stopped: AtomicBool::new(false),
        });
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                join(&shared, stream);
            }
        });
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    /// From the next connection on (which is number 0 again), this is done to each.
    pub fn script(
        &self,
        script: impl Fn(usize) -> Option<(Moment, Fault)> + Send + Sync + 'static,
    ) {
        *self.state.script.lock().unwrap() = Arc::new(script);
        self.state.connections.store(0, Ordering::SeqCst);
        self.state.each.lock().unwrap().clear();
    }

    /// The next connection that comes to the moment suffers the fault, no other.
    pub fn once(&self, moment: Moment, fault: Fault) {
        let done = Arc::new(AtomicBool::new(false));
        let state = Arc::downgrade(&self.state);
        let before = self.fired();
        self.script(move |_| {
            let fired = state
                .upgrade()
                .is_some_and(|state| state.fired.load(Ordering::SeqCst) > before);
            done.fetch_or(fired, Ordering::SeqCst);
            (!done.load(Ordering::SeqCst)).then_some((moment, fault))
        });
    }

    /// Passes on again.
    pub fn calm(&self) {
        self.script(|_| None);
    }

    /// How many connections it has taken since the script began.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many faults have happened.
    pub fn fired(&self) -> usize {
        self.state.fired.load(Ordering::SeqCst)
    }

    /// How many bytes the longest connection had, this way.
    pub fn carried(&self, way: Way) -> usize {
        self.state.carried[way as usize].load(Ordering::SeqCst)
    }

    /// How many bytes a connection had, this way, by its number since the script began.
    pub fn carried_by(&self, number: usize, way: Way) -> usize {
        let each = self.state.each.lock().unwrap();
        each.get(&number).map_or(0, |carried| carried[way as usize])
    }

    /// How many of them broke a connection, or changed what it says.
    pub fn broken(&self) -> usize {
        self.state.broken.load(Ordering::SeqCst)
    }

    /// What clients have said so far, on all connections.
    ///
    /// # Panics
    /// When it does not listen to them.
    pub fn heard(&self) -> Vec<u8> {
        let heard = self.state.heard.as_ref().expect("it listens to clients");
        heard.lock().unwrap().clone()
    }

    /// Ends every connection, the stalled ones too.
    pub fn cut_all(&self) {
        for pair in self.state.open.lock().unwrap().values() {
            pair.end();
        }
        wait_for("the proxy's connections end", || {
            self.state.open.lock().unwrap().is_empty()
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for pair in self.state.open.lock().unwrap().values() {
            pair.end();
        }
    }
}

/// The two sockets of a connection, and what is done to it.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    watcher: Mutex<Watcher>,
    fault: Fault,
    struck: AtomicBool,
    ended: AtomicBool,
}

impl Pair {
    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    fn reset(&self) {
        // Disconnecting sends RST at once, however many handles there are.
        let _ = rustix::net::connect_unspec(&self.client);
        let _ = rustix::net::connect_unspec(&self.server);
        self.end();
    }
}

fn join(state: &Arc<State>, client: TcpStream) {
    let to = *state.to.lock().unwrap();
    let Ok(server) = TcpStream::connect(to) else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let number = state.connections.fetch_add(1, Ordering::SeqCst);
    let script = state.script.lock().unwrap().clone();
    let (moment, fault) = match script(number) {
        Some((moment, fault)) => (Some(moment), fault),
        None => (None, Fault::Cut),
    };
    let pair = Arc::new(Pair {
        client,
        server,
        watcher: Mutex::new(Watcher::new(moment)),
        fault,
        struck: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    });
    // A number of its own: those of scripts begin again.
    static KEYS: AtomicUsize = AtomicUsize::new(0);
    let key = KEYS.fetch_add(1, Ordering::Relaxed);
    state.open.lock().unwrap().insert(key, pair.clone());
    let open = Arc::new(AtomicUsize::new(2));
    for way in [Way::ToServer, Way::ToClient] {
        let (state, pair, open) = (state.clone(), pair.clone(), open.clone());
        std::thread::spawn(move || {
            carry(&state, &pair, way, number);
            if open.fetch_sub(1, Ordering::SeqCst) == 1 {
                pair.end();
                state.open.lock().unwrap().remove(&key);
            }
        });
    }
}

/// Carries one direction to its end.
fn carry(state: &State, pair: &Pair, way: Way, number: usize) {
    let (mut from, mut to) = match way {
        Way::ToServer => (&pair.client, &pair.server),
        Way::ToClient => (&pair.server, &pair.client),
    };
    let mut buffer = vec![0; 16 << 10];
    let mut carried = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(n) if n > 0 => n,
            // An end is passed on as one, so that a half-closed connection stays one.
            _ => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
        };
        let bytes = &buffer[..n];
        if let (Some(heard), Way::ToServer) = (&state.heard, way) {
            heard.lock().unwrap().extend_from_slice(bytes);
        }
        carried += n;
        state.carried[way as usize].fetch_max(carried, Ordering::SeqCst);
        state.each.lock().unwrap().entry(number).or_default()[way as usize] = carried;
        let place = pair.watcher.lock().unwrap().look(way, bytes);
        let gone = match place {
            Place::NotYet => deliver(pair, &mut to, bytes),
            Place::At(at) => {
                deliver(pair, &mut to, &bytes[..at])
                    && strike(state, pair, &mut to)
                    && deliver(pair, &mut to, &bytes[at..])
            }
        };
        if !gone {
            return;
        }
    }
}

/// Does what is to be done; false when this direction is over.
fn strike(state: &State, pair: &Pair, to: &mut &TcpStream) -> bool {
    pair.struck.store(true, Ordering::SeqCst);
    // Counted first: whoever sees the connection break may come again at once.
    state.fired.fetch_add(1, Ordering::SeqCst);
    if !pair.fault.is_only_slow() {
        state.broken.fetch_add(1, Ordering::SeqCst);
    }
    match pair.fault {
        Fault::Latency(_) | Fault::SingleBytes => true,
        Fault::Pause(time) => {
            std::thread::sleep(time);
            true
        }
        Fault::Stall => {
            wait_for("a stalled connection is cut", || {
                pair.ended.load(Ordering::SeqCst)
            });
            false
        }
        Fault::Reset => {
            pair.reset();
            false
        }
        Fault::Cut => {
            pair.end();
            false
        }
        Fault::HalfClose => {
            let _ = to.shutdown(Shutdown::Write);
            false
        }
        Fault::Garbage => to.write_all(&[0xff]).is_ok(),
    }
}

/// Passes bytes on, in the manner of a fault that has begun.
fn deliver(pair: &Pair, to: &mut &TcpStream, bytes: &[u8]) -> bool {
    let struck = pair.struck.load(Ordering::SeqCst);
    match pair.fault {
        Fault::Stall if struck => {
            wait_for("a stalled connection is cut", || {
                pair.ended.load(Ordering::SeqCst)
            });
            false
        }
        Fault::Latency(time) if struck => {
            std::thread::sleep(time);
            to.write_all(bytes).is_ok()
        }
        Fault::SingleBytes if struck => bytes.chunks(1).all(|byte| to.write_all(byte).is_ok()),
        _ => to.write_all(bytes).is_ok(),
    }
}

#[cfg(test)]
mod tests;
