//! Throws damaged conversations at the AMQP adapter and the real core, in this process, on a stable
//! compiler.
//!
//! ```sh
//! cargo run --release -p trivium-tests --bin fuzz -- --seconds 60
//! cargo run --release -p trivium-tests --bin fuzz -- --seed 4711 --rounds 1    # one round again
//! ```
//!
//! Each round is one seed: clients on one broker say what the golden traces say, with octets, frames
//! and fields changed (`mutate`), or any order of their operations, while the log syncs, time passes,
//! alarms come and sockets break (`round`). A finding is a panic, a round that does not end, an
//! answer that is not whole frames, or something left when everybody has gone. It ends with status 1
//! at the first, and says which seed repeats it.

#[path = "../hostile/mutate.rs"]
mod damage;
#[path = "../hostile/random.rs"]
mod random;
mod round;
mod seeds;

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

use round::Round;
use seeds::Seeds;

/// A round takes a millisecond; one that takes this long does not end.
const PATIENCE: Duration = Duration::from_secs(30);

struct Settings {
    span: Duration,
    seed: u64,
    rounds: u64,
}

impl Settings {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut settings =
            Self { span: Duration::from_secs(10), seed: now.as_secs() << 20, rounds: u64::MAX };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = value.parse().map_err(|_| format!("{name} {value}: not a number"))?;
            match &*name {
                "--seconds" => settings.span = Duration::from_secs(number),
                "--seed" => settings.seed = number,
                "--rounds" => settings.rounds = number,
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
    let seeds = Seeds::read()?;
    say(&format!("seed {}, {} frames of golden traces", settings.seed, seeds.len()));
    let current = Arc::new(AtomicU64::new(settings.seed));
    watch(current.clone());
    let start = Instant::now();
    let (mut rounds, mut published) = (0, 0);
    while rounds < settings.rounds && start.elapsed() < settings.span {
        let seed = settings.seed.wrapping_add(rounds);
        current.store(seed, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| Round::new(&seeds, seed).play()));
        let finding = match result {
            Ok(Ok(count)) => {
                published += count;
                None
            }
            Ok(Err(finding)) => Some(finding),
            Err(_) => Some("it panicked".to_owned()),
        };
        if let Some(finding) = finding {
            say(&format!("finding: {finding}\nrepeat it with --seed {seed} --rounds 1"));
            return Ok(false);
        }
        rounds += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    say(&format!("{rounds} rounds in {seconds:.1} s, {published} messages published, no finding"));
    Ok(true)
}

/// Ends the process when a round does not.
fn watch(current: Arc<AtomicU64>) {
    thread::spawn(move || {
        let mut before = None;
        loop {
            thread::sleep(PATIENCE);
            let seed = current.load(Ordering::Relaxed);
            if before == Some(seed) {
                say(&format!("finding: it does not end\nrepeat it with --seed {seed} --rounds 1"));
                std::process::exit(1);
            }
            before = Some(seed);
        }
    });
}

fn say(text: &str) {
    writeln!(io::stdout(), "{text}").ok();
}
