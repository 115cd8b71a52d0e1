//! What the core promises its adapters, one promise a test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod lifetime;
mod peer;
mod queue;
mod routing;
mod transaction;
