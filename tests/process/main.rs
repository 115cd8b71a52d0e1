//! The binary, as an operator meets it: what it says, on which ports, and how it ends.
//!
//! `program.rs` finds the binary, starts it and reads its log; `life.rs` runs it to its end;
//! `restart.rs` and `sessions.rs` look at what survives it, `kill` at what survives kills under load,
//! `storage.rs` at a data directory that cannot be used as it is; `memory.rs` gives it more than fits;
//! `proof` watches its system calls; `usage.rs` tells it what it cannot do.

mod kill;
mod life;
mod memory;
mod program;
mod proof;
mod restart;
mod sessions;
mod storage;
mod usage;
mod wire;
