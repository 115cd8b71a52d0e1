//! Every key of the configuration as an environment variable.
//!
//! The keys and their types are those of the default configuration, so that a new key needs no
//! second entry here. `[[users]]`, `[[vhosts]]` and policies have no variables: secrets of many users in an
//! environment are a mistake.

use serde::Deserialize;
use toml::{Table, Value};

use super::{Invalid, RawConfig};

/// `TRIVIUM_LOG` is what people try first.
const SHORT_FOR_LOG_FILTER: &str = "TRIVIUM_LOG";

/// Variables of the command line (`cli`), not of the configuration.
const OF_THE_COMMAND_LINE: [&str; 1] = ["TRIVIUM_CONFIG"];

/// Lays over `raw` what `variable` says.
pub(super) fn overlay(
    raw: &RawConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<RawConfig, Invalid> {
    let mut table = table_of(raw);
    for (key, name) in keys() {
        let short = (name == "TRIVIUM_LOG_FILTER").then(|| variable(SHORT_FOR_LOG_FILTER));
        let Some(text) = variable(&name).or_else(|| short.flatten()) else { continue };
        let place = place_of(&mut table, &key).expect("keys() lists the keys of this table");
        *place = read(place, &text).map_err(|rule| Invalid::new(&name, quoted(&text), rule))?;
        // At once, so that the complaint names this variable.
        RawConfig::deserialize(table.clone())
            .map_err(|error| Invalid::new(&name, quoted(&text), error.message()))?;
    }
    RawConfig::deserialize(table)
        .map_err(|error| Invalid::new("environment", "", error.message().to_owned()))
}

/// Those of `names` that look like a variable of ours and are none. They are told, not refused:
/// Kubernetes sets `TRIVIUM_PORT` and the like for a service called trivium.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known: Vec<String> = keys().into_iter().map(|(_, name)| name).collect();
    names
        .filter(|name| name.starts_with("TRIVIUM_") && name != SHORT_FOR_LOG_FILTER)
        .filter(|name| !OF_THE_COMMAND_LINE.contains(&name.as_str()) && !known.contains(name))
        .collect()
}

/// `(path, variable)` of every key that has one.
fn keys() -> Vec<(Vec<String>, String)> {
    let mut keys = Vec::new();
    for (section, value) in table_of(&RawConfig::default()) {
        match value {
            Value::Table(table) => {
                keys.extend(table.into_iter().map(|(key, _)| vec![section.clone(), key]));
            }
            Value::Array(_) => {}
            _ => keys.push(vec![section]),
        }
    }
    let variable = |path: &[String]| format!("TRIVIUM_{}", path.join("_").to_ascii_uppercase());
    keys.into_iter().map(|path| (path.clone(), variable(&path))).collect()
}

fn table_of(raw: &RawConfig) -> Table {
    Table::try_from(raw).expect("a configuration is a table of plain values")
}

fn place_of<'a>(table: &'a mut Table, path: &[String]) -> Option<&'a mut Value> {
    match path {
        [key] => table.get_mut(key),
        [section, key] => table.get_mut(section)?.get_mut(key),
        _ => None,
    }
}

/// Reads `text` as a value of the type of `example`.
fn read(example: &Value, text: &str) -> Result<Value, &'static str> {
    match example {
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "must be a whole number"),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| "must be true or false"),
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(Value::Array(parts.map(|part| Value::String(part.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Secrets do not belong into a complaint, but no variable that can be wrong holds one.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
