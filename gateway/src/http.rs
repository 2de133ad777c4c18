//! The listener for health, metrics and keys, and the small client of `kenin health`.
//!
//! It answers GET only, changes nothing, and shows nothing of any message.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use kenin_certstore::{DEFAULT_TENANT, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::warn;

use crate::clock::{Clock, now, unix_time};
use crate::metrics;
use crate::quarantine::Quarantine;
use crate::reload::Reloader;
use crate::snapshot::Snapshot;

/// What the answers are made of.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) store: Option<Store>,
    pub(crate) quarantine: Option<Arc<Quarantine>>,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Serves until told to stop.
pub(crate) async fn serve(listener: TcpListener, status: Status) -> std::io::Result<()> {
    let mut stopping = status.stopping.clone();
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .route("/metrics", get(scrape))
        .route("/.well-known/kenin-keys", get(keys))
        .with_state(status);
    // While mail is drained it answers "stopping"; whoever started it drops it after that.
    let mut until = std::pin::pin!(async move {
        let _ = stopping.wait_for(|stop| *stop).await;
        tokio::time::sleep(LINGER).await;
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEADER);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut until => return Ok(()),
        };
        let stream = match accepted {
            // Whoever asks in earnest asks again; others get no memory.
            Ok(_) if connections.len() >= MAX_CONNECTIONS => continue,
            Ok((stream, _)) => TokioIo::new(stream),
            Err(error) => {
                warn!(%error, "the health and metrics listener cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let serving = http.serve_connection(stream, TowerToHyperService::new(router.clone()));
        // A client that reads its answer slowly, or asks without end, is cut here.
        connections.spawn(async move {
            let _ = tokio::time::timeout(MAX_LIFE, serving).await;
        });
    }
}

async fn ready(State(status): State<Status>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let (usable, lines) = status.look().await;
    let verbose = query.is_some_and(|q| q.split('&').any(|part| part.starts_with("verbose")));
    let mut body = if verbose { lines } else { String::new() };
    body.push_str(if usable { "ready\n" } else { "not ready\n" });
    (
        if usable {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        body,
    )
}

async fn scrape(State(status): State<Status>) -> impl IntoResponse {
    metrics::follow_time(&status.snapshots.load(), unix_time(now()));
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        metrics::render(),
    )
}

/// A JWK set (RFC 7517) with the public half of the stamp's key.
async fn keys(State(status): State<Status>) -> impl IntoResponse {
    let snapshot = status.snapshots.load();
    let keys: Vec<_> = snapshot.key.iter().map(|key| key.jwk()).collect();
    let body = serde_json::json!({ "keys": keys }).to_string();
    ([(header::CONTENT_TYPE, "application/jwk-set+json")], body)
}

impl Status {
    /// Whether mail can be judged, and a line for each thing that this depends on. What only
    /// makes verdicts worse is "degraded".
    async fn look(&self) -> (bool, String) {
        let snapshot = self.snapshots.load_full();
        let mut lines = format!(
            "ok policy: revision {}, {} anchors\n",
            snapshot.revision,
            snapshot.trust.anchors().len()
        );
        let mut usable = true;
        if let Some(why) = self.reloader.trouble() {
            lines.push_str(&format!("degraded config: not taken over: {why}\n"));
        }
        match &self.store {
            Some(store) => match store.revision(DEFAULT_TENANT).await {
                Ok(revision) => lines.push_str(&format!("ok store: revision {revision}\n")),
                // Stamps are made from the snapshot; only what is new is missing.
                Err(error) => lines.push_str(&format!("degraded store: {error}\n")),
            },
            None => lines.push_str("degraded store: not opened\n"),
        }
        // Mail goes on without it; only no signature passes.
        lines.push_str(&self.clock.health());
        match snapshot.known.next_update() {
            Some(time) if time.0 < unix_time(now()).0 => {
                lines.push_str(&format!(
                    "degraded crl: a list was due to be replaced at {time}\n"
                ));
            }
            Some(time) => lines.push_str(&format!("ok crl: next update at {time}\n")),
            None => lines.push_str("ok crl: none\n"),
        }
        let absent = snapshot.absent_lists().count();
        if absent > 0 {
            lines.push_str(&format!(
                "degraded crl: not at hand: {absent} that the store knows\n"
            ));
        }
        // What has to be held would be put off, again and again.
        if let Some(quarantine) = &self.quarantine {
            let quarantine = Arc::clone(quarantine);
            let looked = spawn_blocking(move || quarantine.health()).await;
            let (writable, line) =
                looked.unwrap_or_else(|error| (false, format!("failed quarantine: {error}\n")));
            usable &= writable;
            lines.push_str(&line);
        }
        if *self.stopping.borrow() {
            usable = false;
            lines.push_str("failed: stopping\n");
        }
        (usable, lines)
    }
}

/// Asks `/readyz` of a running gateway; with `wait`, tries for so long. `Ok` holds the answer's
/// text, `Err` says why it is not ready (exit code 69).
pub fn health_client(address: SocketAddr, wait: Option<Duration>) -> Result<String, String> {
    let begun = Instant::now();
    loop {
        let answer = ask(address);
        if answer.is_ok() || wait.is_none_or(|wait| begun.elapsed() >= wait) {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
}

fn ask(address: SocketAddr) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("no answer: {error}");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let request =
        format!("GET /readyz?verbose HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER)
        .read_to_end(&mut answer)
        .map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(body.to_owned()),
        "503" => Err(format!("not ready\n{body}")),
        other => Err(format!("unexpected answer {other}")),
    }
}

const LINGER: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(5);
/// As long as nobody who asks in earnest takes.
const MAX_LIFE: Duration = Duration::from_secs(60);
const MAX_CONNECTIONS: usize = 64;
const MAX_HEADER: usize = 16 << 10;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(250);
const MAX_ANSWER: u64 = 64 << 10;
