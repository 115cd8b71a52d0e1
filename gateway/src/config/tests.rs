//! The table of what may be written, and of the lines that say why not.

use std::path::Path;

use super::*;

fn check(toml: &str) -> Result<Config, String> {
    RawConfig::parse(toml, Path::new("t.toml"))
        .and_then(Config::try_from)
        .map_err(|error| error.to_string())
}

#[test]
fn reference_is_the_default_and_prints_as_itself() {
    let parsed = RawConfig::parse(print::REFERENCE, Path::new("reference.toml")).unwrap();
    assert_eq!(parsed, RawConfig::default());
    assert_eq!(RawConfig::default().print(), print::REFERENCE);
    Config::try_from(parsed).unwrap();
}

#[test]
fn print_writes_what_is_in_force_and_hides_passwords() {
    let text = "default_user = \"boss\"\ndefault_pass = \"secret1\"\n[listeners]\nmqtt = \"off\"\n\
                [http]\nhosts = [\"a.test\"]\n[[users]]\nname = \"u\"\npassword = \"secret2\"\n\
                vhosts = [\"v\"]\n[[vhosts]]\nname = \"v\"\n";
    let raw = RawConfig::parse(text, Path::new("t.toml")).unwrap();
    let printed = raw.print();
    assert!(!printed.contains("secret"), "{printed}");
    let mut again = RawConfig::parse(&printed, Path::new("printed.toml")).unwrap();
    assert_eq!(again.default_pass, "***");
    again.default_pass.clone_from(&raw.default_pass);
    again.users[0].password.clone_from(&raw.users[0].password);
    assert_eq!(again, raw);
}

#[test]
fn wrong_lines_are_named_in_one_line() {
    let table = [
        ("[listeners]\namqq = \"off\"", "t.toml, line 2: amqq = \"off\": unknown field `amqq`"),
        ("[listener]\n", "t.toml, line 1: [listener]: unknown field `listener`"),
        ("[limits]\nconnections_max = \"x\"", "t.toml, line 2: connections_max = \"x\": invalid"),
        ("[limits]\nconnections_max = -1", "t.toml, line 2: connections_max = -1: invalid value"),
        ("[limits]\nconnections_max = 0", "limits.connections_max = 0: must be at least 1"),
        ("[limits]\nframe_bytes_max = 4095", "limits.frame_bytes_max = 4095: must be at least"),
        ("[limits]\nchannels_max = 65536", "limits.channels_max = 65536: must be 1 to 65535"),
        ("[listeners]\namqp = \"nowhere\"", "listeners.amqp = \"nowhere\": must be off, PORT"),
        ("[listeners]\namqp = \":70000\"", "listeners.amqp = \":70000\": must be off"),
        (
            "[listeners]\namqp=\"off\"\nmqtt=\"off\"\nstomp=\"off\"\nhttp=\"off\"",
            "listeners = off: at least one listener must be open",
        ),
        ("data = \"d\"\nephemeral = true", "data = \"d\": excludes ephemeral = true"),
        ("default_user = \"a\"", "default_pass = \"\": must be set together with default_user"),
        ("default_pass = \"a\"", "default_user = \"\": must be set together with default_pass"),
        ("[amqp]\nversion = \"3.13\"", "amqp.version = \"3.13\": must be three numbers, as 3.13.7"),
        ("[amqp]\nproduct = \"\"", "amqp.product = \"\": must be 1 to 1024 bytes long"),
        ("[log]\nformat = \"xml\"", "log.format = \"xml\": must be text or json"),
        ("[log]\nfilter = \"a=b=c\"", "log.filter = \"a=b=c\": must be error, warn"),
        ("[http]\nhosts = [\"a:1\"]", "http.hosts = \"a:1\": must be names without"),
        ("[http]\norigins = [\"a.test\"]", "http.origins = \"a.test\": must be origins"),
        (
            "[mapping]\nlisteners = [\"amqp\"]",
            "mapping.listeners = \"amqp\": must be listeners where MQTT is spoken",
        ),
        ("[[users]]\nname = \"a\"", "t.toml, line 1: [[users]]: missing field `password`"),
        ("[[users]]\nname = \"\"\npassword = \"p\"", "users.name = \"\": must be 1 to 255"),
        ("[[users]]\nname = \"a\"\npassword = \"\"", "users.password of \"a\" = \"\": must not"),
        (
            "[[users]]\nname = \"a\"\npassword = \"p\"\nvhosts = [\"v\"]",
            "users.vhosts of \"a\" = \"v\": must be / or listed in [[vhosts]]",
        ),
        (
            "[[vhosts]]\nname = \"v\"\n[[vhosts]]\nname = \"v\"",
            "vhosts.name = \"v\": must be unique among vhosts",
        ),
        (
            "[[policies]]\nname = \"p\"\npattern = \"(\"\ndefinition = { max-length = 1 }",
            "policies.pattern of \"p\" = (: must be a regular expression",
        ),
        (
            "[[policies]]\nname = \"p\"\npattern = \"\"\ndefinition = { overflow = \"no\" }",
            "policies.definition.overflow of \"p\" = no: must be drop-head, reject-publish or",
        ),
        (
            "[[operator_policies]]\nname = \"p\"\npattern = \"\"\nvhost = \"v\"\ndefinition = {}",
            "operator_policies.vhost of \"p\" = \"v\": must be / or listed",
        ),
        ("nonsense", "t.toml, line 1: nonsense: "),
    ];
    check_lines(&table);
}

fn check_lines(table: &[(&str, &str)]) {
    for (toml, line) in table {
        let error = check(toml).expect_err(toml);
        assert!(error.starts_with(line), "{toml:?} says {error:?}, not {line:?}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
fn wrong_storage_is_named() {
    check_lines(&[
        ("[storage]\nsync = \"never\"", "storage.sync = \"never\": must be group or os"),
        (
            "[storage]\nsync_interval_ms = 0",
            "storage.sync_interval_ms = 0: must be 1 to 60000 milliseconds",
        ),
        ("[storage]\nsegment_bytes = 4096", "storage.segment_bytes = 4096: must be 65536 to"),
        (
            "[storage]\nfree_bytes_min = -1",
            "t.toml, line 2: free_bytes_min = -1: invalid value: integer `-1`",
        ),
        (
            "[storage]\nsegment_bytes = 33554432",
            "storage.segment_bytes = 33554432: must be at least 33685504, for two of limits",
        ),
    ]);
}

#[test]
fn addresses_are_read() {
    let address = |text: &str| Some(Bind::Address(text.parse().unwrap()));
    let table = [
        ("off", Some(Bind::Off)),
        ("5672", Some(Bind::Everywhere(5672))),
        (":0", Some(Bind::Everywhere(0))),
        ("[::]:5672", Some(Bind::Everywhere(5672))),
        ("0.0.0.0:5672", address("0.0.0.0:5672")),
        ("localhost:1", Some(Bind::Localhost(1))),
        ("127.0.0.1:0", address("127.0.0.1:0")),
        ("[::1]:5", address("[::1]:5")),
        ("", None),
        (":", None),
        ("+5", None),
        ("OFF", None),
        ("example.com:5672", None),
        ("127.0.0.1", None),
    ];
    for (text, bind) in table {
        assert_eq!(Bind::parse(text), bind, "{text:?}");
    }
}

fn with(variables: &[(&str, &str)]) -> Result<RawConfig, String> {
    let find = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    RawConfig::default().with_environment(find).map_err(|error| error.to_string())
}

#[test]
fn every_key_is_a_variable() {
    let raw = with(&[
        ("TRIVIUM_LISTENERS_AMQP", "127.0.0.1:5673"),
        ("TRIVIUM_LIMITS_CONNECTIONS_MAX", "7"),
        ("TRIVIUM_HTTP_HOSTS", "a.test, b.test"),
        ("TRIVIUM_LOG", "debug"),
        ("TRIVIUM_LOG_FORMAT", "json"),
        ("TRIVIUM_DEFAULT_USER", "boss"),
        ("TRIVIUM_DEFAULT_PASS", "007"),
        ("TRIVIUM_EPHEMERAL", "true"),
        ("TRIVIUM_STORAGE_SYNC", "os"),
        ("TRIVIUM_STORAGE_FREE_BYTES_MIN", "0"),
    ])
    .unwrap();
    assert_eq!(raw.listeners.amqp, "127.0.0.1:5673");
    assert_eq!(raw.limits.connections_max, 7);
    assert_eq!(raw.http.hosts, ["a.test", "b.test"]);
    assert_eq!((raw.log.filter.as_str(), raw.log.format.as_str()), ("debug", "json"));
    assert_eq!((raw.default_user.as_str(), raw.default_pass.as_str()), ("boss", "007"));
    assert!(raw.ephemeral);
    assert_eq!((raw.storage.sync.as_str(), raw.storage.free_bytes_min), ("os", 0));
}

#[test]
fn wrong_variables_are_named() {
    let table = [
        (("TRIVIUM_LIMITS_CONNECTIONS_MAX", "x"), "\"x\": must be a whole number"),
        (("TRIVIUM_LIMITS_CONNECTIONS_MAX", "-1"), "\"-1\": invalid value"),
        (("TRIVIUM_EPHEMERAL", "yes"), "\"yes\": must be true or false"),
    ];
    for (variable, rule) in table {
        let error = with(&[variable]).unwrap_err();
        assert!(error.starts_with(&format!("{} = {rule}", variable.0)), "{error}");
    }
    let names = ["TRIVIUM_LISTENERS_AMQQ", "TRIVIUM_LOG", "TRIVIUM_CONFIG", "TRIVIUM_DATA", "HOME"];
    let unknown = unknown_variables(names.into_iter().map(str::to_owned));
    assert_eq!(unknown, ["TRIVIUM_LISTENERS_AMQQ"]);
}

#[test]
fn guest_is_there_until_a_default_user_is_set() {
    let guest = check("").unwrap().users;
    assert!(guest.find("guest").unwrap().loopback_only);
    assert_eq!(&*guest.anonymous().unwrap().name, "guest");

    let boss = check("default_user = \"boss\"\ndefault_pass = \"p\"").unwrap().users;
    assert!(boss.find("guest").is_none());
    assert!(boss.anonymous().is_none());
    assert!(!boss.find("boss").unwrap().loopback_only);

    let listed = check("[[users]]\nname = \"guest\"\npassword = \"g\"").unwrap().users;
    assert!(!listed.find("guest").unwrap().loopback_only);
    assert!(listed.anonymous().is_none());
}
