//! Hostile octets on every door of a gateway, while honest clients of every protocol exchange
//! numbered messages.
//!
//! ```text
//! hostile --gateway PATH [--seconds N] [--seed S] [--only KIND] [--replay SEED]
//! ```
//!
//! Starts the binary at PATH on free ports of loopback. First `manners`: each class of malformed
//! input must get its protocol's own error and end its own connection only. Then `attacks` for N
//! seconds, and at the end: nothing panicked, memory and descriptors are what they were, every
//! honest message came once, in order and in time, and SIGTERM ends the process with 0.
//!
//! A seed repeats the attacks, though not how their octets meet. `--only` runs attacks of one kind;
//! `--replay` runs the one attack whose seed a failure names, again and again.

mod attacks;
mod browsers;
mod fight;
mod gateway;
mod honest;
mod manners;
mod mutate;
mod pipe;
mod random;
mod report;
mod slow;
mod wire;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use attacks::{Kind, QUICK, SLOW};
use fight::{Field, Fight};
use gateway::{Door, Doors, Gateway};
use honest::{Flow, LATENCY_MAX, Ledger};
use random::Random;
use report::{Report, say};

/// Attackers that come and go, and attackers that stay.
const QUICK_ATTACKERS: usize = 32;
const SLOW_ATTACKERS: usize = 20;

/// Between two attacks of one attacker, in milliseconds: clients and gateway share the machine.
const PAUSE_MS: usize = 12;

/// An attack that stays stays for this long at most.
const STAY: Duration = Duration::from_secs(5);

/// Resident memory at any time.
const PEAK_BYTES_MAX: u64 = 512 << 20;

/// Resident memory above the baseline, once the attackers are gone for [`SETTLE`]: the allocator
/// keeps pages of what was freed for later, more after some attacks than after others, however
/// long they lasted. What the broker itself keeps is looked at by its own metrics.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

/// From the last attack to the reading of memory.
const SETTLE: Duration = Duration::from_secs(2);

/// Until every descriptor of an attacker is given back: a connection that ended may linger.
const DESCRIPTORS_PATIENCE: Duration = Duration::from_secs(10);

/// From SIGTERM to the end: ten seconds for who does not leave, and slack.
const EXIT_PATIENCE: Duration = Duration::from_secs(12);

/// Honest clients alone, before the baseline is taken.
const WARM_UP: Duration = Duration::from_secs(2);

const MIB: u64 = 1 << 20;

fn main() -> ExitCode {
    match Settings::read(std::env::args().skip(1)).and_then(|settings| run(&settings)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(io::stderr(), "hostile: {error}").ok();
            ExitCode::from(2)
        }
    }
}

struct Settings {
    gateway: PathBuf,
    span: Duration,
    seed: u64,
    only: Option<String>,
    replay: Option<u64>,
}

impl Settings {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut settings = Self {
            gateway: PathBuf::new(),
            span: Duration::from_secs(15),
            seed: now.as_secs(),
            only: None,
            replay: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
            match &*name {
                "--gateway" => settings.gateway = value.into(),
                "--seconds" => settings.span = Duration::from_secs(number()?),
                "--seed" => settings.seed = number()?,
                "--replay" => settings.replay = Some(number()?),
                "--only" => settings.only = Some(value),
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        if settings.gateway.as_os_str().is_empty() {
            return Err("--gateway PATH is needed".to_owned());
        }
        Ok(settings)
    }

    /// Those of `kinds` that shall run.
    fn chosen(&self, kinds: &'static [Kind]) -> Vec<&'static Kind> {
        let is_chosen = |kind: &&Kind| self.only.as_ref().is_none_or(|only| only == kind.name);
        kinds.iter().filter(is_chosen).collect()
    }
}

fn run(settings: &Settings) -> Result<bool, String> {
    say(&format!("seed {}, {} s", settings.seed, settings.span.as_secs()));
    let mut report = Report::default();
    let mut gateway = Gateway::start(&settings.gateway).map_err(|error| error.to_string())?;
    let doors = gateway.doors;
    manners::check(&doors, &mut report).map_err(|error| error.to_string())?;

    let flows = Flow::all(&doors).map_err(|error| format!("honest clients: {error}"))?;
    let (ledger, field) = (Ledger::default(), Field::new(doors));
    attack(settings, &gateway, flows, &ledger, &field, &mut report)
        .map_err(|error| error.to_string())?;
    summarize(&field, &ledger);
    check_gateway(&mut gateway, &field, &mut report);
    check_honest(&ledger, &mut report);
    check_exit(&mut gateway, &doors, &mut report);
    Ok(report.end())
}

/// Resident bytes and descriptors of the gateway before the attack.
#[derive(Clone, Copy, Debug)]
struct Baseline {
    resident_bytes: u64,
    descriptors: usize,
}

/// Runs honest clients and attackers side by side, and then honest clients alone.
fn attack(
    settings: &Settings,
    gateway: &Gateway,
    mut flows: Vec<Flow>,
    ledger: &Ledger,
    field: &Field,
    report: &mut Report,
) -> io::Result<()> {
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for (number, flow) in flows.iter_mut().enumerate() {
            let random = Random::new(settings.seed ^ (number as u64) << 32);
            scope.spawn(|| flow.run(random, &has_ended, ledger));
        }
        thread::sleep(WARM_UP);
        let baseline = Baseline {
            resident_bytes: gateway.resident_bytes(),
            descriptors: gateway.descriptors(),
        };
        let (begun, silent) = (Instant::now(), manners::Silent::new(&field.doors));
        let (quick, slow) = (settings.chosen(&QUICK), settings.chosen(&SLOW));
        thread::scope(|attackers| {
            for number in 0..QUICK_ATTACKERS + SLOW_ATTACKERS {
                let kinds = if number < QUICK_ATTACKERS { &quick } else { &slow };
                if !kinds.is_empty() {
                    let seed = settings.seed.wrapping_mul(1000).wrapping_add(number as u64);
                    attackers.spawn(move || keep_attacking(field, kinds, seed, settings.replay));
                }
            }
            watch(settings.span, gateway, ledger, field);
            field.stop.store(true, Ordering::Relaxed);
        });
        thread::sleep(SETTLE);
        check_memory(gateway, baseline, report);
        let silent = silent.map(|silent| silent.check(begun, report));
        check_descriptors(gateway, baseline, report);
        has_ended.store(true, Ordering::Relaxed);
        silent
    })
}

fn keep_attacking(field: &Field, kinds: &[&Kind], seed: u64, replay: Option<u64>) {
    let mut random = Random::new(seed);
    while !field.stop.load(Ordering::Relaxed) {
        let kind = random.pick(kinds);
        let seed = replay.unwrap_or_else(|| random.next());
        (kind.run)(&mut Fight::new(field, kind.name, seed, STAY));
        kind.count.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(random.below(PAUSE_MS) as u64));
    }
}

/// A line a second.
fn watch(span: Duration, gateway: &Gateway, ledger: &Ledger, field: &Field) {
    let begun = Instant::now();
    let mut seen = 0;
    for second in 1..=span.as_secs() {
        thread::sleep(
            (begun + Duration::from_secs(second)).saturating_duration_since(Instant::now()),
        );
        let (messages, [_, p99, max]) = ledger.latencies(seen);
        let arrived = messages - seen;
        seen = messages;
        say(&format!(
            "{second:3} s: {:6} attackers' connections, {:3} open; {arrived:5} honest messages, \
             p99 {p99:.1?}, max {max:.1?}; {:4} MiB, {:4} descriptors, {:6} log lines",
            field.connections.load(Ordering::Relaxed),
            field.open.load(Ordering::Relaxed),
            gateway.resident_bytes() / MIB,
            gateway.descriptors(),
            gateway.log(|log| log.lines),
        ));
    }
}

fn summarize(field: &Field, ledger: &Ledger) {
    for kind in QUICK.iter().chain(&SLOW) {
        say(&format!("{:8} {}", kind.count.load(Ordering::Relaxed), kind.name));
    }
    let (messages, [p50, p99, max]) = ledger.latencies(0);
    say(&format!(
        "{} connections ({} ended by the gateway first, {} not taken), {} MiB sent; {messages} \
         honest messages, p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}",
        field.connections.load(Ordering::Relaxed),
        field.ended.load(Ordering::Relaxed),
        field.refused.load(Ordering::Relaxed),
        field.sent_bytes.load(Ordering::Relaxed) / MIB,
    ));
}

/// `Ok` when `holds`.
fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn check_memory(gateway: &Gateway, baseline: Baseline, report: &mut Report) {
    let (before, after, peak) =
        (baseline.resident_bytes, gateway.resident_bytes(), gateway.peak_bytes());
    say(&format!(
        "memory: {} MiB before, {} MiB at its peak, {} MiB after",
        before / MIB,
        peak / MIB,
        after / MIB
    ));
    say(&format!("left behind: {}", left_behind(&gateway.doors)));
    let why = || format!("{} MiB, {} MiB are allowed", peak / MIB, PEAK_BYTES_MAX / MIB);
    report.check("peak of memory", expect(peak <= PEAK_BYTES_MAX, why));
    let grown = after.saturating_sub(before);
    let why = || format!("{} MiB more, {} MiB are allowed", grown / MIB, GROWTH_BYTES_MAX / MIB);
    report.check("memory afterwards", expect(grown <= GROWTH_BYTES_MAX, why));
}

/// What the attackers made and did not take away; part of the memory afterwards.
fn left_behind(doors: &Doors) -> String {
    let names = [
        "rabbitmq_queues",
        "rabbitmq_queue_messages",
        "trivium_exchanges",
        "trivium_retained_messages",
        "trivium_sessions_open",
    ];
    let values = names.map(|name| match doors.metric(name) {
        Ok(value) => format!("{name} {value}"),
        Err(error) => format!("{name}: {error}"),
    });
    values.join(", ")
}

fn check_descriptors(gateway: &Gateway, baseline: Baseline, report: &mut Report) {
    let begun = Instant::now();
    let mut now = gateway.descriptors();
    while now > baseline.descriptors && begun.elapsed() < DESCRIPTORS_PATIENCE {
        thread::sleep(Duration::from_millis(50));
        now = gateway.descriptors();
    }
    let before = baseline.descriptors;
    say(&format!("descriptors: {before} before, {now} after {:.1?}", begun.elapsed() + SETTLE));
    report.check("descriptors", expect(now <= before, || format!("{now}, there were {before}")));
}

fn check_gateway(gateway: &mut Gateway, field: &Field, report: &mut Report) {
    report.check("alive", expect(gateway.is_alive(), || "the process has ended".to_owned()));
    let (panics, errors) = gateway.log(|log| (log.panics.clone(), log.errors.clone()));
    for line in panics.iter().chain(&errors) {
        let behind = field.behind(line);
        say(&format!("log: {line}\n     behind it: {behind:?}"));
    }
    report.check("no panic in the log", expect(panics.is_empty(), || "see above".to_owned()));
    report.check("no error in the log", expect(errors.is_empty(), || "see above".to_owned()));
    let counted = field.doors.metric("trivium_connection_panics_total");
    let result = counted
        .map_err(|error| error.to_string())
        .and_then(|count| expect(count == 0.0, || count.to_string()));
    report.check("trivium_connection_panics_total", result);
    let ready = field.doors.get("/health/ready").map(|(status, _)| status);
    report.check("ready", expect(matches!(ready, Ok(200)), || format!("{ready:?}")));
}

fn check_honest(ledger: &Ledger, report: &mut Report) {
    let failures = ledger.failures();
    let why = || failures.join("; ");
    report.check("every honest message once and in order", expect(failures.is_empty(), why));
    let (messages, [.., max]) = ledger.latencies(0);
    report.check("honest messages", expect(messages > 0, || "there were none".to_owned()));
    let why = || format!("{max:?}, {LATENCY_MAX:?} are allowed");
    report.check("honest messages in time", expect(max <= LATENCY_MAX, why));
}

/// SIGTERM while clients of every door are in the middle of something.
fn check_exit(gateway: &mut Gateway, doors: &Doors, report: &mut Report) {
    let stuck: Vec<_> = Door::ALL
        .into_iter()
        .filter_map(|door| doors.connect(door, Duration::from_secs(1)).ok())
        .collect();
    let field = Field::new(*doors);
    let fight = Fight::new(&field, "stuck", 0, STAY);
    let logged_in: Vec<_> =
        attacks::TALKS.iter().filter_map(|talk| attacks::log_in(&fight, talk)).collect();
    let result = match gateway.terminate(EXIT_PATIENCE) {
        Some((span, Some(0))) => {
            say(&format!("ended {span:.1?} after SIGTERM"));
            Ok(())
        }
        Some((span, code)) => Err(format!("exit code {code:?} after {span:.1?}")),
        None => Err(format!("it still runs after {EXIT_PATIENCE:?}")),
    };
    drop((stuck, logged_in));
    report.check("SIGTERM ends it with 0", result);
    let panics = gateway.log(|log| log.panics.len());
    report.check("no panic in the drain", expect(panics == 0, || panics.to_string()));
}
