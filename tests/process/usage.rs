//! Told something it cannot do, it ends with 2 and one line that names key, value and rule.

use std::net::TcpListener;
use std::path::PathBuf;

use crate::program::{FREE_PORTS, run};

/// A file of this test's own; removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("trivium-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the temporary folder is writable");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the temporary folder has a name in UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Runs it, sees it end with 2, and returns the one line it wrote.
fn complaint(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(arguments, variables);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?} {variables:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{arguments:?} {variables:?} wrote {text}");
    assert!(output.stdout.is_empty(), "{arguments:?} writes to stdout");
    text
}

fn answer(arguments: &[&str]) -> String {
    let output = run(arguments, &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let file = Scratch::new("unknown.toml", "[limits]\nconnections_mx = 7\n");
    let line = complaint(&["--config", file.path()], &[]);
    for part in [file.path(), "line 2", "connections_mx"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn a_bad_value_is_named_with_its_key_and_its_rule() {
    let file = Scratch::new("bad.toml", "[limits]\nframe_bytes_max = 10\n");
    let variable = [("TRIVIUM_LIMITS_FRAME_BYTES_MAX", "10")];
    let lines = [complaint(&["--config", file.path()], &[]), complaint(&[], &variable)];
    for line in lines {
        for part in ["limits.frame_bytes_max", "10", "at least 4096"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
    let wrong_type = Scratch::new("type.toml", "[limits]\nframe_bytes_max = \"much\"\n");
    let line = complaint(&["--config", wrong_type.path()], &[]);
    assert!(line.contains("frame_bytes_max") && line.contains("much"), "{line}");
    let line = complaint(&["--listen", "amqp=nowhere"], &[]);
    assert!(line.contains("amqp=nowhere"), "{line}");
    let line = complaint(&["--config", "no/such/file.toml"], &[]);
    assert!(line.contains("no/such/file.toml"), "{line}");
    let line = complaint(&["--what"], &[]);
    assert!(line.contains("--what"), "{line}");
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port is found");
    let address = taken.local_addr().expect("it is bound").to_string();
    let listen = format!("--listen=stomp={address}");
    let arguments = [FREE_PORTS, &[listen.as_str()]].concat();
    let output = run(&arguments, &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let line = text.lines().last().unwrap_or_default();
    for part in ["listeners.stomp", &address, "taken"] {
        assert!(line.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn questions_are_answered_on_stdout() {
    let version = answer(&["--version"]);
    assert_eq!(version.trim(), concat!("trivium ", env!("CARGO_PKG_VERSION")));
    assert!(answer(&["--help"]).contains("--listen"));
    assert!(answer(&["--check-config"]).contains("valid"));
}

#[test]
fn the_printed_configuration_is_one_that_it_reads() {
    let printed = answer(&["--print-config", "--listen", "amqp=127.0.0.1:5000"]);
    assert!(printed.contains("127.0.0.1:5000"), "a flag is in force");
    let file = Scratch::new("printed.toml", &printed);
    assert_eq!(answer(&["--print-config", "--config", file.path()]), printed);
    answer(&["--check-config", "--config", file.path()]);
}
