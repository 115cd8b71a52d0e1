//! The broker as a process of ours.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// A running broker on a data directory; killed when dropped, and the directory goes with it.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    log: BufReader<ChildStderr>,
    data: PathBuf,
    path: PathBuf,
    /// Where AMQP is spoken.
    pub(crate) address: String,
    /// What it said of its recovery, as it stands in the log.
    pub(crate) recovered: String,
    /// From its start until it said that it is ready.
    pub(crate) started_in: Duration,
}

impl Broker {
    pub(crate) fn start(path: &Path, data: &Path) -> io::Result<Self> {
        let begun = Instant::now();
        let mut command = Command::new(path);
        command.args(["--log-format=json", "--listen=amqp=127.0.0.1:0", "--listen=mqtt=off"]);
        command.args(["--listen=stomp=off", "--listen=http=off"]).arg("--data").arg(data);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("stderr is piped"))?;
        let mut broker = Self {
            child,
            log: BufReader::new(stderr),
            data: data.to_owned(),
            path: path.to_owned(),
            address: String::new(),
            recovered: String::new(),
            started_in: Duration::ZERO,
        };
        loop {
            let mut line = String::new();
            if broker.log.read_line(&mut line)? == 0 {
                return Err(io::Error::other("the broker ended before it was ready"));
            }
            if line.contains("\"message\":\"recovered\"") {
                broker.recovered = ["queues", "messages", "took_ms"]
                    .map(|name| format!("{name} {}", field(&line, name)))
                    .join(", ");
            } else if line.contains("\"message\":\"listening\"") {
                broker.address = field(&line, "address").trim_matches('"').to_owned();
            } else if line.contains("\"message\":\"ready\"") {
                broker.started_in = begun.elapsed();
                return Ok(broker);
            }
        }
    }

    /// Ends it in order and starts it again, with what the operating system has of its files forgotten
    /// if that is wanted and allowed. Returns how long the end took, and whether it was.
    pub(crate) fn restart(&mut self, wants_cold: bool) -> io::Result<(Duration, bool)> {
        let begun = Instant::now();
        let status = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        if !status.success() || !self.child.wait()?.success() {
            return Err(io::Error::other("the broker did not end in order"));
        }
        let ended_in = begun.elapsed();
        // Only root may.
        let is_cold = wants_cold && drop_caches().is_ok();
        let (path, data) = (self.path.clone(), std::mem::take(&mut self.data));
        *self = Self::start(&path, &data)?;
        Ok((ended_in, is_cold))
    }

    /// Resident memory now and at most, in MiB.
    pub(crate) fn memory(&self) -> io::Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mebibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.unwrap_or(0) / 1024
        };
        Ok((mebibytes("VmRSS:"), mebibytes("VmHWM:")))
    }

    /// CPU time of all its threads.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let statistics = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let run = statistics.split(' ').next().and_then(|run| run.parse::<u64>().ok());
            nanoseconds += run.ok_or_else(|| io::Error::other("schedstat is not what it was"))?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Bytes that its data directory takes on the disk, in MiB.
    pub(crate) fn disk(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        let mut blocks = 0;
        for folder in [self.data.clone(), self.data.join("log")] {
            for entry in std::fs::read_dir(folder)? {
                // What is gone meanwhile takes nothing.
                blocks += entry?.metadata().map_or(0, |file| file.blocks());
            }
        }
        Ok(blocks * 512 / (1024 * 1024))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended, and then there is nobody to kill.
        self.child.kill().ok();
        self.child.wait().ok();
        if !self.data.as_os_str().is_empty() {
            std::fs::remove_dir_all(&self.data).ok();
        }
    }
}

/// What stands behind `name` in a line of JSON.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let behind = line.split_once(&format!("\"{name}\":")).map_or("", |(_, behind)| behind);
    behind.split([',', '}']).next().unwrap_or_default()
}

/// Has the operating system forget what it read from the disk. Root may.
fn drop_caches() -> io::Result<()> {
    let synced = Command::new("sync").status()?;
    if !synced.success() {
        return Err(io::Error::other("sync failed"));
    }
    std::fs::write("/proc/sys/vm/drop_caches", "3")
}
