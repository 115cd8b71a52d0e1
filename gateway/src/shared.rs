//! What every connection of one gateway shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trivium_core::{Adapter, Broker, Instant, Protocol};

use crate::clock::Clock;
use crate::config::{Amqp, Door, HEADERS_BYTES_MAX, Limits, Mapping, Mqtt, Stomp};
use crate::control::Control;
use crate::fault::Fault;
use crate::telemetry::Counters;

/// See the module. One `Arc` of it is all that a connection holds of its gateway.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Which gateway of this process.
    pub(crate) number: u64,
    /// The one core.
    pub(crate) broker: Arc<Broker>,
    /// Coarse time and its wheel.
    pub(crate) clock: Clock,
    /// What metrics are published from.
    pub(crate) counters: Arc<Counters>,
    /// Checked bounds.
    pub(crate) limits: Limits,
    /// The control stack.
    pub(crate) control: Control,
    /// How adapters are made.
    pub(crate) adapters: Adapters,
    /// Cancelled when the drain begins; wakes every connection.
    pub(crate) drain: CancellationToken,
    /// Every connection's task; the drain waits for them.
    pub(crate) tasks: TaskTracker,
    /// What ended the gateway, if something did.
    pub(crate) fault: Fault,
    is_draining: AtomicBool,
}

impl Shared {
    /// Ties them together.
    pub(crate) fn new(
        broker: Arc<Broker>,
        limits: Limits,
        habits: (Amqp, Mqtt, Stomp, Mapping),
        control: Control,
        counters: Arc<Counters>,
        fault: Fault,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            broker,
            clock: Clock::default(),
            counters,
            adapters: Adapters::new(&limits, habits),
            limits,
            control,
            drain: CancellationToken::new(),
            tasks: TaskTracker::new(),
            fault,
            is_draining: AtomicBool::new(false),
        })
    }

    /// Whether the gateway is going down.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Begins the drain: no new connections, a goodbye to every open one.
    pub(crate) fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        self.drain.cancel();
    }
}

/// MQTT has no larger packet (MQTT 5, section 1.5.5).
const PACKET_BYTES_MAX: usize = 268_435_455 + 5;

/// Makes adapters; one configuration a protocol, shared by its connections.
#[derive(Debug)]
pub(crate) struct Adapters {
    amqp: Arc<trivium_amqp::Config>,
    /// By [`Door`], because mappings differ.
    mqtt: [Arc<trivium_mqtt::Config>; Door::ALL.len()],
    stomp: Arc<trivium_stomp::Config>,
}

impl Adapters {
    fn new(limits: &Limits, (amqp, mqtt, stomp, mapping): (Amqp, Mqtt, Stomp, Mapping)) -> Self {
        Self {
            amqp: Arc::new(trivium_amqp::Config {
                frame_bytes_max: limits.frame_bytes_max,
                channel_max: limits.channels_max,
                message_bytes_max: limits.message_bytes_max as u64,
                handshake_timeout: limits.handshake_timeout,
                product: amqp.product,
                version: amqp.version,
                platform: amqp.platform,
                cluster_name: amqp.cluster_name,
                ..trivium_amqp::Config::default()
            }),
            mqtt: Door::ALL.map(|door| {
                Arc::new(trivium_mqtt::Config {
                    packet_bytes_max: (limits.message_bytes_max + HEADERS_BYTES_MAX)
                        .min(PACKET_BYTES_MAX),
                    connect_timeout: limits.handshake_timeout,
                    session_expiry_max_s: mqtt.session_expiry_max_s,
                    vhost: mqtt.vhost_of(door),
                    coding: mapping.coding(door),
                    unset_is_qos_0: mapping.unset_is_qos_0(door),
                    ..trivium_mqtt::Config::default()
                })
            }),
            stomp: Arc::new(trivium_stomp::Config {
                message_bytes_max: limits.message_bytes_max,
                connect_timeout: limits.handshake_timeout,
                strict_host: stomp.strict_host,
                keep_open_after_error: stomp.keep_open_after_error,
                ..trivium_stomp::Config::default()
            }),
        }
    }

    /// A fresh adapter for a connection accepted `now` at `door`.
    pub(crate) fn make(&self, door: Door, protocol: Protocol, now: Instant) -> Box<dyn Adapter> {
        match protocol {
            Protocol::Amqp => Box::new(trivium_amqp::Connection::new(self.amqp.clone(), now)),
            Protocol::Mqtt => {
                Box::new(trivium_mqtt::Connection::new(self.mqtt[door as usize].clone(), now))
            }
            Protocol::Stomp => Box::new(trivium_stomp::Connection::new(self.stomp.clone(), now)),
        }
    }
}
