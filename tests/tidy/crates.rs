//! what a crate may build on.

use std::process::Command;

use serde_json::Value;

use crate::root;

/// who may import whom, inside this workspace. A crate that is not listed has no place yet.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("trivium-core", &[]),
    ("trivium-store", &["trivium-core"]),
    ("trivium-amqp", &["trivium-core"]),
    ("trivium-mqtt", &["trivium-core"]),
    ("trivium-stomp", &["trivium-core"]),
    (
        "trivium",
        &["trivium-core", "trivium-store", "trivium-amqp", "trivium-mqtt", "trivium-stomp"],
    ),
    // The suites look at everything; nobody looks at them.
    ("trivium-tests", EVERYTHING),
    ("trivium-examples", EVERYTHING),
];

const EVERYTHING: &[&str] =
    &["trivium", "trivium-core", "trivium-store", "trivium-amqp", "trivium-mqtt", "trivium-stomp"];

/// Crates that must be able to run in a simulation: no runtime, no socket, no clock, no ambient
/// randomness, not even through a dependency.
const PURE: &[&str] = &["trivium-core", "trivium-amqp", "trivium-mqtt", "trivium-stomp"];

/// what no pure crate may build on. `rand_chacha` is not here: a generator that is handed its
/// seed is a function of its arguments; `rand` and `getrandom` ask the machine.
const IMPURE: &[&str] = &[
    // Runtimes, and what reaches sockets, processes and files.
    "async-io",
    "async-rs",
    "hyper",
    "libc",
    "mio",
    "polling",
    "rustix",
    "smol",
    "socket2",
    "tcp-stream",
    "tokio",
    "tokio-util",
    // Randomness and clocks.
    "chrono",
    "getrandom",
    "rand",
    "time",
    // Telemetry: adapters and core count into plain structs, and log nothing.
    "metrics",
    "tracing",
    // Messages are bytes in their publisher's wire form; nothing in them is serialised.
    "serde",
];

/// What a pure crate builds on all the same, and why that is harmless.
///
/// `amq-protocol` has a connector beside its codec, and no feature to leave it out: even without
/// default features `amq-protocol-tcp` brings `tcp-stream` (a wrapper of the standard library's
/// sockets), `async-rs` (its traits, no runtime), `tracing` and `serde`. None of it runs unless
/// somebody connects; [`the_amqp_adapter_uses_the_codec_alone`] sees that nobody does.
const HARMLESS: &[(&str, &[&str])] =
    &[("trivium-amqp", &["async-rs", "serde", "tcp-stream", "tracing"])];

/// packages that are dependencies of this workspace with real work to do.
const NAMED: &[&str] = &[
    "amq-protocol",
    "metrics",
    "metrics-exporter-prometheus",
    "mqttbytes",
    "stomp-parser",
    "tokio",
    "tokio-util",
    "tower",
];

#[test]
fn crates_import_only_what_the_map_allows() {
    for package in packages() {
        let (name, ours) = (name(&package), dependencies(&package, |kind| kind != Some("dev")));
        let allowed = MAY_IMPORT.iter().find(|(known, _)| *known == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("A-1: {name} is not on the map"));
        for dependency in ours.iter().filter(|dependency| dependency.starts_with("trivium")) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "A-1: {name} must not import {dependency}"
            );
        }
    }
}

#[test]
fn adapters_do_not_meet_in_their_tests_either() {
    for package in packages().iter().filter(|package| PURE.contains(&name(package).as_str())) {
        let dev = dependencies(package, |kind| kind == Some("dev"));
        let ours: Vec<_> = dev.iter().filter(|known| known.starts_with("trivium")).collect();
        assert!(
            ours.iter().all(|known| *known == "trivium-core"),
            "A-1: {}'s tests must not import {ours:?}",
            name(package)
        );
    }
}

#[test]
fn pure_crates_stay_pure() {
    for name in PURE {
        let built_on = tree(name);
        let harmless = HARMLESS.iter().find(|(known, _)| known == name).map_or(&[][..], |(_, h)| h);
        let found: Vec<_> = IMPURE
            .iter()
            .filter(|impure| built_on.iter().any(|known| known == *impure))
            .filter(|impure| !harmless.contains(impure))
            .collect();
        assert!(found.is_empty(), "A-2: {name} does no IO, yet it builds on {found:?}");
        for excused in harmless {
            assert!(
                built_on.iter().any(|known| known == excused),
                "A-2: {name} no longer builds on {excused}; take it off the list"
            );
        }
    }
}

#[test]
fn the_amqp_adapter_uses_the_codec_alone() {
    for (path, text) in crate::sources::rust_files("protocols/amqp/src") {
        for module in ["amq_protocol::tcp", "amq_protocol::uri", "amq_protocol::auth"] {
            assert!(!text.contains(module), "A-2: {path} reaches for {module}");
        }
    }
}

#[test]
fn the_named_packages_have_work() {
    let ours: Vec<String> = packages()
        .iter()
        .flat_map(|package| dependencies(package, |kind| kind.is_none()))
        .collect();
    for named in NAMED {
        assert!(ours.iter().any(|known| known == named), "A-3: nothing builds on {named}");
    }
}

/// The members of the workspace, as cargo describes them.
fn packages() -> Vec<Value> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&output).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("cargo metadata lists packages").clone()
}

fn name(package: &Value) -> String {
    package["name"].as_str().expect("a package has a name").to_owned()
}

/// Names of a package's own dependencies of the wanted kinds (`None` is a normal one).
fn dependencies(package: &Value, wanted: impl Fn(Option<&str>) -> bool) -> Vec<String> {
    let all = package["dependencies"].as_array().expect("a package has dependencies");
    all.iter().filter(|known| wanted(known["kind"].as_str())).map(name).collect()
}

/// Everything that `package` builds on, itself excluded; neither for its tests nor for its build
/// scripts.
fn tree(package: &str) -> Vec<String> {
    let output = cargo(&["tree", "--edges", "normal", "--prefix", "none", "--package", package]);
    let names = output.lines().skip(1).filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .arg("--offline")
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}
