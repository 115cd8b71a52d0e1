//! What durability costs: confirmed publishes a second beside what the disk can do, and ten million
//! messages in, over a restart, and out again.
//!
//! ```text
//! durability rates   --broker PATH --data DIR [--seconds N]
//! durability backlog --broker PATH --data DIR [--messages N] [--queues N]
//! ```
//!
//! It starts the broker itself, a release build, on a data directory that must not exist and that it
//! removes at the end. `tests/bench/DURABILITY.md` has results, and how they were obtained. Reading
//! order: `broker` (the process), `client` (AMQP, in frames made once), `rates`, `backlog`.

mod backlog;
mod broker;
mod client;
mod rates;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What to run, and with what.
#[derive(Debug, Default)]
struct Settings {
    broker: PathBuf,
    data: PathBuf,
    /// Of one measurement.
    span: Duration,
    messages: u64,
    queues: u64,
}

impl Settings {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<(String, Self), String> {
        let what = arguments.next().ok_or("say what: rates or backlog")?;
        let span = Duration::from_secs(3);
        let mut settings = Self { span, messages: 10_000_000, queues: 1, ..Self::default() };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
            match &*name {
                "--broker" => settings.broker = value.into(),
                "--data" => settings.data = value.into(),
                "--seconds" => settings.span = Duration::from_secs(number()?),
                "--messages" => settings.messages = number()?,
                "--queues" => settings.queues = number()?,
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        if settings.broker.as_os_str().is_empty() || settings.data.as_os_str().is_empty() {
            return Err("--broker and --data are needed".to_owned());
        }
        if settings.data.exists() {
            return Err(format!("{} exists: it would be removed", settings.data.display()));
        }
        Ok((what, settings))
    }
}

fn main() -> ExitCode {
    let run = |(what, settings): (String, Settings)| match &*what {
        "rates" => rates::run(&settings).map_err(|error| error.to_string()),
        "backlog" => backlog::run(&settings).map_err(|error| error.to_string()),
        other => Err(format!("{other} is neither rates nor backlog")),
    };
    match Settings::read(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "durability: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    writeln!(io::stdout(), "{text}").ok();
}

/// A count in a time, by the second.
fn per_second(count: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(count) * 1_000_000 / elapsed.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
