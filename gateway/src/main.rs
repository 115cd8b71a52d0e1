//! The binary. Everything it does is in the library.

use std::process::ExitCode;

/// glibc's allocator costs a queued message 36 ns more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    trivium::cli::main()
}
