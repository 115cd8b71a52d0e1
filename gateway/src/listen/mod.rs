//! The doors: sockets that listen, what comes in through them, and how it is told apart.
//!
//! `tcp` binds and accepts; `websocket` carries a protocol's bytes in messages; `detect` names a
//! protocol by its first bytes.

pub(crate) mod detect;
pub(crate) mod tcp;
pub(crate) mod websocket;
