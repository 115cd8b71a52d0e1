//! The codec of the message path: written by hand, allocating nothing. `publish` reads what
//! publishers send, `deliver` writes what consumers get, `settle` reads and writes
//! acknowledgements. `tests.rs` holds it against `amq-protocol`, octet by octet.

pub(crate) mod deliver;
pub(crate) mod publish;
pub(crate) mod settle;

#[cfg(test)]
mod tests;
