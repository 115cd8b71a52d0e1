//! `[limits]`: everything that would otherwise grow until something breaks.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Invalid;
use super::memory::MemoryLimit;

/// `[limits]` as written. The reasons for the values stand in the reference configuration.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// Connections open at once, over all listeners.
    pub connections_max: u32,
    /// Largest AMQP frame read from a client, in bytes.
    pub frame_bytes_max: u32,
    /// Channels of one AMQP connection.
    pub channels_max: u32,
    /// Largest message taken from a client, in bytes.
    pub message_bytes_max: u32,
    /// From accept to a finished handshake, in milliseconds.
    pub handshake_timeout_ms: u32,
    /// From SIGTERM until connections are cut, in milliseconds.
    pub shutdown_timeout_ms: u32,
    /// Bytes of queued deliveries in one outbox before queues stop granting to it.
    pub outbox_bytes_max: u32,
    /// Bytes of fire-and-forget packets in one outbox before they are dropped.
    pub fire_and_forget_bytes_max: u32,
    /// Unsettled deliveries of one session.
    pub unsettled_per_session_max: u32,
    /// Messages at the head of a queue kept in memory.
    pub window_messages_max: u32,
    /// Bytes in the queue of one STOMP subscription to a topic or an exchange.
    pub private_queue_bytes_max: u32,
    /// From a delivery to its acknowledgement, in milliseconds; 0 for no limit.
    pub consumer_timeout_ms: u32,
    /// Memory of the process: `"60%"` or `"4GiB"`.
    pub memory: String,
    /// Threads that serve connections.
    pub threads_max: u32,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            frame_bytes_max: 131_072,
            channels_max: 2047,
            message_bytes_max: 16 * 1024 * 1024,
            handshake_timeout_ms: 10_000,
            shutdown_timeout_ms: 10_000,
            outbox_bytes_max: 1024 * 1024,
            fire_and_forget_bytes_max: 16 * 1024 * 1024,
            unsettled_per_session_max: 1_000_000,
            window_messages_max: 4096,
            private_queue_bytes_max: 64 * 1024 * 1024,
            consumer_timeout_ms: 1_800_000,
            memory: "60%".to_owned(),
            threads_max: 4,
        }
    }
}

/// `[limits]`, checked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At least one.
    pub connections_max: NonZeroU32,
    /// At least 4096.
    pub frame_bytes_max: u32,
    /// 1 to 65,535.
    pub channels_max: u16,
    /// 1 KiB to 256 MiB.
    pub message_bytes_max: usize,
    /// Longer than nothing.
    pub handshake_timeout: Duration,
    /// May be nothing.
    pub shutdown_timeout: Duration,
    /// What the process may take.
    pub memory: MemoryLimit,
    /// At least one.
    pub threads_max: usize,
    /// What the core bounds.
    pub core: trivium_core::Limits,
}

/// Headers of a packet or frame beside a body of `message_bytes_max`.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;

impl TryFrom<RawLimits> for Limits {
    type Error = Invalid;

    fn try_from(raw: RawLimits) -> Result<Self, Invalid> {
        let connections_max = NonZeroU32::new(raw.connections_max)
            .ok_or_else(|| Invalid::new("limits.connections_max", 0, "must be at least 1"))?;
        let memory = MemoryLimit::check(&raw.memory)?;
        let frame_rule = "must be at least 4096 (AMQP 0-9-1, frame-min-size)";
        let channels_max =
            within("channels_max", raw.channels_max, 1..=65_535, "must be 1 to 65535")?;
        let message_rule = "must be 1024 to 268435455 (MQTT's largest packet)";
        let handshake_ms =
            within("handshake_timeout_ms", raw.handshake_timeout_ms, from(1), ABOVE_0)?;
        Ok(Self {
            connections_max,
            frame_bytes_max: within(
                "frame_bytes_max",
                raw.frame_bytes_max,
                from(4096),
                frame_rule,
            )?,
            channels_max: u16::try_from(channels_max).unwrap_or(u16::MAX),
            message_bytes_max: bytes(within(
                "message_bytes_max",
                raw.message_bytes_max,
                1024..=268_435_455,
                message_rule,
            )?),
            handshake_timeout: Duration::from_millis(handshake_ms.into()),
            shutdown_timeout: Duration::from_millis(raw.shutdown_timeout_ms.into()),
            memory,
            threads_max: bytes(within("threads_max", raw.threads_max, from(1), ABOVE_0)?),
            core: core(&raw)?,
        })
    }
}

/// What the core bounds.
fn core(raw: &RawLimits) -> Result<trivium_core::Limits, Invalid> {
    Ok(trivium_core::Limits {
        outbox_bytes_max: bytes(within(
            "outbox_bytes_max",
            raw.outbox_bytes_max,
            from(4096),
            FLOOR,
        )?),
        fire_and_forget_bytes_max: bytes(within(
            "fire_and_forget_bytes_max",
            raw.fire_and_forget_bytes_max,
            from(4096),
            FLOOR,
        )?),
        unsettled_per_session_max: within(
            "unsettled_per_session_max",
            raw.unsettled_per_session_max,
            from(1),
            ABOVE_0,
        )?,
        window_messages_max: bytes(within(
            "window_messages_max",
            raw.window_messages_max,
            from(1),
            ABOVE_0,
        )?),
        private_queue_bytes_max: bytes(within(
            "private_queue_bytes_max",
            raw.private_queue_bytes_max,
            from(4096),
            FLOOR,
        )?),
        consumer_timeout_ms: Some(raw.consumer_timeout_ms.into()).filter(|millis| *millis > 0),
        ..trivium_core::Limits::default()
    })
}

fn within(key: &str, value: u32, range: RangeInclusive<u32>, rule: &str) -> Result<u32, Invalid> {
    let invalid = || Invalid::new(format!("limits.{key}"), value, rule);
    if range.contains(&value) { Ok(value) } else { Err(invalid()) }
}

const fn from(min: u32) -> RangeInclusive<u32> {
    min..=u32::MAX
}

const ABOVE_0: &str = "must be at least 1";
const FLOOR: &str = "must be at least 4096 bytes";

/// No supported machine has pointers of less than 32 bits.
const fn bytes(value: u32) -> usize {
    value as usize
}
