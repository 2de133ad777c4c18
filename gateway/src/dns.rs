//! The domain name system: asked for keys and policies of senders' domains, never for where mail goes.

use std::net::SocketAddr;

use mail_auth::MessageAuthenticator;
use mail_auth::hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::hickory_resolver::system_conf::read_system_conf;

use crate::config::{Config, ConfigError};

/// A resolver that asks the servers of `[dns]`, or those that the system asks.
pub(crate) fn resolver(config: &Config) -> Result<MessageAuthenticator, ConfigError> {
    let wrong = |error: &dyn std::fmt::Display| {
        let text = format!("the domain name system cannot be asked: {error}");
        config
            .mistake("dns", text)
            .hint("name a server: servers = [\"127.0.0.1:53\"] in [dns]")
    };
    let (to, options) = if config.dns_servers.is_empty() {
        read_system_conf().map_err(|error| wrong(&error))?
    } else {
        let servers = config.dns_servers.iter().map(server).collect();
        let to = ResolverConfig::from_parts(None, Vec::new(), servers);
        (to, ResolverOpts::default())
    };
    MessageAuthenticator::new(to, options).map_err(|error| wrong(&error))
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
