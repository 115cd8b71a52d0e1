//! Throws conversations at the three adapters and the real core, in this process, on a stable
//! compiler.
//!
//! ```sh
//! cargo run --release -p trivium-tests --bin fuzz -- --seconds 60
//! cargo run --release -p trivium-tests --bin fuzz -- --seed 4711 --rounds 1 --show 1    # one round again
//! ```
//!
//! Each round is one seed: clients of AMQP, MQTT and STOMP on one broker, while the log syncs, time
//! passes, alarms come, policies change and sockets break (`round`). Most keep to the rules (`calm`):
//! they declare, bind, publish, consume, settle, commit and come back, in any order, and the broker
//! must not fault them, lose a confirm or break a body. The others say what the golden traces say,
//! with octets, frames and fields changed (`damage`), or in any order. Writes arrive in any pieces.
//!
//! A finding is a panic, a round that does not end, an answer that is not whole frames or that a
//! client must not get, or something left when everybody has gone. It ends with status 1 at the
//! first, and says which seed repeats it.

mod calm;
#[path = "../hostile/mutate.rs"]
mod damage;
mod frames;
#[path = "../hostile/random.rs"]
mod random;
mod round;
mod seeds;
mod speaker;

/// The golden traces' own words.
#[path = "../../../wire/assembler.rs"]
#[allow(dead_code, reason = "the suite of golden traces uses the rest")]
mod assembler;
#[path = "../../../wire/pattern.rs"]
#[allow(dead_code, reason = "the suite of golden traces uses the rest")]
mod pattern;
#[path = "../../../wire/text.rs"]
#[allow(dead_code, reason = "the suite of golden traces uses the rest")]
mod text;

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trivium_core::{Counts, Protocol};

use round::Round;
use seeds::Seeds;

/// A round takes milliseconds; one that takes this long, on a machine with much else to do, does not end.
const PATIENCE: Duration = Duration::from_mins(2);

struct Settings {
    span: Duration,
    seed: u64,
    rounds: u64,
    /// Whether to print what is said and heard.
    shows: bool,
}

impl Settings {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut settings = Self {
            span: Duration::from_secs(10),
            seed: now.as_secs() << 20,
            rounds: u64::MAX,
            shows: false,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = value.parse().map_err(|_| format!("{name} {value}: not a number"))?;
            match &*name {
                "--seconds" => settings.span = Duration::from_secs(number),
                "--seed" => settings.seed = number,
                "--rounds" => settings.rounds = number,
                "--show" => settings.shows = number > 0,
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        Ok(settings)
    }
}

fn main() -> ExitCode {
    match Settings::read(std::env::args().skip(1)).and_then(|settings| run(&settings)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("fuzz: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(settings: &Settings) -> Result<bool, String> {
    let [amqp, mqtt, stomp] = Protocol::ALL.map(Seeds::read);
    let seeds = [amqp?, mqtt?, stomp?];
    let count: usize = seeds.iter().map(Seeds::len).sum();
    say(&format!("seed {}, {count} frames of golden traces", settings.seed));
    let current = Arc::new(AtomicU64::new(settings.seed));
    watch(current.clone());
    let start = Instant::now();
    let (mut rounds, mut totals) = (0, Totals::default());
    while rounds < settings.rounds && start.elapsed() < settings.span {
        let seed = settings.seed.wrapping_add(rounds);
        current.store(seed, Ordering::Relaxed);
        let result =
            catch_unwind(AssertUnwindSafe(|| Round::new(&seeds, seed, settings.shows).play()));
        let finding = match result {
            Ok(Ok(counts)) => {
                totals.add(&counts);
                None
            }
            Ok(Err(finding)) => Some(finding),
            Err(_) => Some("it panicked".to_owned()),
        };
        if let Some(finding) = finding {
            say(&format!("finding: {finding}\nrepeat it with --seed {seed} --rounds 1 --show 1"));
            return Ok(false);
        }
        rounds += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    say(&format!("{rounds} rounds in {seconds:.1} s, no finding; {totals}"));
    Ok(true)
}

/// What became of messages in all rounds: how much of the broker was really at work.
#[derive(Debug, Default)]
struct Totals([[u64; 4]; 3]);

impl Totals {
    fn add(&mut self, counts: &[Counts; 3]) {
        for (total, counts) in self.0.iter_mut().zip(counts) {
            let delivered =
                counts.delivered + counts.delivered_no_ack + counts.gotten + counts.gotten_no_ack;
            let settled = counts.acknowledged + counts.rejected + counts.requeued;
            let all = [counts.published, counts.confirmed, delivered, settled];
            for (total, count) in total.iter_mut().zip(all) {
                *total += count;
            }
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (protocol, [published, confirmed, delivered, settled]) in
            Protocol::ALL.iter().zip(self.0)
        {
            write!(
                f,
                "\n{}: {published} published, {confirmed} confirmed, {delivered} delivered, \
                 {settled} settled",
                protocol.name()
            )?;
        }
        Ok(())
    }
}

/// Ends the process when a round does not.
fn watch(current: Arc<AtomicU64>) {
    thread::spawn(move || {
        let mut before = None;
        loop {
            thread::sleep(PATIENCE);
            let seed = current.load(Ordering::Relaxed);
            if before == Some(seed) {
                say(&format!(
                    "finding: it does not end\nrepeat it with --seed {seed} --rounds 1 --show 1"
                ));
                std::process::exit(1);
            }
            before = Some(seed);
        }
    });
}

fn say(text: &str) {
    writeln!(io::stdout(), "{text}").ok();
}
