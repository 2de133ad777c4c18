//! Where the stores of the tests lie: a file always, and a PostgreSQL of the test's own where its programs are.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::{Server, Store, StoreError};

/// An empty place for a store.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(Box<Server>),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Store, StoreError> {
        match self {
            Self::Sqlite(dir) => Store::open(&dir.path().join("kenin.sqlite")).await,
            Self::Postgres(server) => Store::connect(server).await,
        }
    }

    pub(crate) async fn open_to_read(&self) -> Result<Store, StoreError> {
        match self {
            Self::Sqlite(dir) => Store::open_to_read(&dir.path().join("kenin.sqlite")).await,
            Self::Postgres(server) => Store::connect_to_read(server).await,
        }
    }
}

/// The same behaviours for both: each function takes a [`Place`]. A server for them is started once.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&$crate::testplace::Place::sqlite()).await;
                }
            )+
        }

        #[tokio::test]
        async fn the_same_on_postgresql() {
            let Some(server) = $crate::testplace::Postgres::start() else {
                return;
            };
            $(
                eprintln!("{}", stringify!($name));
                $name(&server.place().await).await;
            )+
        }
    };
}
pub(crate) use on_both;

/// A PostgreSQL of a test's own: in a folder, on a socket, without a port. It goes with its handle.
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    databases: AtomicU32,
}

impl Postgres {
    /// Nothing (said aloud) where it is not installed.
    ///
    /// # Panics
    /// There as well, where `KENIN_REQUIRE_DATA=1`.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let required = std::env::var("KENIN_REQUIRE_DATA").is_ok_and(|value| value == "1");
            assert!(!required, "PostgreSQL is required and absent");
            eprintln!("SKIPPED: PostgreSQL is absent");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("kenin-pg-")
            .tempdir()
            .unwrap();
        // It refuses to run as root, and its user has to come in.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let server = Self {
            folder,
            programs,
            databases: AtomicU32::new(0),
        };
        run(server
            .own("initdb")
            .args(["-U", "postgres", "-A", "trust", "--no-sync"]));
        server.begin();
        Some(server)
    }

    /// Starts it, again if it was stopped.
    pub(crate) fn begin(&self) {
        let folder = self.folder.path();
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off",
            folder.display()
        );
        run(self
            .own("pg_ctl")
            .args(["-w", "-s", "-o", &options, "-l"])
            .arg(folder.join("log"))
            .arg("start"));
    }

    /// Stops it, whoever is connected.
    pub(crate) fn stop(&self) {
        run(self
            .own("pg_ctl")
            .args(["-w", "-s", "-m", "immediate", "stop"]));
    }

    /// A new database.
    pub(crate) async fn place(&self) -> Place {
        self.named(&self.create().await)
    }

    /// A new database, directly and by way of a hole.
    pub(crate) async fn place_behind(&self, hole: &Hole) -> (Place, Place) {
        let name = self.create().await;
        let url = format!("postgresql://postgres@127.0.0.1:{}/{name}", hole.port);
        let behind = Place::Postgres(Box::new(Server::new(&url).unwrap()));
        (self.named(&name), behind)
    }

    fn named(&self, database: &str) -> Place {
        Place::Postgres(Box::new(Server::new(&self.url(database)).unwrap()))
    }

    async fn create(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let options = self
            .url("postgres")
            .parse::<sqlx::postgres::PgConnectOptions>();
        let mut connection = options.unwrap().connect().await.unwrap();
        let text = AssertSqlSafe(format!("CREATE DATABASE d{number}"));
        connection.execute(text).await.unwrap();
        connection.close().await.unwrap();
        format!("d{number}")
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgresql://postgres@localhost/{database}?host={folder}")
    }

    /// One of its programs, as the user that it runs as.
    fn own(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        command.arg("-D").arg(self.folder.path().join("data"));
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test that failed may have left it stopped.
        let stop = &["-s", "-m", "immediate", "stop"];
        let _ = self.own("pg_ctl").args(stop).output();
    }
}

/// A way to a server by TCP, which can swallow all that goes along it without a word: as a firewall does that forgot a
/// connection, or a cable that was cut.
pub(crate) struct Hole {
    port: u16,
    swallows: watch::Sender<bool>,
}

impl Hole {
    /// One that lets everything pass.
    pub(crate) async fn before(server: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = server.folder.path().join(".s.PGSQL.5432");
        let (swallows, state) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, socket.clone(), state.clone()));
            }
        });
        Self { port, swallows }
    }

    /// Whether it swallows from now on. What was swallowed once never comes again, nor on the same connection.
    pub(crate) fn swallow(&self, yes: bool) {
        self.swallows.send(yes).unwrap();
    }
}

async fn carry(mut client: TcpStream, socket: PathBuf, mut swallows: watch::Receiver<bool>) {
    let mut server = UnixStream::connect(socket).await.unwrap();
    let swallowed = async { swallows.wait_for(|yes| *yes).await.is_ok() };
    tokio::select! {
        biased;
        // Nobody hears of it: neither end is closed.
        true = swallowed => std::future::pending::<()>().await,
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
    }
}

/// The folder of the newest one that is installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

fn is_root() -> bool {
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|own| own.uid() == 0)
}

fn run(command: &mut Command) {
    // Not to a pipe: what goes on running would keep it open.
    let status = command
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
