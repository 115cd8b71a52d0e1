//! The codec of the message path: written by hand, allocating nothing. `publish` reads what
//! publishers send, `deliver` writes what consumers get, `settle` reads and writes
//! acknowledgements. Proved equal to `amq-protocol` in `tests/codec.rs` of this crate.

pub(crate) mod deliver;
pub(crate) mod publish;
pub(crate) mod settle;
