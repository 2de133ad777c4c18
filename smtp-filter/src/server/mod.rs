//! The SMTP server: accepts connections, bounds them, and runs one session for each until it is
//! told to stop. It never decides what becomes of a mail.

mod config;
mod connection;
mod division;
mod hop;
mod keeping;
mod parking;
pub mod session;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{Event, Filter, Reply, sessions::Sessions};
pub use config::{
    BareNewline, ConfigSource, HopTls, Limits, NextHop, Protocol, ServerConfig, Timeouts, fixed,
};
use connection::Connection;
use hop::{Hop, LearntHop};
pub(crate) use keeping::rounded;
use parking::Parking;

/// Serves SMTP on `listener` until `shutdown` becomes true, then drains: idle sessions get
/// `421 4.3.2`, running transactions have [`Timeouts::drain`] to finish.
///
/// `config` is asked once for each new session, so a reload takes effect for new sessions only.
/// The future must be kept: dropping it cuts all sessions.
///
/// # Errors
///
/// When the listener cannot be used at all.
pub async fn serve(
    listener: TcpListener,
    config: ConfigSource,
    filter: Arc<dyn Filter>,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.local_addr()?;
    let (learnt, parking) = (LearntHop::default(), Parking::default());
    let census = Arc::new(Census::default());
    let mut sessions = Sessions::new(shutdown.clone());
    while let Some((stream, client)) = sessions.accept(|| listener.accept()).await {
        let settings = config();
        let Some(place) = census.enter(client.ip(), &settings) else {
            filter.on_event(&Event::TurnedAway { client });
            turn_away(&stream);
            continue;
        };
        let filter = Arc::clone(&filter);
        let hop = Hop::new(Arc::clone(&settings), learnt.clone(), parking.clone());
        let connection = Connection::new(
            stream,
            client,
            settings,
            Arc::clone(&filter),
            hop,
            shutdown.clone(),
        );
        sessions.spawn(async move {
            let _presence = Presence::new(filter, client, place);
            connection.run().await;
        });
    }
    drop(listener);
    let drained = sessions.drain(config().timeouts.drain);
    tokio::join!(parking.close(), drained);
    Ok(())
}

fn turn_away(stream: &TcpStream) {
    let reply = Reply::new(421, "4.3.2", "Too many connections, try again later");
    // Nothing was written yet, so the socket has room for one line.
    let _ = stream.try_write(&reply.to_bytes());
}

/// Who is connected.
#[derive(Debug, Default)]
struct Census(Mutex<HashMap<IpAddr, usize>>);

impl Census {
    /// A place for one more connection, if there is one.
    fn enter(self: &Arc<Self>, client: IpAddr, config: &ServerConfig) -> Option<Place> {
        let trusted = config.trusted_peers.iter().any(|net| net.contains(client));
        let client = one_owner(client);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = counts.values().sum();
        let own = counts.get(&client).copied().unwrap_or(0);
        let full = total >= config.limits.connections
            || (!trusted && own >= config.limits.connections_per_client);
        if full {
            return None;
        }
        counts.insert(client, own + 1);
        Some(Place {
            census: Arc::clone(self),
            client,
        })
    }
}

/// What one client surely owns: an IPv4 address, or the /64 that any IPv6 host can choose from.
fn one_owner(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
struct Place {
    census: Arc<Census>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.client);
            }
        }
    }
}

/// Tells the filter of a session's begin and end, also when it is cut.
struct Presence {
    filter: Arc<dyn Filter>,
    client: SocketAddr,
    _place: Place,
}

impl Presence {
    fn new(filter: Arc<dyn Filter>, client: SocketAddr, place: Place) -> Self {
        filter.on_event(&Event::Opened { client });
        Self {
            filter,
            client,
            _place: place,
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.filter.on_event(&Event::Closed {
            client: self.client,
        });
    }
}
