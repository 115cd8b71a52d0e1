//! Ties the rooms of the gateway together: starts, runs, drains.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sd_notify::NotifyState;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tower::service_fn;
use tracing::{info, warn};
use trivium_core::{Broker, Protocol};

use crate::accept::{self, Accept, Accepted};
use crate::clock::SLOT;
use crate::config::{self, Config, Door, PlacedPolicy};
use crate::control::Control;
use crate::drive::{Caller, Carrier, Drive, Stream};
use crate::fault::Fault;
use crate::listen::tcp::{self, BindError, Bound};
use crate::memory::MemoryWatch;
use crate::shared::Shared;
use crate::storage::{Opening, Storage, StorageError};
use crate::telemetry::{Counters, SysTopics, Telemetry};
use crate::{descriptors, http};

/// Items of deferred work that the core does before other tasks get their turn.
const TICK_BUDGET: usize = 1000;

/// How often it is looked whether all retained messages are read.
const RESTORE_PAUSE: Duration = Duration::from_millis(2);

/// How often counters are published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// What the drain waits longer than the connections do, for them to notice.
const DRAIN_SLACK: Duration = Duration::from_millis(500);

/// See [`Gateway::start`].
#[derive(Clone, Copy, Debug)]
pub struct Gateway;

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot be opened; the configuration's fault, or that of a second broker.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A gateway that serves clients. Dropping it stops it without a drain.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    addresses: BTreeMap<Door, Vec<SocketAddr>>,
    background: Vec<JoinHandle<()>>,
    /// `None` when nothing is kept on disk.
    storage: Option<Arc<Storage>>,
}

impl Gateway {
    /// Opens every listener of `config` and begins to serve. Must be called inside a tokio runtime
    /// with time and IO. Several gateways may run in one process; they share nothing.
    pub async fn start(mut config: Config) -> Result<Running, StartError> {
        let mut doors = Vec::new();
        for door in Door::ALL {
            doors.push(tcp::open(door, config.listeners.of(door))?);
        }
        clamp_connections(&mut config);
        let fault = Fault::default();
        let (broker, storage) = open_broker(&config, fault.clone()).await?;
        config.vhosts.iter().for_each(|vhost| broker.add_vhost(vhost));
        for PlacedPolicy { vhost, kind, policy } in &config.policies {
            let set = broker.set_policy(vhost, *kind, policy.clone());
            debug_assert!(set.is_ok(), "the configuration was checked");
        }
        let counters = Arc::<Counters>::default();
        let control = Control::new(broker.clone(), config.users.clone(), counters.clone());
        let shared = Shared::new(
            broker.clone(),
            config.limits,
            (config.amqp.clone(), config.mqtt.clone(), config.stomp, config.mapping),
            control,
            counters.clone(),
            fault,
        );
        let tell_every = Duration::from_secs(config.mqtt.sys_interval_s.into());
        if !tell_every.is_zero() {
            broker.set_own_topics(Arc::new(SysTopics::new(&broker, counters.clone())));
        }
        let memory = MemoryWatch::new(config.limits.memory, storage.is_some());
        let telemetry = Arc::new(Telemetry::new(broker, counters, memory.limit()));

        let mut running = Running {
            shared: shared.clone(),
            addresses: BTreeMap::new(),
            storage: storage.clone(),
            background: vec![
                tokio::spawn(keep_time(shared.clone(), memory)),
                tokio::spawn(end_after_fault(shared.clone())),
                tokio::spawn(keep_publishing(telemetry.clone(), shared.clone(), storage)),
            ],
        };
        if !tell_every.is_zero() {
            running.background.push(tokio::spawn(keep_telling(shared.clone(), tell_every)));
        }
        let stacks = Stacks::new(&shared, telemetry, &config);
        for Bound { door, listeners, addresses } in doors {
            for address in &addresses {
                info!(listener = door.name(), %address, "listening");
            }
            for listener in listeners {
                let accept = tcp::accept(door, listener, stacks.of(door), shared.clone());
                running.background.push(tokio::spawn(accept));
            }
            running.addresses.insert(door, addresses);
        }
        info!(version = env!("CARGO_PKG_VERSION"), "ready");
        tell_supervisor(&[NotifyState::Ready]);
        Ok(running)
    }
}

/// One accept stack a door; they share the slots for connections.
struct Stacks([Accept<TcpStream>; Door::ALL.len()]);

impl Stacks {
    fn new(shared: &Arc<Shared>, telemetry: Arc<Telemetry>, config: &Config) -> Self {
        let connections_max = config.limits.connections_max.get() as usize;
        let slots = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        let counters = &shared.counters;
        let tcp = |door: Door, protocol: Protocol| {
            let shared = shared.clone();
            let serve = service_fn(move |accepted: Accepted<TcpStream>| {
                let caller = Caller::new(accepted.peer, Carrier::Tcp, protocol);
                let adapter = shared.adapters.make(door, protocol, shared.clock.now());
                let drive = Drive::new(shared.clone(), Stream(accepted.io), adapter, caller);
                // An async block would hold the driver twice, in every idle connection.
                drive.map(|_| Ok::<(), Infallible>(()))
            });
            accept::stack(serve, slots.clone(), counters.clone())
        };
        let websocket = {
            let shared = shared.clone();
            let serve = service_fn(move |upgraded| http::serve_websocket(upgraded, shared.clone()));
            accept::stack(serve, slots.clone(), counters.clone())
        };
        let http = |router: axum::Router| {
            let shared = shared.clone();
            let serve =
                service_fn(move |accepted| http::serve(accepted, router.clone(), shared.clone()));
            accept::stack(serve, slots.clone(), counters.clone())
        };
        let rules = || config.http.clone();
        let scraped = http::metrics_router(telemetry.clone(), rules());
        let browsers =
            |door: Door| http::websocket_router(door, shared.clone(), rules(), websocket.clone());
        let (web_stomp, web_mqtt) = (browsers(Door::WebStomp), browsers(Door::WebMqtt));
        let router = http::router(shared.clone(), telemetry, rules(), websocket);
        Self([
            tcp(Door::Amqp, Protocol::Amqp),
            tcp(Door::Mqtt, Protocol::Mqtt),
            tcp(Door::Stomp, Protocol::Stomp),
            http(router),
            http(scraped),
            http(web_stomp),
            http(web_mqtt),
        ])
    }

    fn of(&self, door: Door) -> Accept<TcpStream> {
        self.0[door as usize].clone()
    }
}

impl Running {
    /// Where a client on this machine reaches the listener called `name` (`amqp`, `mqtt`, `stomp`,
    /// `http`, `prometheus`, `web_stomp`, `web_mqtt`), with its real port; `None` when it is off.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        let addresses = self.addresses.get(&Door::named(name)?)?;
        // 127.0.0.1 before [::1]: a listener on every address serves both.
        let address =
            addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first())?;
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Some(SocketAddr::new(ip, address.port()))
    }

    /// The broker inside, for tests that look at it from both sides.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.shared.broker
    }

    /// Returns once the gateway cannot go on, because its disk failed: nothing is confirmed any more,
    /// every client is being told so, and the process should end.
    pub async fn fault(&self) {
        self.shared.fault.raised().await;
    }

    /// Begins the drain without waiting for its end: no new connections, `/health/ready` says 503,
    /// a goodbye to every client.
    pub fn begin_shutdown(&self) {
        self.shared.begin_drain();
        self.shared.tasks.close();
    }

    /// Drains and stops. Returns once every client has left, and after `limits.shutdown_timeout_ms`
    /// at the latest; whether all had left by themselves.
    pub async fn shutdown(self) -> bool {
        tell_supervisor(&[NotifyState::Stopping]);
        self.begin_shutdown();
        let patience = self.shared.limits.shutdown_timeout + DRAIN_SLACK;
        let has_ended = timeout(patience, self.shared.tasks.wait()).await.is_ok();
        if !has_ended {
            let left = self.shared.tasks.len();
            warn!(left, "not every connection ended in time");
        }
        if let Some(storage) = self.storage.clone() {
            let closed = tokio::task::spawn_blocking(move || storage.close()).await;
            if closed.is_err() {
                warn!("the data directory was not closed in order");
            }
        }
        has_ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.begin_shutdown();
        self.background.iter().for_each(JoinHandle::abort);
    }
}

/// Refuses what comes and sends everybody away once nothing can be kept any more.
async fn end_after_fault(shared: Arc<Shared>) {
    shared.fault.raised().await;
    shared.broker.fail("the disk failed");
    shared.begin_drain();
}

/// Moves the clock, wakes who waits for it, watches memory, and lets the core do what time does.
async fn keep_time(shared: Arc<Shared>, mut memory: MemoryWatch) {
    let mut slots = interval(SLOT);
    slots.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        slots.tick().await;
        shared.clock.advance();
        memory.look(&shared.broker);
        while shared.broker.tick(shared.clock.now(), TICK_BUDGET) {
            tokio::task::yield_now().await;
        }
    }
}

async fn keep_publishing(
    telemetry: Arc<Telemetry>,
    shared: Arc<Shared>,
    storage: Option<Arc<Storage>>,
) {
    let mut seconds = interval(PUBLISH_EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        seconds.tick().await;
        telemetry.publish();
        if let Some(storage) = &storage {
            storage.watch(&shared.broker);
        }
    }
}

/// Tells who listens to `$SYS` how the broker is.
async fn keep_telling(shared: Arc<Shared>, every: Duration) {
    let mut turns = interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        shared.broker.tell_listeners(shared.clock.now());
    }
}

fn clamp_connections(config: &mut Config) {
    let wanted = config.limits.connections_max.get();
    let descriptors = descriptors::raise();
    let possible = descriptors::clamp(wanted, descriptors);
    if possible < wanted {
        warn!(
            connections_max = possible,
            configured = wanted,
            descriptors,
            "limits.connections_max is clamped to the file descriptors the system allows"
        );
    }
    config.limits.connections_max = NonZeroU32::new(possible).unwrap_or(NonZeroU32::MIN);
}

/// The broker, and what keeps it.
async fn open_broker(
    config: &Config,
    fault: Fault,
) -> Result<(Arc<Broker>, Option<Arc<Storage>>), StartError> {
    let (seed, started_at) = (seed(), unix_ms());
    let away_messages_max = config.mqtt.away_messages_max.into();
    let limits = trivium_core::Limits { away_messages_max, ..config.limits.core };
    let opened = match config.storage.clone() {
        config::Storage::Ephemeral => {
            warn!("everything is kept in memory only; a restart loses it");
            (Broker::ephemeral(limits, seed), None)
        }
        config::Storage::Directory(directory, keeping) => {
            let accept_loss = config.accept_loss;
            let opening = tokio::task::spawn_blocking(move || {
                let how = Opening { keeping, accept_loss, fault };
                Storage::open(&directory, how, limits, (seed, started_at))
            });
            let opened = opening.await.unwrap_or_else(|panic| {
                std::panic::resume_unwind(panic.into_panic());
            });
            let (broker, storage) = opened?;
            (broker, Some(Arc::new(storage)))
        }
    };
    opened.0.set_epoch(started_at);
    while !opened.0.is_restored() {
        tokio::time::sleep(RESTORE_PAUSE).await;
    }
    Ok(opened)
}

/// Tells systemd (`Type=notify`) how far we are; nobody listens where `NOTIFY_SOCKET` is not set.
fn tell_supervisor(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service supervisor cannot be told");
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Unpredictable, from the randomness the standard library gives its hash maps.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
