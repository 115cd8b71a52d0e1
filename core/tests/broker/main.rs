//! What the core promises its adapters, one promise a test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod arguments;
mod catalogue;
mod client;
mod dead_letter;
mod expiry;
mod lifetime;
mod limits;
mod paging;
mod peer;
mod private;
mod queue;
mod retained;
mod routing;
mod transaction;
