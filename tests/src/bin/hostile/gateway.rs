//! The binary under attack: its doors, its log, and what it uses of the machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// How long it may take to start.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Lines of the log that are kept for the report of a failure.
const KEPT_LINES_MAX: usize = 20;

/// What clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Amqp,
    Mqtt,
    Stomp,
    Http,
    Prometheus,
}

impl Door {
    pub(crate) const ALL: [Self; 5] =
        [Self::Amqp, Self::Mqtt, Self::Stomp, Self::Http, Self::Prometheus];

    const fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
            Self::Stomp => "stomp",
            Self::Http => "http",
            Self::Prometheus => "prometheus",
        }
    }
}

/// Where the doors are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors([SocketAddr; Door::ALL.len()]);

impl Doors {
    pub(crate) const fn address(&self, door: Door) -> SocketAddr {
        self.0[door as usize]
    }

    /// Reads and writes give up after `patience`.
    pub(crate) fn connect(&self, door: Door, patience: Duration) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address(door), Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(stream)
    }

    /// Status and body of a page.
    pub(crate) fn get(&self, path: &str) -> io::Result<(u16, String)> {
        let mut stream = self.connect(Door::Http, Duration::from_secs(5))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        status.map(|status| (status, body.to_owned())).ok_or_else(|| io::Error::other(answer))
    }

    /// The sum of a metric's values over all its labels.
    pub(crate) fn metric(&self, name: &str) -> io::Result<f64> {
        let (_, page) = self.get("/metrics")?;
        let mut values = page.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        });
        let first = values.next();
        let first = first.ok_or_else(|| io::Error::other(format!("{name} is not in /metrics")))?;
        Ok(first + values.sum::<f64>())
    }
}

/// What the log has said so far.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) lines: u64,
    /// Lines with the word `panic`, the first of them.
    pub(crate) panics: Vec<String>,
    /// Lines of level ERROR, the first of them.
    pub(crate) errors: Vec<String>,
}

impl Log {
    fn note(&mut self, line: String) {
        self.lines += 1;
        if line.contains("panic") && self.panics.len() < KEPT_LINES_MAX {
            self.panics.push(line);
        } else if line.contains(" ERROR ") && self.errors.len() < KEPT_LINES_MAX {
            self.errors.push(line);
        }
    }
}

/// The running gateway; killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) doors: Doors,
    log: Arc<Mutex<Log>>,
}

impl Gateway {
    pub(crate) fn start(binary: &Path) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.arg("--ephemeral");
        for door in Door::ALL {
            command.arg(format!("--listen={}=127.0.0.1:0", door.name()));
        }
        let mut child = command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut lines = BufReader::new(stderr);
        let addresses = read_addresses(&mut lines);
        let log = Arc::<Mutex<Log>>::default();
        let noted = log.clone();
        // Somebody must read on, or the gateway blocks on a full pipe.
        thread::spawn(move || note_lines(lines, &noted));
        match addresses {
            Ok(doors) => Ok(Self { child, doors, log }),
            Err(error) => {
                child.kill().ok();
                child.wait().ok();
                Err(error)
            }
        }
    }

    pub(crate) fn log<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:")
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or_default() * 1024
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// SIGTERM; how long it took to end and with which code, `None` when it did not end in time.
    pub(crate) fn terminate(&mut self, patience: Duration) -> Option<(Duration, Option<i32>)> {
        let begun = Instant::now();
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().ok()?;
        while begun.elapsed() < patience {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some((begun.elapsed(), status.code()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended, and then there is nobody to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn note_lines(lines: BufReader<ChildStderr>, log: &Mutex<Log>) {
    for line in lines.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        log.lock().unwrap_or_else(PoisonError::into_inner).note(line);
    }
}

/// Reads until the gateway says that it is ready.
fn read_addresses(lines: &mut BufReader<ChildStderr>) -> io::Result<Doors> {
    let (mut found, mut seen) = ([None; Door::ALL.len()], String::new());
    let begun = Instant::now();
    while begun.elapsed() < START_PATIENCE {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            break;
        }
        seen.push_str(&line);
        for door in Door::ALL {
            let listener = format!("listener=\"{}\" address=", door.name());
            if let Some((_, address)) = line.split_once(&listener) {
                found[door as usize] = address.trim().parse().ok();
            }
        }
        if line.contains(" ready ") {
            break;
        }
    }
    let none = SocketAddr::from(([0; 4], 0));
    if found.contains(&None) {
        return Err(io::Error::other(format!("the gateway did not open all doors:\n{seen}")));
    }
    Ok(Doors(found.map(|address| address.unwrap_or(none))))
}
