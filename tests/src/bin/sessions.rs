//! Many persistent MQTT sessions: how long they take to be made, and to be there again after a kill,
//! and what they cost in memory.
//!
//! ```text
//! sessions BROKER [SESSIONS [CONNECTED]]
//! ```
//!
//! starts the binary BROKER on a folder of its own, opens SESSIONS (100,000) sessions that subscribe
//! to a topic each, at most CONNECTED (5,000) at once, sends each of them a message, kills the
//! broker, starts it again and lets every session come back and take its message. Prints a line of
//! JSON a step.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The longest that one answer may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// The broker, and where it listens.
struct Broker {
    child: Child,
    address: String,
}

impl Broker {
    /// Starts it; returns once it is ready.
    fn start(binary: &Path, data: &Path) -> io::Result<Self> {
        let mut child = Command::new(binary)
            .arg(format!("--data={}", data.display()))
            .args(["--log-format=json", "--listen=mqtt=127.0.0.1:0", "--listen=amqp=off"])
            .args(["--listen=stomp=off", "--listen=http=off"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut lines = BufReader::new(stderr).lines();
        let mut address = None;
        for line in lines.by_ref() {
            let line = line?;
            let is = |message: &str| line.contains(&format!("\"message\":\"{message}\""));
            if is("listening") {
                let rest = line.split_once("\"address\":\"").map(|(_, rest)| rest);
                address = rest.and_then(|rest| rest.split('"').next()).map(str::to_owned);
            }
            if is("recovered") {
                writeln!(io::stdout(), "{line}")?;
            }
            if is("ready") {
                break;
            }
        }
        // Whatever it says later is not waited for, but read.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { child, address })
    }

    /// Resident memory in MiB.
    fn resident_mib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended, and then there is nobody to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("names are short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).ok().filter(|length| *length < 128);
    [&[first, length.expect("packets are short")], body].concat()
}

/// CONNECT of MQTT 3.1.1 without a clean session.
fn connect(number: usize) -> Vec<u8> {
    let head = [&text("MQTT")[..], &[4, 0, 0, 0]].concat();
    packet(0x10, &[head, text(&format!("device-{number}"))].concat())
}

fn dial(broker: &Broker) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(&broker.address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn expect(mut socket: &TcpStream, expected: &[u8]) -> io::Result<()> {
    let mut read = vec![0; expected.len()];
    socket.read_exact(&mut read)?;
    if read == expected {
        return Ok(());
    }
    Err(io::Error::other(format!("read {read:?} and not {expected:?}")))
}

/// Connects clients in waves; `serve` is called with each wave once all of it is connected.
fn in_waves(
    broker: &Broker,
    (sessions, connected): (usize, usize),
    is_present: bool,
    serve: impl Fn(&[(usize, TcpStream)]) -> io::Result<()>,
) -> io::Result<()> {
    for start in (0..sessions).step_by(connected) {
        let mut wave = Vec::new();
        for number in start..sessions.min(start + connected) {
            let mut socket = dial(broker)?;
            socket.write_all(&connect(number))?;
            wave.push((number, socket));
        }
        for (_, socket) in &wave {
            expect(socket, &[0x20, 2, u8::from(is_present), 0])?;
        }
        serve(&wave)?;
    }
    Ok(())
}

fn subscribe(wave: &[(usize, TcpStream)]) -> io::Result<()> {
    for (number, mut socket) in wave.iter().map(|(number, socket)| (number, socket)) {
        let topic = text(&format!("device/{number}"));
        socket.write_all(&packet(0x82, &[&[0, 1], &topic[..], &[1]].concat()))?;
    }
    wave.iter().try_for_each(|(_, socket)| expect(socket, &[0x90, 3, 0, 1, 1]))
}

/// Takes the message that waits, and says goodbye.
fn take(wave: &[(usize, TcpStream)]) -> io::Result<()> {
    for (number, mut socket) in wave.iter().map(|(number, socket)| (number, socket)) {
        let topic = text(&format!("device/{number}"));
        expect(socket, &packet(0x32, &[&topic[..], &[0, 1], b"hello"].concat()))?;
        socket.write_all(&[0x40, 2, 0, 1, 0xE0, 0])?;
    }
    Ok(())
}

/// Sends every session a message, at most 1,000 unacknowledged at once.
fn send_to_all(broker: &Broker, sessions: usize) -> io::Result<()> {
    const WINDOW: usize = 1000;
    let mut socket = dial(broker)?;
    socket.write_all(&connect(sessions))?;
    expect(&socket, &[0x20, 2, 0, 0])?;
    for start in (0..sessions).step_by(WINDOW) {
        let (mut packets, mut answers) = (Vec::new(), Vec::new());
        for number in start..sessions.min(start + WINDOW) {
            let id = u16::try_from(number - start + 1).expect("a window is small").to_be_bytes();
            let topic = text(&format!("device/{number}"));
            packets.extend(packet(0x32, &[&topic[..], &id, b"hello"].concat()));
            answers.extend([0x40, 2, id[0], id[1]]);
        }
        socket.write_all(&packets)?;
        expect(&socket, &answers)?;
    }
    Ok(())
}

fn step(what: &str, sessions: usize, begun: Instant, broker: &Broker) -> io::Result<()> {
    let took_ms = begun.elapsed().as_millis();
    let resident_mib = broker.resident_mib();
    writeln!(
        io::stdout(),
        "{{\"step\":\"{what}\",\"sessions\":{sessions},\"took_ms\":{took_ms},\
         \"resident_mib\":{resident_mib}}}"
    )
}

fn run(binary: &Path, sessions: usize, connected: usize, data: &Path) -> io::Result<()> {
    let begun = Instant::now();
    let broker = Broker::start(binary, data)?;
    step("start", 0, begun, &broker)?;
    let begun = Instant::now();
    in_waves(&broker, (sessions, connected), false, subscribe)?;
    step("connect and subscribe", sessions, begun, &broker)?;
    let begun = Instant::now();
    send_to_all(&broker, sessions)?;
    step("publish one message to each", sessions, begun, &broker)?;
    drop(broker);
    let begun = Instant::now();
    let broker = Broker::start(binary, data)?;
    step("start after a kill", sessions, begun, &broker)?;
    let begun = Instant::now();
    in_waves(&broker, (sessions, connected), true, take)?;
    step("resume and take it", sessions, begun, &broker)?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(binary) = arguments.first() else {
        eprintln!("usage: sessions BROKER [SESSIONS [CONNECTED]]");
        return ExitCode::from(2);
    };
    let number = |at: usize, default| {
        arguments.get(at).and_then(|argument| argument.parse().ok()).unwrap_or(default)
    };
    let (sessions, connected) = (number(1, 100_000), number(2, 5000));
    let data = std::env::temp_dir().join(format!("trivium-sessions-{}", std::process::id()));
    let outcome = std::fs::create_dir_all(&data)
        .and_then(|()| run(Path::new(binary), sessions, connected, &data));
    // Whoever looks after temporary files does the rest.
    std::fs::remove_dir_all(&data).ok();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
