//! S-1 of the log, from outside: under `strace` no byte of a confirm leaves before the sync returned
//! that covers what it confirms. And what becomes of it when the disk fails.
//!
//! SIGKILL proves nothing about syncs, because the operating system keeps what was written. So the
//! system calls of the real binary are read: [`trace`] parses them, [`check`] says which confirms
//! left too early, [`clients`] are the publishers. The check is worth something only if it can fail: it
//! must find fault with a broker that runs with `storage.sync = "os"`, and with a build whose sync is
//! left out, which is a command of its own:
//!
//! ```sh
//! cargo test -p trivium-tests --test process -- --ignored without_sync
//! ```
//!
//! Without `strace` (a package of Debian) nothing is shown, and that is said; with
//! `TRIVIUM_STRICT` in the environment, as in `.ci/run`, it is a failure.

mod check;
mod clients;
mod failure;
mod trace;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{PATIENCE, Program, traced};
use crate::restart::Folder;
use check::Verdict;

/// Whole strings in hexadecimal, which has no two readings; who is at the other end of a socket.
const OPTIONS: &[&str] = &[
    "-yy",
    "-xx",
    "-s",
    "1000000",
    "--seccomp-bpf",
    "-e",
    "trace=write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2,fdatasync,fsync",
];

/// Where `strace` is. Nothing is silent about its absence.
fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("strace"));
    let found = found.into_iter().find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("TRIVIUM_STRICT").is_none(), "strace is not installed");
        // Past the harness, which shows nothing of tests that pass.
        let said = "SKIPPED: strace is not installed, so it is not shown that confirms wait\n";
        std::io::stderr().write_all(said.as_bytes()).ok();
    }
    found
}

/// Runs all clients against a broker under `strace`, and checks what it did.
fn run(strace: &Path, binary: Option<&Path>, sync: &str) -> Verdict {
    let folder = Folder::new();
    let file = folder.path().join("trace");
    let mut command = traced(strace, OPTIONS, &file, binary);
    command.arg(folder.argument()).env("TRIVIUM_STORAGE_SYNC", sync);
    // A sync of its own that comes by chance would cover what nobody waited for.
    command.env("TRIVIUM_STORAGE_SYNC_INTERVAL_MS", "1000");
    let mut program = Program::spawn(command);
    let ports = ["amqp", "mqtt", "stomp"].map(|listener| program.address(listener));
    let expected = clients::publish(ports);
    program.terminate();
    assert_eq!(program.exit_code(), Some(0));
    let text = whole_trace(&file);
    let verdict = check::check(&trace::parse(&text), ports.map(|address| address.port()));
    assert_eq!(verdict.confirmed, expected, "every kind of confirm was seen, for every message");
    verdict
}

/// The trace, once the tracer has written its end.
fn whole_trace(file: &Path) -> String {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(file).expect("there is a trace");
        let last = text.lines().last().unwrap_or_default();
        if last.contains("+++ exited with") && !text.contains("<unfinished ...>\n+++") {
            return text;
        }
        assert!(std::time::Instant::now() < deadline, "the trace ends with {last}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn no_confirm_leaves_before_its_sync() {
    let Some(strace) = strace() else { return };
    let verdict = run(&strace, None, "group");
    assert!(verdict.early.is_empty(), "confirmed before it was synced: {:?}", verdict.early);
    assert!(verdict.syncs > 0, "it syncs");
}

#[test]
fn the_proof_finds_confirms_that_do_not_wait() {
    let Some(strace) = strace() else { return };
    let verdict = run(&strace, None, "os");
    for kind in check::KINDS {
        assert!(
            verdict.early.iter().any(|early| early.starts_with(kind)),
            "a broker that does not wait for the sync passes with {kind}: {:?}",
            verdict.early
        );
    }
}

#[test]
#[ignore = "builds the broker anew"]
fn the_proof_fails_on_a_build_without_sync() {
    let strace = strace().expect("this proof needs strace");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/without-sync");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--package", "trivium", "--target-dir"]).arg(&target);
    cargo.env("RUSTFLAGS", "--cfg trivium_without_sync");
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(status.success(), "the binary does not build");
    let verdict = run(&strace, Some(&target.join("debug/trivium")), "group");
    assert_eq!(verdict.syncs, 0, "it has no sync");
    for kind in check::KINDS {
        assert!(
            verdict.early.iter().any(|early| early.starts_with(kind)),
            "a build without sync passes with {kind}: {:?}",
            verdict.early
        );
    }
}
