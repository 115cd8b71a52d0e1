//! A disk that fails: nothing is confirmed any more, everybody is told, and the process ends.

use crate::program::{Program, traced};
use crate::restart::Folder;

use super::clients::{Amqp, message};

#[test]
fn a_failed_sync_is_said_everywhere_and_ends_the_process() {
    let Some(strace) = super::strace() else { return };
    let folder = Folder::new();
    // Counted by thread: a start takes fewer, and the log's own thread syncs for every confirm.
    let fault = "inject=fdatasync:error=EIO:when=10+";
    let options = ["--seccomp-bpf", "-e", "trace=fdatasync", "-e", fault];
    let mut command = traced(&strace, &options, &folder.path().join("trace"), None);
    command.arg(folder.argument());
    let mut program = Program::spawn(command);
    assert_eq!(program.get("/health/ready"), (200, "ready\n".to_owned()));
    let mut amqp = Amqp::open(program.address("amqp"));
    // confirm.select
    amqp.0.send(b"\x01\0\x01\0\0\0\x05\0\x55\0\x0a\0\xce");
    amqp.0.wait(&[0, 85, 0, 11]);
    let mut confirmed = 0;
    let closed = loop {
        amqp.0.send(&message(1, b"kept?"));
        match amqp.0.wait_for_either(&[&[0, 60, 0, 80], b"CONNECTION_FORCED"]) {
            0 => confirmed += 1,
            _ => break amqp.0.rest(),
        }
        assert!(confirmed < 100, "the disk fails at the tenth sync");
    };
    assert!(closed.contains("the disk failed"), "{closed}");
    let (status, why) = program.get("/health/ready");
    assert_eq!(status, 503);
    assert!(why.contains("failed: cannot sync") && why.contains("segment"), "{why}");
    assert_eq!(program.get("/health/live"), (503, why));
    program.find("of the failure", |line| {
        line["level"] == "ERROR" && line["why"].as_str().is_some_and(|why| why.contains("sync"))
    });
    assert_eq!(program.exit_code(), Some(1));

    // What was confirmed is there.
    let mut program = folder.start();
    let line = program.line("recovered");
    assert!(line["messages"].as_u64() >= Some(confirmed), "{confirmed} confirmed: {line}");
}
