//! How a PostgreSQL database is reached: a URL, and the password apart from it.
//!
//! Never shows a password. Takes what it needs from the URL and nothing by guessing: a store that is opened by
//! mistake is an empty one.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use crate::StoreError;

/// A PostgreSQL database that several nodes may share.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    name: PathBuf,
    connections: u32,
    verified: bool,
}

impl Server {
    /// From `postgresql://user@host:port/database?sslmode=verify-full&sslrootcert=/path/ca.pem`.
    ///
    /// Without `sslmode`, a host that is not this machine has to prove its name (`verify-full`).
    ///
    /// # Errors
    /// What is wrong with it, in words that show nothing of it.
    pub fn new(url: &str) -> Result<Self, String> {
        let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
        let Some(rest) = rest else {
            return Err(format!("is no database; write for example {EXAMPLE}"));
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let Some((user, host)) = authority.rsplit_once('@') else {
            return Err(format!("names no user; write for example {EXAMPLE}"));
        };
        if user.contains(':') {
            return Err(PASSWORD.to_owned());
        }
        for (part, text) in [("user", user), ("host", host), ("database", database)] {
            if text.is_empty() {
                return Err(format!("names no {part}; write for example {EXAMPLE}"));
            }
        }
        let mut told = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let whole = || value.starts_with('/') || value.to_ascii_lowercase().starts_with("%2f");
            match key {
                "sslmode" => told = true,
                "sslrootcert" | "sslcert" | "sslkey" | "host" if whole() => {}
                "sslrootcert" | "sslcert" | "sslkey" => {
                    return Err(format!("{key} needs a path that begins with /"));
                }
                "host" => return Err("host is the folder of a socket, from /".to_owned()),
                "password" => return Err(PASSWORD.to_owned()),
                _ => {
                    let known = "sslmode, sslrootcert, sslcert, sslkey, host";
                    return Err(format!("holds an unknown setting (known here: {known})"));
                }
            }
        }
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| format!("cannot be read; write for example {EXAMPLE}"))?;
        let local = is_local(&options);
        let options = match (told, local) {
            (true, _) => options,
            (false, true) => options.ssl_mode(PgSslMode::Prefer),
            (false, false) => options.ssl_mode(PgSslMode::VerifyFull),
        };
        let socket = options.get_socket().map(|path| path.display().to_string());
        let name = format!(
            "postgresql://{}@{}:{}/{}",
            options.get_username(),
            socket.as_deref().unwrap_or_else(|| options.get_host()),
            options.get_port(),
            options.get_database().unwrap_or_default(),
        );
        Ok(Self {
            verified: local || matches!(options.get_ssl_mode(), PgSslMode::VerifyFull),
            options: options.application_name("kenin"),
            name: name.into(),
            connections: 4,
        })
    }

    /// With this password. Without one, what PostgreSQL's own programs would take: `PGPASSWORD`, `~/.pgpass`.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.options = self.options.password(password);
        self
    }

    /// With so many connections at once; 4 unless told.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Whether nobody on the way can take its place.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Connects once, apart from any pool, which would try again instead of saying what is wrong.
    pub(crate) async fn knock(&self) -> Result<(), StoreError> {
        let wrong = |message: String| StoreError::Database {
            path: self.name.clone(),
            message,
        };
        match tokio::time::timeout(KNOCK, self.options.connect()).await {
            Ok(Ok(connection)) => {
                // It answered; whether it likes the goodbye does not matter.
                let _ = connection.close().await;
                Ok(())
            }
            Ok(Err(error)) => Err(wrong(error.to_string())),
            Err(_) => Err(wrong("it does not answer".to_owned())),
        }
    }

    /// Connections that are made when they are needed, and again when they break.
    pub(crate) fn pool(&self) -> PgPool {
        // A node that stops in the middle of a change holds up no other for long, and neither does one that vanishes
        // without a word.
        let limits = [
            ("statement_timeout", STATEMENT.as_millis()),
            ("idle_in_transaction_session_timeout", IDLE.as_millis()),
            ("tcp_user_timeout", IDLE.as_millis()),
            ("tcp_keepalives_idle", u128::from(IDLE.as_secs())),
            ("tcp_keepalives_interval", 3),
            ("tcp_keepalives_count", 3),
        ];
        self.lazy(self.connections, self.options.clone().options(limits))
    }

    /// One connection that changes nothing.
    pub(crate) fn pool_to_read(&self) -> PgPool {
        let limits = [("default_transaction_read_only", "on")];
        self.lazy(1, self.options.clone().options(limits))
    }

    /// One connection without a limit of time, for what a new schema takes.
    pub(crate) fn pool_to_build(&self) -> PgPool {
        self.lazy(1, self.options.clone())
    }

    fn lazy(&self, connections: u32, options: PgConnectOptions) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(CONNECTION)
            .idle_timeout(UNUSED)
            .connect_lazy_with(options)
    }
}

/// Shows where it is, not how one comes in.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.name).finish()
    }
}

/// Whether no network is in between.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    options.get_socket().is_some() || host == "localhost" || loopback
}

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];
const EXAMPLE: &str = "\"postgresql://kenin@db.example.jp/kenin\"";
const PASSWORD: &str =
    "holds a password, which does not belong where many may read it; write password_file";
/// How long the database itself works on one statement.
pub(crate) const STATEMENT: Duration = Duration::from_millis(800);
/// How long a connection is waited for.
pub(crate) const CONNECTION: Duration = Duration::from_secs(1);
/// How long a connection lies unused: no firewall has forgotten it by then.
const UNUSED: Duration = Duration::from_secs(120);
/// How long a change may lie open with nothing coming, and a node be silent to the database.
const IDLE: Duration = Duration::from_secs(10);
/// How long the first connection may take.
const KNOCK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> (PgSslMode, bool) {
        let server = Server::new(url).unwrap();
        (server.options.get_ssl_mode(), server.is_verified())
    }

    #[test]
    fn a_url_is_taken_as_it_is_written_and_named_without_secrets() {
        let server = Server::new("postgresql://kenin@db.example.jp:5433/mail").unwrap();
        let server = server.password("s3cret");
        assert_eq!(
            server.name(),
            Path::new("postgresql://kenin@db.example.jp:5433/mail")
        );
        assert!(!format!("{server:?}").contains("s3cret"));
        let server = Server::new("postgres://kenin@localhost/kenin?host=/run/postgresql").unwrap();
        assert_eq!(
            server.name(),
            Path::new("postgresql://kenin@/run/postgresql:5432/kenin")
        );
    }

    #[test]
    fn a_host_across_a_network_proves_its_name_unless_told_otherwise() {
        let full = (PgSslMode::VerifyFull, true);
        for (url, is) in [
            ("postgresql://k@db.example.jp/k", full),
            ("postgresql://k@192.0.2.1/k", full),
            (
                "postgresql://k@db.example.jp/k?sslmode=verify-full&sslrootcert=/etc/ca.pem",
                full,
            ),
            (
                "postgresql://k@db.example.jp/k?sslmode=require",
                (PgSslMode::Require, false),
            ),
            (
                "postgresql://k@db.example.jp/k?sslmode=verify-ca",
                (PgSslMode::VerifyCa, false),
            ),
            ("postgresql://k@127.0.0.1/k", (PgSslMode::Prefer, true)),
            (
                "postgresql://k@localhost/k?host=/run/postgresql",
                (PgSslMode::Prefer, true),
            ),
        ] {
            let (mode, verified) = mode(url);
            assert_eq!(format!("{mode:?}"), format!("{:?}", is.0), "{url}");
            assert_eq!(verified, is.1, "{url}");
        }
    }

    #[test]
    fn what_is_missing_or_does_not_belong_there_is_named() {
        for (url, says) in [
            ("kenin.sqlite", "is no database"),
            ("mysql://k@db/k", "is no database"),
            ("postgresql://db/k", "names no user"),
            ("postgresql://@db/k", "names no user"),
            ("postgresql://k@/k", "names no host"),
            ("postgresql://k@db", "names no database"),
            ("postgresql://k@db/", "names no database"),
            ("postgresql://k:s3cret@db/k", "password_file"),
            ("postgresql://k@db/k?password=s3cret", "password_file"),
            ("postgresql://k@db/k?sslmode=full", "cannot be read"),
            ("postgresql://k@db:x/k", "cannot be read"),
            ("postgresql://k@db/k?sslrootcert=ca.pem", "begins with /"),
            ("postgresql://k@db/k?host=other", "folder of a socket"),
            ("postgresql://k@db/k?s3cret=1", "unknown setting"),
        ] {
            let told = Server::new(url).unwrap_err();
            assert!(told.contains(says), "{url}: {told}");
            assert!(!told.contains("s3cret"), "{url}: {told}");
        }
    }
}
