//! House rules a compiler does not know. Each names the rule of the architecture that it holds
//! when it fails.
//!
//! `crates.rs` asks cargo who builds on whom, `sources.rs` reads the tree (A-4 to
//! Cargo is asked offline: the rules hold without a network.

mod crates;
mod sources;

use std::path::{Path, PathBuf};

/// The top of the repository.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests lie in the repository").to_owned()
}
