//! The gateway: one process that AMQP 0-9-1, MQTT and STOMP clients share.
//!
//! It owns everything that the core and the adapters must not know: sockets, the clock, tasks,
//! users, HTTP, metrics, configuration and the command line. The binary is a few lines over this
//! library; tests start the real gateway inside their own process:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use trivium::config::{Config, RawConfig, RawListeners};
//!
//! let raw = RawConfig { listeners: RawListeners::any_loopback_port(), ..RawConfig::default() };
//! let running = trivium::Gateway::start(Config::try_from(raw)?).await?;
//! let address = running.address("amqp").expect("the listener is on");
//! assert_ne!(address.port(), 0);
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Reading order
//!
//! `listen` (a socket is accepted), `accept` (the stack it passes), `drive` (the task that serves
//! it), `control` (what may have to wait), then `http`, `telemetry`, `config`, `cli`.
//!
//! # What is promised
//!
//! - A message never passes a channel, a task hop or a `tower` service.
//! - An idle connection owns no buffer (`drive`).
//! - After SIGTERM: no new connections, `/health/ready` says 503, every client gets its protocol's
//!   own goodbye, and nobody is waited for longer than `limits.shutdown_timeout_ms`.

mod accept;
pub mod cli;
mod clock;
pub mod config;
mod control;
mod descriptors;
mod drive;
mod fault;
mod gateway;
mod http;
mod listen;
mod memory;
mod shared;
mod shutdown;
mod storage;
mod telemetry;

pub use gateway::{Gateway, Running, StartError};
pub use listen::tcp::BindError;
pub use storage::StorageError;
pub use telemetry::metric_names;
