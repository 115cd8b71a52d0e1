//! The disk: a segmented write-ahead log that implements the core's [`trivium_core::log::Log`], and
//! the catalogue of what is durable beside messages.
//!
//! Threads and files are used here, and nothing asynchronous: the core appends synchronously, and
//! hears of durability on the log's own threads. Reading order: [`disk`],
//! [`log`], [`catalogue`]. Every byte, every
//! sync and the assumptions about the medium are in `FORMAT.md`.

pub mod catalogue;
pub mod disk;
mod fields;
pub mod log;

pub use catalogue::DiskCatalogue;
pub use log::{DiskLog, Failure, OpenError, Opened, Options, Progress, Step, SyncMode};
