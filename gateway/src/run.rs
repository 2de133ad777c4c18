//! `kenin run`: the service. Starts everything, listens to signals, tells systemd.
//!
//! Decides nothing about mail: [`crate::pipeline`] does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kenin_certstore::{Store, StoreError};
use kenin_smtp_filter::milter::{self, MilterSource};
use kenin_smtp_filter::server::{self, ConfigSource};
use kenin_sys::Inherited;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::{Config, ConfigError, ListenAddress, Listener, LogFormat};
use crate::exit::Exit;
use crate::front::Front;
use crate::keyring::Keyring;
use crate::pipeline::Pipeline;
use crate::quarantine::{self, Quarantine};
use crate::refresh::Refresher;
use crate::reload::Reloader;
use crate::snapshot::{Snapshot, make_folders};
use crate::store::OpenError;
use crate::worker::Pool;
use crate::wrapper::Vigil;
use crate::{clock, http, log, metrics, store, wrapper};

/// What the command line says about `kenin run`.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Configuration files; later ones add to and override earlier ones.
    pub config: Vec<PathBuf>,
    /// Overrides `[log] format`.
    pub log_format: Option<LogFormat>,
}

/// Runs the service in the foreground until SIGTERM or SIGINT; starts its own tokio runtime.
pub fn run(options: &RunOptions) -> ExitCode {
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(error) => return failed(&StartError::Config(error)),
    };
    log::install(&config.log, options.log_format);
    // One line, in the log's form. The place only: what a panic says may hold part of a message.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(place, "a thread panicked");
        // The process may be about to end.
        log::flush(PANIC);
    }));
    // It has other people's mail in its memory, as what it starts has.
    for limit in [
        kenin_sys::forbid_core_dumps(),
        kenin_sys::keep_out_of_dumps(),
        kenin_sys::forbid_tracing(),
        kenin_sys::raise_descriptor_limit().map(drop),
        // Before the first process is started.
        kenin_sys::close_in_other_programs(),
    ] {
        if let Err(error) = limit {
            warn!(%error, "a limit of the process could not be set");
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(serve(config, options));
            // A thread that hangs on a disk or a name must not keep the process.
            runtime.shutdown_timeout(LEFTOVERS);
            match ended {
                Ok(()) => {
                    log::last_words("");
                    Exit::Ok.into()
                }
                Err(error) => failed(&error),
            }
        }
        Err(error) => failed(&StartError::Unavailable(format!(
            "cannot start threads: {error}"
        ))),
    }
}

/// Why the service could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration (or a file that it names) is wrong: exit code 78.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port or file of the machine could not be used: exit code 69.
    #[error("{0}")]
    Unavailable(String),
}

impl StartError {
    /// What the store cannot read or keep is no mistake of the configuration: another start may
    /// succeed, and systemd is told not to try one after exit code 78.
    fn of(error: ConfigError, config: &Config) -> Self {
        if error.file == config.store.name() {
            Self::Unavailable(error.to_string())
        } else {
            Self::Config(error)
        }
    }
}

/// A gateway running inside this process (the demo and the tests use this; `run` too).
#[derive(Debug)]
pub struct Gateway {
    /// Addresses really bound, one a `[[listener]]`, in order (port 0 is resolved).
    pub mail: Vec<ListenAddress>,
    /// Address of the metrics and health listener, if any.
    pub http: Option<SocketAddr>,
    reloader: Arc<Reloader>,
    keyring: Keyring,
    store: Store,
    stop: watch::Sender<bool>,
    listeners: JoinSet<std::io::Result<()>>,
    filter: Arc<Pipeline>,
    others: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Loads everything, then binds the ports and serves on the current tokio runtime.
    /// Does not touch logging, signals or systemd: the caller does. All is in this process, private keys too.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let keyring = Keyring::here(&config)?;
        Self::start_with(config, keyring, false).await
    }

    /// The same with private keys in a process of their own, as `kenin run` has it: the log of that process goes to this
    /// file. Where mail is parsed is as `[workers]` says.
    pub(crate) async fn start_apart(
        config: Config,
        options: &RunOptions,
        key_log: &Path,
    ) -> Result<Self, StartError> {
        let keyring = Keyring::beside_with_log(&config, options, key_log).await?;
        let isolate = config.workers.isolate;
        Self::start_with(config, keyring, isolate).await
    }

    /// The same with keys that may be elsewhere, and mail that may be parsed elsewhere.
    async fn start_with(
        config: Config,
        keyring: Keyring,
        isolate: bool,
    ) -> Result<Self, StartError> {
        metrics::install();
        metrics::describe_start(clock::now());
        let config = Arc::new(config);
        let store = open_store(&config).await?;
        let clock = Arc::new(Clock::default());
        // A start without it would believe what the last run did not.
        let judged = clock.exchange(&store).await;
        judged.map_err(|error| StartError::Unavailable(error.to_string()))?;
        let quarantine = open_quarantine(&config).await?;
        let snapshot = Snapshot::build(Arc::clone(&config), Some(&store))
            .await
            .map_err(|error| StartError::of(error, &config))?;
        if let Some(trouble) = &snapshot.key_trouble {
            error!(error = %trouble, "mail is stamped without X-Kenin-Verdict");
        }
        if let Some(trouble) = &snapshot.arc_trouble {
            error!(error = %trouble, "changed mail goes on without an ARC seal");
        }
        if let Some(trouble) = &snapshot.wrap_trouble {
            error!(error = %trouble, "mail is stamped, not wrapped");
        }
        let now = clock::unix_time(clock::now());
        if snapshot.wrapper.is_none()
            && let Some(concern) = wrapper::concern(&config, &snapshot.trust, None, now)
        {
            warn!(error = %concern, "wrapping mail");
        }
        let mut vigil = Vigil::default();
        vigil.tell(&snapshot, now);
        metrics::describe_snapshot(&snapshot, now);
        metrics::reloaded(true);
        let snapshots = Arc::new(ArcSwap::from_pointee(snapshot));

        // All ports before the first session: a half-started service must not take mail.
        let mut inherited = kenin_sys::inherited();
        let mut listeners = Vec::new();
        for one in &config.listeners {
            listeners.push(open(one, &mut inherited)?);
        }
        let http_listener = match config.http {
            Some(address) => Some(bind(address, &mut inherited)?),
            None => None,
        };
        let mail = listeners
            .iter()
            .map(Opened::address)
            .collect::<Result<Vec<_>, _>>()?;
        let http = http_listener.as_ref().map(local).transpose()?;

        let (stop, stopping) = watch::channel(false);
        let pipeline = Pipeline::new(
            Arc::clone(&snapshots),
            Arc::clone(&clock),
            Some(store.clone()),
        );
        let pipeline = pipeline
            .with_keys(keyring.clone())
            .holding_in(quarantine.clone());
        let workers = || Arc::new(Pool::new(Arc::clone(&snapshots)));
        let filter = Arc::new(match isolate {
            true => pipeline.with_workers(workers()),
            false => pipeline,
        });
        let mut tasks = JoinSet::new();
        let fronts = snapshots.load().fronts.clone();
        for (index, (opened, first)) in listeners.into_iter().zip(fronts).enumerate() {
            let address = config.listeners.get(index).map(|one| one.address.clone());
            let place = Place {
                snapshots: Arc::clone(&snapshots),
                index,
                address,
            };
            let (filter, stopping) = (filter.clone(), stopping.clone());
            match (first, opened) {
                (Front::Smtp(first), Opened::Tcp(listener)) => {
                    let source: ConfigSource = place.source(Front::smtp, first);
                    tasks.spawn(server::serve(listener, source, filter, stopping));
                }
                (Front::Milter(first), opened) => {
                    let listener = match opened {
                        Opened::Tcp(listener) => milter::Listener::from(listener),
                        Opened::Unix(listener, _) => listener,
                    };
                    let source: MilterSource = place.source(Front::milter, first);
                    tasks.spawn(milter::serve(listener, source, filter, stopping));
                }
                // Refused where the configuration is read.
                (Front::Smtp(_), Opened::Unix(..)) => {
                    let text = "SMTP does not come over a UNIX socket".to_owned();
                    return Err(StartError::Unavailable(text));
                }
            }
        }
        let reloader = Arc::new(Reloader::new(Arc::clone(&snapshots), Some(store.clone())));
        let mut others = vec![
            tokio::spawn(keyring.clone().watch(stopping.clone())),
            tokio::spawn({
                let (reloader, stopping) = (Arc::clone(&reloader), stopping.clone());
                async move { reloader.watch(stopping).await }
            }),
            tokio::spawn(housekeeping(
                Arc::clone(&snapshots),
                vigil,
                stopping.clone(),
            )),
            tokio::spawn(Arc::clone(&clock).watch(store.clone(), stopping.clone())),
            tokio::spawn({
                let refresher = Refresher::new(Arc::clone(&snapshots), store.clone());
                refresher.run(stopping.clone())
            }),
        ];
        if let Some(quarantine) = &quarantine {
            let watch = Arc::clone(quarantine).watch(
                Arc::clone(&snapshots),
                Arc::clone(&clock),
                stopping.clone(),
            );
            others.push(tokio::spawn(watch));
        }
        if let Some(listener) = http_listener {
            let status = http::Status {
                snapshots,
                clock,
                store: Some(store.clone()),
                quarantine,
                reloader: Arc::clone(&reloader),
                stopping,
            };
            others.push(tokio::spawn(async move {
                if let Err(error) = http::serve(listener, status).await {
                    error!(%error, "the health and metrics listener failed");
                }
            }));
        }
        Ok(Self {
            mail,
            http,
            reloader,
            keyring,
            store,
            stop,
            listeners: tasks,
            filter,
            others,
        })
    }

    /// Rebuilds the snapshot from the files; an error says why the old one was kept.
    pub async fn reload(&self) -> Result<(), ConfigError> {
        self.reloader.all().await
    }

    /// Resolves when a listener for mail failed for good.
    pub async fn failed(&mut self) -> StartError {
        let why = match self.listeners.join_next().await {
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(error)) => error.to_string(),
            Some(Ok(Ok(()))) | None => "it ended".to_owned(),
        };
        StartError::Unavailable(format!("a listener for mail failed: {why}"))
    }

    /// Stops taking connections, lets running messages finish (at most 25 s), returns.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        // The front end keeps its own, shorter deadline; this one only guards against a bug.
        let drained = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            error!("sessions did not end in time");
        }
        self.filter.cut_off();
        drop(self.filter);
        for task in self.others {
            task.abort();
        }
        self.store.close().await;
    }
}

async fn serve(config: Config, options: &RunOptions) -> Result<(), StartError> {
    let cannot = |error: std::io::Error| StartError::Unavailable(format!("signals: {error}"));
    let mut hangup = signal(SignalKind::hangup()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    metrics::install();
    let keyring = Keyring::beside(&config, options).await?;
    let isolate = config.workers.isolate;
    let mut gateway = Gateway::start_with(config, keyring, isolate).await?;
    for address in &gateway.mail {
        info!(%address, "listening for mail");
    }
    if let Some(address) = gateway.http {
        info!(%address, "listening for health and metrics");
    }
    tell(&[NotifyState::Ready]);
    let mut watchdog = watchdog();
    let mut reloading = JoinSet::new();
    let end = loop {
        tokio::select! {
            // Beside everything else: reading may take its time, or hang. One at a time: of two key processes the one that has
            // read the keys earlier may be ready later, and would take over from the other. What comes meanwhile is one more.
            _ = hangup.recv(), if reloading.is_empty() => {
                let (reloader, keyring) = (Arc::clone(&gateway.reloader), gateway.keyring.clone());
                reloading.spawn(reload(reloader, keyring));
            }
            Some(_) = reloading.join_next() => {}
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = watchdog.tick() => tell(&[NotifyState::Watchdog]),
            error = gateway.failed() => break Err(error),
        }
    };
    tell(&[NotifyState::Stopping]);
    info!("stopping: running messages are finished first");
    gateway.stop().await;
    info!("stopped");
    end
}

async fn reload(reloader: Arc<Reloader>, keyring: Keyring) {
    if let Ok(time) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, time]);
    }
    let status = match reloader.all().await {
        Ok(()) => match keyring.renew().await {
            Ok(()) => "configuration taken over".to_owned(),
            Err(failed) => {
                reloader.keys_stay(&failed.to_string());
                error!(error = %failed, "the keys stay as they were");
                format!("configuration taken over, but not the keys: {failed}")
            }
        },
        Err(error) => format!("configuration not taken over: {error}"),
    };
    tell(&[NotifyState::Status(&status), NotifyState::Ready]);
}

/// Without systemd nobody listens, which is fine.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(false, states);
}

/// Ticks at half of systemd's `WatchdogSec=`; nearly never without one.
fn watchdog() -> tokio::time::Interval {
    let mut microseconds = 0;
    let wanted = sd_notify::watchdog_enabled(false, &mut microseconds) && microseconds > 0;
    let period = if wanted {
        Duration::from_micros(microseconds) / 2
    } else {
        NEARLY_NEVER
    };
    let period = period.max(Duration::from_millis(100));
    tokio::time::interval_at(tokio::time::Instant::now() + period, period)
}

async fn open_store(config: &Config) -> Result<Store, StartError> {
    make_folders(config).map_err(StartError::Unavailable)?;
    store::open(config).await.map_err(|error| match error {
        OpenError::Setting(error) => error.into(),
        OpenError::Store(error @ StoreError::NewerSchema { .. }) => {
            ConfigError::new(config.store.name(), error.to_string()).into()
        }
        OpenError::Store(other) => StartError::Unavailable(other.to_string()),
    })
}

/// Before the first session: mail that has to be held needs a place.
async fn open_quarantine(config: &Arc<Config>) -> Result<Option<Arc<Quarantine>>, StartError> {
    let config = Arc::clone(config);
    let opening = tokio::task::spawn_blocking(move || Quarantine::open(&config));
    match opening.await {
        Ok(opened) => opened.map_err(|error| match error {
            quarantine::StartError::Config(error) => error.into(),
            quarantine::StartError::Folder(text) => StartError::Unavailable(text),
        }),
        Err(error) => Err(StartError::Unavailable(format!("the quarantine: {error}"))),
    }
}

/// A socket for mail.
enum Opened {
    Tcp(TcpListener),
    Unix(milter::Listener, PathBuf),
}

impl Opened {
    fn address(&self) -> Result<ListenAddress, StartError> {
        match self {
            Self::Tcp(listener) => local(listener).map(ListenAddress::Tcp),
            Self::Unix(_, path) => Ok(ListenAddress::Unix(path.clone())),
        }
    }
}

fn local(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener
        .local_addr()
        .map_err(|error| StartError::Unavailable(error.to_string()))
}

fn open(listener: &Listener, inherited: &mut Vec<Inherited>) -> Result<Opened, StartError> {
    match &listener.address {
        ListenAddress::Tcp(address) => bind(*address, inherited).map(Opened::Tcp),
        ListenAddress::Unix(path) => milter::Listener::unix(path, listener.socket_mode)
            .map(|opened| Opened::Unix(opened, path.clone()))
            .map_err(|error| {
                let address = &listener.address;
                StartError::Unavailable(format!("cannot listen on {address}: {error}"))
            }),
    }
}

/// Takes the socket that the service manager opened for this address, or opens one.
fn bind(address: SocketAddr, inherited: &mut Vec<Inherited>) -> Result<TcpListener, StartError> {
    let ours = |one: &Inherited| {
        one.listener
            .local_addr()
            .is_ok_and(|local| local == address)
    };
    let opened = match inherited.iter().position(ours) {
        Some(place) => Ok(inherited.swap_remove(place).listener),
        None => std::net::TcpListener::bind(address),
    };
    let listener = opened.and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    listener
        .map_err(|error| StartError::Unavailable(format!("cannot listen on {address}: {error}")))
}

/// A listener that was opened at the start, in whatever snapshot is in force.
struct Place {
    snapshots: Arc<ArcSwap<Snapshot>>,
    index: usize,
    address: Option<ListenAddress>,
}

impl Place {
    /// New sessions get the settings that the snapshot of their time has for their listener: the one
    /// of its address, wherever a reload has put it in the file.
    fn source<T: Send + Sync + 'static>(
        self,
        kind: fn(&Front) -> Option<&Arc<T>>,
        first: Arc<T>,
    ) -> Arc<dyn Fn() -> Arc<T> + Send + Sync> {
        Arc::new(move || {
            let snapshot = self.snapshots.load();
            let listeners = &snapshot.config.listeners;
            let is_it = |place: &usize| {
                listeners.get(*place).map(|one| &one.address) == self.address.as_ref()
            };
            // Its own place first: several may leave their port open.
            let mut places = std::iter::once(self.index).chain(0..listeners.len());
            let front = places.find(is_it).and_then(|at| snapshot.fronts.get(at));
            // A listener that a reload took out of the file, or gave another mode, serves on as it was
            // until the restart.
            Arc::clone(front.and_then(kind).unwrap_or(&first))
        })
    }
}

async fn housekeeping(
    snapshots: Arc<ArcSwap<Snapshot>>,
    mut vigil: Vigil,
    mut stopping: watch::Receiver<bool>,
) {
    while !*stopping.borrow() {
        tokio::select! {
            () = tokio::time::sleep(UPKEEP) => {
                metrics::upkeep();
                vigil.tell(&snapshots.load(), clock::unix_time(clock::now()));
            }
            _ = stopping.changed() => {}
        }
    }
}

fn failed(error: &StartError) -> ExitCode {
    let (text, code) = match error {
        StartError::Config(error) => (error.report(), Exit::Configuration),
        StartError::Unavailable(text) => (text.clone(), Exit::Unavailable),
    };
    log::last_words(&format!("kenin: {text}\n"));
    code.into()
}

const LEFTOVERS: Duration = Duration::from_secs(1);
const PANIC: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(28);
const UPKEEP: Duration = Duration::from_secs(5);
const NEARLY_NEVER: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;
