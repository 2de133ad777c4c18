//! A web server of one's own on loopback: says what it is told to, counts who comes, and misbehaves on
//! request. It knows no more of HTTP than a fetcher of files needs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::world::free_address;

/// Makes an answer from what was posted.
pub type Maker = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// What a path answers.
#[derive(Clone)]
pub enum Page {
    /// 200 with these bytes.
    Body(Vec<u8>),
    /// 200 with what is made from the bytes that were posted.
    Made(Arc<Maker>),
    /// This status, without a body.
    Status(u16),
    /// Another place.
    Moved(String),
    /// Nothing, ever.
    Hang,
    /// 200, and bytes without an end.
    Endless,
    /// 200, and these bytes one a second.
    Slow(Vec<u8>),
    /// These bytes, head and all, as they are.
    Raw(Vec<u8>),
}

/// The server. It ends with its handle.
pub struct HttpServer {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    pages: Mutex<BTreeMap<String, Page>>,
    requests: Mutex<BTreeMap<String, usize>>,
    connections: AtomicUsize,
    over: AtomicBool,
}

impl HttpServer {
    /// Starts one that knows no path.
    pub fn start() -> Self {
        Self::start_at(free_address())
    }

    /// The same at an address of the test's choice.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let state = Arc::new(State::default());
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for stream in listener.incoming() {
                    if state.over.load(Ordering::SeqCst) {
                        break;
                    }
                    let Ok(stream) = stream else { continue };
                    state.connections.fetch_add(1, Ordering::SeqCst);
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || state.serve(stream));
                }
            }
        });
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    /// From now on this path answers so.
    pub fn put(&self, path: &str, page: Page) {
        let mut pages = self.state.pages.lock().unwrap();
        pages.insert(path.to_owned(), page);
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests a path got.
    pub fn requests(&self, path: &str) -> usize {
        let requests = self.state.requests.lock().unwrap();
        requests.get(path).copied().unwrap_or(0)
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        let Some((path, body)) = read_request(&mut stream) else {
            return;
        };
        let mut requests = self.requests.lock().unwrap();
        *requests.entry(path.clone()).or_default() += 1;
        drop(requests);
        let page = self.pages.lock().unwrap().get(&path).cloned();
        // Whoever hangs up before the end has had enough.
        let _ = self.answer(&mut stream, page.unwrap_or(Page::Status(404)), &body);
    }

    fn answer(&self, stream: &mut TcpStream, page: Page, posted: &[u8]) -> std::io::Result<()> {
        let whole = |body: &[u8]| {
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            answer.extend_from_slice(body);
            answer
        };
        const UNTIL_THE_END: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        match page {
            Page::Body(body) => stream.write_all(&whole(&body)),
            Page::Raw(bytes) => stream.write_all(&bytes),
            Page::Made(make) => stream.write_all(&whole(&make(posted))),
            Page::Status(code) => {
                write!(stream, "HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n")
            }
            Page::Moved(place) => write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
            ),
            Page::Hang => {
                // Ends when the client hangs up, or the server.
                stream.set_read_timeout(Some(Duration::from_millis(50)))?;
                while !self.over.load(Ordering::SeqCst) {
                    match stream.read(&mut [0; 64]) {
                        Ok(0) => break,
                        Ok(_) => {}
                        Err(error) if is_wait(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
            Page::Endless => {
                stream.write_all(UNTIL_THE_END)?;
                while !self.over.load(Ordering::SeqCst) {
                    stream.write_all(&[0x30; 65_536])?;
                }
                Ok(())
            }
            Page::Slow(body) => {
                stream.write_all(UNTIL_THE_END)?;
                for byte in body {
                    if self.over.load(Ordering::SeqCst) {
                        break;
                    }
                    stream.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_secs(1));
                }
                Ok(())
            }
        }
    }
}

fn is_wait(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The path, and what was posted to it.
fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        more(stream, &mut bytes)?;
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let path = text.split(' ').nth(1)?.to_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head + 4 + length.unwrap_or(0);
    while bytes.len() < end {
        more(stream, &mut bytes)?;
    }
    Some((path, bytes[head + 4..end].to_vec()))
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece).ok()?;
    bytes.extend_from_slice(&piece[..count]);
    (count > 0).then_some(())
}
