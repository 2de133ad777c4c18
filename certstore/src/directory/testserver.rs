//! A server of the tests: says what it is told to, whatever it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenin_pki::der::write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::message;

/// A server on this machine. It ends with the test.
pub(crate) struct Server {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// One that answers each search with these entries and this code.
    pub(crate) async fn start(entries: Vec<Vec<u8>>, code: u8) -> Self {
        Self::with(move |id, tag| match tag {
            // An unbind is not answered, a bind is good.
            0x42 => Vec::new(),
            0x60 => message::message(id, &result(0x61, 0)),
            _ => {
                let mut bytes = Vec::new();
                for entry in &entries {
                    bytes.extend(message::message(id, entry));
                }
                bytes.extend(message::message(id, &result(0x65, code)));
                bytes
            }
        })
        .await
    }

    /// One that answers the message with this number and this operation so; with nothing it hangs up.
    pub(crate) async fn with(answer: impl Fn(u32, u8) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::new(answer), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = Arc::clone(&answer);
                tokio::spawn(async move { serve(stream, &*answer).await });
            }
        });
        Self { port, connections }
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answer: &(impl Fn(u32, u8) -> Vec<u8> + Sync)) {
    let mut held = Vec::new();
    loop {
        let Ok(end) = message::end(&held, 1 << 20) else {
            return;
        };
        if let Some(end) = end {
            let (id, tag) = head(&held);
            held.drain(..end);
            let bytes = answer(id, tag);
            if bytes.is_empty() || stream.write_all(&bytes).await.is_err() {
                return;
            }
            continue;
        }
        if stream.read_buf(&mut held).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

/// The number and the operation's identifier of a request.
fn head(bytes: &[u8]) -> (u32, u8) {
    let mut parts = kenin_pki::der::Reader::new(bytes).sequence().unwrap();
    (parts.small().unwrap(), parts.peek().unwrap())
}

/// An LDAPResult under this identifier.
pub(crate) fn result(tag: u8, code: u8) -> Vec<u8> {
    let parts = [
        write::enumerated(i64::from(code)),
        write::octet_string(b""),
        write::octet_string(b""),
    ];
    write::element(tag, &write::concat(&parts))
}

/// A SearchResultEntry with one attribute.
pub(crate) fn entry(attribute: &str, values: &[&[u8]]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = values.iter().map(|one| write::octet_string(one)).collect();
    let attribute = write::seq(&[
        write::octet_string(attribute.as_bytes()),
        write::element(0x31, &write::concat(&values)),
    ]);
    let parts = [
        write::octet_string(b"cn=somebody"),
        write::seq(&[attribute]),
    ];
    write::element(0x64, &write::concat(&parts))
}
