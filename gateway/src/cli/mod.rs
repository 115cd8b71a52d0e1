//! The command line, and the life of the process around a gateway.
//!
//! Flags win over environment variables, those over the file, the file over the defaults. The
//! process ends with 0 after SIGTERM or Ctrl-C, 1 after a fault at run time, and 2 when it was
//! told something it cannot do (usage, configuration, a port that is taken): one line says what.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tokio::runtime::Builder;

use crate::config::{Bind, Config, ConfigError, Door, RawConfig, unknown_variables};
use crate::shutdown::{End, Signals, run};
use crate::telemetry::logging;
use crate::{Gateway, StartError};

/// A fault at run time.
const FAILED: u8 = 1;
/// Where messages are kept when nobody says otherwise: in the working directory.
const DEFAULT_DATA: &str = "trivium-data";
/// Told something it cannot do.
const MISCONFIGURED: u8 = 2;

/// Names with underscores, which a documentation comment would have to mark up.
const LISTEN_HELP: &str = "Open a listener (amqp, mqtt, stomp, http, prometheus, web_stomp, \
                           web_mqtt) elsewhere, or not at all; port 0 takes any";

/// One message broker for AMQP 0-9-1, MQTT and STOMP. Without arguments it runs with defaults: AMQP
/// on 5672, MQTT on 1883, STOMP on 61613, HTTP and WebSocket on 15672.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "trivium", version)]
pub struct Arguments {
    /// Read this TOML file; --print-config shows what it may hold
    #[arg(long, value_name = "FILE", env = "TRIVIUM_CONFIG")]
    config: Option<PathBuf>,

    #[arg(long, value_name = "NAME=ADDRESS|off", value_parser = parse_listen, help = LISTEN_HELP)]
    listen: Vec<(Door, String)>,

    /// Keep what must survive a restart in this directory [default: trivium-data]
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data: Option<String>,

    /// Keep everything in memory only
    #[arg(long)]
    ephemeral: bool,

    /// Start without what cannot be read in a damaged data directory
    #[arg(long)]
    accept_loss: bool,

    /// Write log lines as text or as json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    /// Check the configuration and exit
    #[arg(long)]
    check_config: bool,

    /// Print the configuration in force, with every key explained, and exit
    #[arg(long)]
    print_config: bool,
}

fn parse_listen(text: &str) -> Result<(Door, String), String> {
    let (name, address) = text.split_once('=').ok_or("must be NAME=ADDRESS or NAME=off")?;
    let door = Door::named(name).ok_or_else(|| format!("NAME must be {}", Door::NAMES))?;
    Bind::parse(address).ok_or("ADDRESS must be off, PORT, :PORT, localhost:PORT or IP:PORT")?;
    Ok((door, address.to_owned()))
}

impl Arguments {
    /// The configuration that file, environment and these flags say.
    pub fn configuration(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<RawConfig, ConfigError> {
        let file = self.config.as_deref().map(RawConfig::read).transpose()?.unwrap_or_default();
        let mut raw = file.with_environment(variable)?;
        for (door, address) in &self.listen {
            raw.listeners.of(*door).clone_from(address);
        }
        if let Some(data) = &self.data {
            raw.data.clone_from(data);
            raw.ephemeral = false;
        }
        if self.ephemeral {
            raw.data.clear();
            raw.ephemeral = true;
        }
        if raw.data.is_empty() && !raw.ephemeral {
            DEFAULT_DATA.clone_into(&mut raw.data);
        }
        if let Some(format) = &self.log_format {
            raw.log.format.clone_from(format);
        }
        Ok(raw)
    }
}

/// The process, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let variable = |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into());
    let raw = match arguments.configuration(variable) {
        Ok(raw) => raw,
        Err(error) => return fail(MISCONFIGURED, &error),
    };
    let config = match Config::try_from(raw.clone()) {
        Ok(config) => Config { accept_loss: arguments.accept_loss, ..config },
        Err(error) => return fail(MISCONFIGURED, &error),
    };
    if arguments.print_config {
        return print(&raw.print());
    }
    if arguments.check_config {
        return print("the configuration is valid\n");
    }
    logging::start(&config.log);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for variable in unknown_variables(names) {
        tracing::warn!(variable, "this environment variable is no setting of trivium");
    }
    serve(config)
}

fn serve(config: Config) -> ExitCode {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = config.limits.threads_max.min(processors);
    let runtime = match Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, &format_args!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(async {
        let signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => return fail(FAILED, &format_args!("cannot listen to signals: {error}")),
        };
        match Gateway::start(config).await {
            Ok(running) => match run(running, signals).await {
                End::Asked => ExitCode::SUCCESS,
                End::Fault => FAILED.into(),
            },
            Err(error @ (StartError::Bind(_) | StartError::Storage(_))) => {
                fail(MISCONFIGURED, &error)
            }
        }
    });
    // Whoever is still there has had the time the configuration gives.
    runtime.shutdown_background();
    code
}

/// Help and version are answers; everything else is one line on stderr.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return print(&error.render().to_string());
    }
    let text = error.render().to_string();
    let first: Vec<&str> =
        text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let line = first.join(" ");
    fail(MISCONFIGURED, &format_args!("{} (see --help)", line.trim_start_matches("error: ")))
}

fn print(text: &str) -> ExitCode {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => FAILED.into(),
    }
}

/// One line on stderr. There is nobody to tell when even that fails.
fn fail(code: u8, error: &dyn Display) -> ExitCode {
    writeln!(stderr(), "trivium: {error}").ok();
    code.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let all = std::iter::once("trivium").chain(arguments.iter().copied());
        Arguments::try_parse_from(all).map_err(|error| error.to_string())
    }

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn flags_win_over_the_environment_and_it_over_the_defaults() {
        let arguments =
            parse(&["--listen", "amqp=127.0.0.1:0", "--listen", "stomp=off", "--ephemeral"]);
        let variable = |name: &str| match name {
            "TRIVIUM_LISTENERS_AMQP" => Some("127.0.0.1:1".to_owned()),
            "TRIVIUM_LISTENERS_MQTT" => Some("127.0.0.1:2".to_owned()),
            "TRIVIUM_DATA" => Some("there".to_owned()),
            _ => None,
        };
        let raw = arguments.unwrap().configuration(variable).unwrap();
        assert_eq!(raw.listeners.amqp, "127.0.0.1:0");
        assert_eq!(raw.listeners.mqtt, "127.0.0.1:2");
        assert_eq!(raw.listeners.stomp, "off");
        assert_eq!(raw.listeners.http, ":15672");
        assert!(raw.ephemeral);
        assert!(raw.data.is_empty());
    }

    #[test]
    fn wrong_usage_is_refused() {
        for arguments in [
            &["--listen", "amqp"][..],
            &["--listen", "smtp=off"],
            &["--listen", "amqp=nowhere"],
            &["--data", "d", "--ephemeral"],
            &["--unknown"],
            &["stray"],
        ] {
            parse(arguments).unwrap_err();
        }
        let raw = parse(&["--log-format", "xml"]).unwrap().configuration(none).unwrap();
        Config::try_from(raw).unwrap_err();
        let missing = parse(&["--config", "no/such/file"]).unwrap().configuration(none);
        assert!(missing.unwrap_err().to_string().contains("no/such/file"));
    }
}
