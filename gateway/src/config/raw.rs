//! `kenin.toml` exactly as written: every key optional, unknown keys refused.
//!
//! Never fills in a default; that is done once all files are laid over each other.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::decrypt::RawDecrypt;
use super::keys::RawKeys;
use super::quarantine::RawQuarantine;
use super::senders::RawSenders;
use super::services::{RawCache, RawDirectory};
use super::value::{Endpoint, FileMode, HostName, HostPort, Peers, Period, Size, Socket};
use super::workers::RawWorkers;
use super::{BareNewline, Cap, ListenerMode, LogAddresses, LogFormat, TlsLevel};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) hostname: Option<HostName>,
    pub(super) authserv_id: Option<HostName>,
    pub(super) site_authserv_ids: Option<Vec<HostName>>,
    pub(super) state_dir: Option<String>,
    #[serde(default)]
    pub(super) listener: Vec<RawListener>,
    #[serde(default)]
    pub(super) next_hop: RawNextHop,
    #[serde(default)]
    pub(super) http: RawHttp,
    #[serde(default)]
    pub(super) stamp: RawStamp,
    pub(super) arc: Option<RawArc>,
    pub(super) wrap: Option<RawWrap>,
    #[serde(default)]
    pub(super) dns: RawDns,
    #[serde(default)]
    pub(super) store: RawStore,
    #[serde(default)]
    pub(super) directory: Vec<RawDirectory>,
    pub(super) cache: Option<RawCache>,
    pub(super) keys: Option<RawKeys>,
    #[serde(default)]
    pub(super) workers: RawWorkers,
    pub(super) quarantine: Option<RawQuarantine>,
    #[serde(default)]
    pub(super) senders: RawSenders,
    #[serde(default)]
    pub(super) decrypt: RawDecrypt,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) caps: BTreeMap<Cap, Size>,
    #[serde(default)]
    pub(super) log: RawLog,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) address: Socket,
    pub(super) mode: ListenerMode,
    pub(super) socket_mode: Option<FileMode>,
    pub(super) trusted_peers: Option<Vec<Peers>>,
    pub(super) submission: Option<bool>,
    pub(super) bare_newline: Option<BareNewline>,
    pub(super) tls: Option<RawTls>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) certificate: String,
    pub(super) key: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNextHop {
    pub(super) address: Option<HostPort>,
    pub(super) tls: Option<TlsLevel>,
    pub(super) ca: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    pub(super) address: Option<Endpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStamp {
    pub(super) key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawArc {
    pub(super) domain: HostName,
    pub(super) selector: HostName,
    pub(super) key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWrap {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDns {
    pub(super) servers: Option<Vec<Endpoint>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) path: Option<String>,
    pub(super) url: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) connections: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) message_size: Option<Size>,
    pub(super) connections: Option<usize>,
    pub(super) connections_per_client: Option<usize>,
    pub(super) messages: Option<usize>,
    pub(super) deadline: Option<Period>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) format: Option<LogFormat>,
    pub(super) level: Option<String>,
    pub(super) addresses: Option<LogAddresses>,
}

impl Raw {
    /// Lays a later file over this one: listeners and directories add up, everything else is replaced.
    pub(super) fn overlay(&mut self, over: Self) {
        fn take<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        take(&mut self.hostname, over.hostname);
        take(&mut self.authserv_id, over.authserv_id);
        take(&mut self.site_authserv_ids, over.site_authserv_ids);
        take(&mut self.state_dir, over.state_dir);
        self.listener.extend(over.listener);
        self.directory.extend(over.directory);
        take(&mut self.cache, over.cache);
        take(&mut self.keys, over.keys);
        take(&mut self.quarantine, over.quarantine);
        take(&mut self.senders.login_domain, over.senders.login_domain);
        take(&mut self.senders.logins, over.senders.logins);
        take(&mut self.decrypt.memory, over.decrypt.memory);
        take(&mut self.decrypt.return_path, over.decrypt.return_path);
        take(&mut self.decrypt.receipts, over.decrypt.receipts);
        take(&mut self.next_hop.address, over.next_hop.address);
        take(&mut self.next_hop.tls, over.next_hop.tls);
        take(&mut self.next_hop.ca, over.next_hop.ca);
        take(&mut self.next_hop.name, over.next_hop.name);
        take(&mut self.http.address, over.http.address);
        take(&mut self.stamp.key, over.stamp.key);
        take(&mut self.arc, over.arc);
        take(&mut self.wrap, over.wrap);
        take(&mut self.dns.servers, over.dns.servers);
        take(&mut self.store.path, over.store.path);
        take(&mut self.store.url, over.store.url);
        take(&mut self.store.password_file, over.store.password_file);
        take(&mut self.store.connections, over.store.connections);
        take(&mut self.workers.isolate, over.workers.isolate);
        take(&mut self.workers.keep_opening, over.workers.keep_opening);
        take(&mut self.workers.keep_signing, over.workers.keep_signing);
        take(&mut self.limits.message_size, over.limits.message_size);
        take(&mut self.limits.connections, over.limits.connections);
        take(
            &mut self.limits.connections_per_client,
            over.limits.connections_per_client,
        );
        self.caps.extend(over.caps);
        take(&mut self.limits.messages, over.limits.messages);
        take(&mut self.limits.deadline, over.limits.deadline);
        take(&mut self.log.format, over.log.format);
        take(&mut self.log.level, over.log.level);
        take(&mut self.log.addresses, over.log.addresses);
    }
}
