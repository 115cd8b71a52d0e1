//! The binary under test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// How long anything may take; only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The binary beside the tests that run: `cargo test` builds it with them. When only these tests
/// are built it may be missing or old; then it is built here.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        // <target>/<profile>/deps/process-<hash>
        let profile = test.ancestors().nth(2).expect("a test lies in a target folder");
        let binary = profile.join("trivium");
        let built = binary.metadata().and_then(|file| file.modified()).ok();
        if built.is_none_or(|built| built < last_change()) {
            build(profile);
        }
        binary
    })
}

fn build(profile: &Path) {
    let target = profile.parent().expect("a profile lies in a target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--offline", "--package", "trivium", "--target-dir"])
        .arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(status.success(), "the binary does not build");
}

/// When a source of the binary last changed.
fn last_change() -> SystemTime {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> = ["core", "protocols", "gateway"].map(|name| root.join(name)).into();
    let mut last = SystemTime::UNIX_EPOCH;
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("sources are readable") {
            let path = entry.expect("sources are readable").path();
            let is_test = path.file_name().is_some_and(|name| name == "tests");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.is_file() {
                last = last.max(path.metadata().and_then(|file| file.modified()).unwrap_or(last));
            }
        }
    }
    last
}

/// The binary with these arguments, and nothing of our environment but `variables`.
pub(crate) fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    // What is to be kept says so; nothing else leaves anything behind.
    command.args(arguments).env_clear().env("TRIVIUM_EPHEMERAL", "true");
    command.envs(variables.iter().copied());
    command
}

/// [`command`], with the calls that `options` select traced into `trace` by `strace`. The process is
/// still our own child: its tracer is not.
pub(crate) fn traced(
    strace: &Path,
    options: &[&str],
    trace: &Path,
    binary_of: Option<&Path>,
) -> Command {
    let mut command = Command::new(strace);
    command.args(["-D", "-f"]).args(options).arg("-o").arg(trace);
    command.arg(binary_of.unwrap_or_else(|| binary())).args(FREE_PORTS);
    command.env_clear();
    command
}

/// Runs it to its end, which must come by itself.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = command(arguments, variables);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the binary starts");
    wait(&mut child);
    child.wait_with_output().expect("it has ended")
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().expect("it is our child");
            panic!("it has not ended within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running gateway; killed when dropped.
pub(crate) struct Program {
    child: Child,
    log: Receiver<Value>,
    /// Every line read so far.
    lines: Vec<Value>,
}

/// Every listener on a free port of loopback.
pub(crate) const FREE_PORTS: &[&str] = &[
    "--listen=amqp=127.0.0.1:0",
    "--listen=mqtt=127.0.0.1:0",
    "--listen=stomp=127.0.0.1:0",
    "--listen=http=127.0.0.1:0",
];

impl Program {
    /// Starts it with a log in JSON and waits until it is ready.
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(command(arguments, variables))
    }

    /// The same, with a command that is ready but for the format of its log.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .arg("--log-format=json")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut program = Self { child, log, lines: Vec::new() };
        program.line("ready");
        program
    }

    /// The first line of the log with this message, read already or to come.
    pub(crate) fn line(&mut self, message: &str) -> Value {
        self.find(&format!("\"{message}\""), |line| line["message"] == message)
    }

    /// The first line that `is_it`.
    pub(crate) fn find(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.lines.iter().find(|line| is_it(line)) {
            return line.clone();
        }
        loop {
            let Ok(line) = self.log.recv_timeout(PATIENCE) else {
                panic!("no line {what} among {:#?}", self.lines)
            };
            self.lines.push(line.clone());
            if is_it(&line) {
                return line;
            }
        }
    }

    /// Where the log says that a listener is.
    pub(crate) fn address(&mut self, listener: &str) -> SocketAddr {
        let line = self
            .find(listener, |line| line["message"] == "listening" && line["listener"] == listener);
        let address = line["address"].as_str().expect("an address is text");
        address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// Status and body of a page.
    pub(crate) fn get(&mut self, path: &str) -> (u16, String) {
        self.try_get(path).unwrap_or_else(|| panic!("no answer for {path}"))
    }

    /// The same; `None` when the connection ends without an answer.
    pub(crate) fn try_get(&mut self, path: &str) -> Option<(u16, String)> {
        let mut socket = self.connect("http");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    }

    /// A socket to a listener; reads give up after [`PATIENCE`].
    pub(crate) fn connect(&mut self, listener: &str) -> TcpStream {
        let socket = TcpStream::connect(self.address(listener)).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout is set");
        socket
    }

    /// Bytes of memory that are the process's own.
    pub(crate) fn own_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.expect("the system says it") * 1024
    }

    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(status.success(), "it is our child");
    }

    /// Ends it as a power cut would, as far as the process knows.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it has ended");
    }

    /// Its exit code, once it has ended by itself.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait(&mut self.child).code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended, and then there is nobody to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
