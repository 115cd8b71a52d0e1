//! Enhanced authentication (MQTT 5, sections 3.15 and 4.12). The mechanism is a script here: who
//! says a name is asked for the proof of it. What SCRAM-SHA-256 makes of it is the gateway's.

use super::*;

const METHOD: &[u8] = b"SCRAM-SHA-256";

fn method() -> Vec<u8> {
    [&[0x15][..], &field(METHOD)].concat()
}

fn data(data: &[u8]) -> Vec<u8> {
    [&[0x16][..], &field(data)].concat()
}

fn connect_as(stage: &Stage, name: &[u8]) -> Vec<u8> {
    stage.connect(2, 0, &[method(), data(name)].concat(), &field(b"a"))
}

fn auth(code: u8, properties: &[&[u8]]) -> Vec<u8> {
    packet(0xF0, &[&[code], &block(V5, &properties.concat())])
}

fn step(code: u8, octets: &[u8]) -> Vec<u8> {
    auth(code, &[&method(), &data(octets)])
}

/// A client that has proved to be `guest`.
fn proved(stage: &Stage) -> Guest<'_> {
    let mut client = stage.dial();
    let heard = stage.say(&mut client, &connect_as(stage, b"guest"));
    assert_eq!(Hex(&heard), Hex(&step(0x18, b"challenge for guest")));
    let heard = stage.say(&mut client, &step(0x18, b"proof of guest"));
    let properties = [&ACCEPTED_5[5..], &method(), &data(b"proof of the server")].concat();
    // The order of properties is nobody's.
    assert_eq!((heard[0], heard[2], heard[3]), (0x20, 0, 0));
    assert_eq!(heard.len(), 5 + properties.len());
    for property in [method(), data(b"proof of the server")] {
        assert!(heard.windows(property.len()).any(|part| part == property));
    }
    client
}

/// [MQTT5-4.12.0-2] [MQTT5-4.12.0-5] [MQTT5-3.15.2-1] [MQTT5-3.2.0-1]
#[test]
fn a_client_proves_who_it_is() {
    in_5(|stage| {
        let mut client = proved(stage);
        let described = client.adapter().unwrap().describe();
        assert_eq!(described.user.as_deref(), Some("guest"));
        assert_eq!(stage.say(&mut client, PING), PONG);
    });
}

/// [MQTT5-4.12.0-1]
#[test]
fn another_method_is_refused() {
    in_5(|stage| {
        for name in [&b"GS2-KRB5"[..], b"scram-sha-256", b"", b"PLAIN"] {
            let property = [&[0x15][..], &field(name)].concat();
            stage.refuses(&stage.connect(2, 0, &property, &field(b"a")), 0x8C, None);
        }
        let without = stage.connect(2, 0, &data(b"x"), &field(b"a"));
        stage.refuses(&without, 0x82, None);
    });
}

/// [MQTT5-4.12.0-4] [MQTT5-3.1.4-2]
#[test]
fn a_wrong_proof_is_refused() {
    in_5(|stage| {
        let mut client = stage.dial();
        stage.say(&mut client, &connect_as(stage, b"guest"));
        let sent = [step(0x18, b"proof of another"), stage.publish(0, "t", 0, b"")].concat();
        let heard = stage.say(&mut client, &sent);
        assert_eq!(Hex(&heard), Hex(b"\x20\x03\0\x86\0"));
        assert!(client.is_closed());
    });
}

/// [MQTT5-3.1.2-30] [MQTT5-4.12.0-3] [MQTT5-3.14.0-1]
#[test]
fn before_its_connack_a_client_says_auth_or_goodbye() {
    in_5(|stage| {
        let wrong = [
            PING.to_vec(),
            stage.publish(0, "t", 0, b"x"),
            stage.subscribe(1, &[("t", 0)]),
            connect_as(stage, b"guest"),
            step(0x19, b"proof of guest"),
            auth(0x18, &[&data(b"proof of guest")]),
            auth(0x18, &[&[0x15], &field(b"PLAIN"), &data(b"proof of guest")]),
            b"\xF0\0".to_vec(),
        ];
        let mut witness = stage.listener("w", &[("t", 0)]);
        for sent in wrong {
            let mut client = stage.dial();
            stage.say(&mut client, &connect_as(stage, b"guest"));
            let heard = stage.say(&mut client, &sent);
            assert_eq!(Hex(&heard), Hex(b"\x20\x03\0\x82\0"), "{:?}", Hex(&sent));
            assert!(client.is_closed());
        }
        let mut client = stage.dial();
        stage.say(&mut client, &connect_as(stage, b"guest"));
        assert_eq!(stage.say(&mut client, b"\xE0\0"), b"");
        assert!(client.is_closed());
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(b""));
        // It has as long as any other login.
        let mut client = stage.dial();
        stage.say(&mut client, &connect_as(stage, b"guest"));
        stage.world.pass(10_000);
        stage.hear(&mut client);
        assert!(client.is_closed());
    });
}

/// [MQTT5-4.12.0-6] [MQTT5-4.12.0-7]
#[test]
fn without_a_method_there_is_no_auth() {
    in_5(|stage| {
        let heard = stage.first(&stage.connect(2, 0, b"", &field(b"a"))).0;
        assert_eq!(Hex(&heard), Hex(ACCEPTED_5), "no method in it");
        stage.breaks(&step(0x19, b"guest"), 0x82);
        stage.breaks(&auth(0x19, &[]), 0x82);
        stage.breaks(&step(0x18, b"guest"), 0x82);
        stage.breaks(&auth(0x18, &[b"\x16\0\x05x"]), 0x81);
    });
}

/// [MQTT5-4.12.1-1] [MQTT5-4.12.0-5] [MQTT5-3.15.2-1]
#[test]
fn a_client_proves_anew_who_it_is_while_all_goes_on() {
    in_5(|stage| {
        let mut client = proved(stage);
        stage.say(&mut client, &stage.subscribe(1, &[("t", 0)]));
        let heard = stage.say(&mut client, &step(0x19, b"guest"));
        assert_eq!(Hex(&heard), Hex(&step(0x18, b"challenge for guest")));
        let sent = stage.publish(0, "t", 0, b"x");
        assert_eq!(Hex(&stage.say(&mut client, &sent)), Hex(&sent));
        let heard = stage.say(&mut client, &step(0x18, b"proof of guest"));
        assert_eq!(Hex(&heard), Hex(&step(0, b"proof of the server")));
        assert_eq!(stage.say(&mut client, PING), PONG);
        // Again, and with another method.
        stage.say(&mut client, &step(0x19, b"guest"));
        stage.say(&mut client, &step(0x18, b"proof of guest"));
        let other = auth(0x19, &[&[0x15], &field(b"PLAIN"), &data(b"guest")]);
        assert_eq!(Hex(&stage.say(&mut client, &other)), Hex(b"\xE0\x02\x82\0"));
        assert!(client.is_closed());
    });
}

/// [MQTT5-4.12.1-2]
#[test]
fn a_client_that_fails_to_prove_it_anew_is_dropped() {
    in_5(|stage| {
        for (name, proof) in [("guest", "nonsense"), ("another", "proof of another")] {
            let mut client = proved(stage);
            stage.say(&mut client, &step(0x19, name.as_bytes()));
            let heard = stage.say(&mut client, &step(0x18, proof.as_bytes()));
            assert_eq!(Hex(&heard), Hex(b"\xE0\x02\x87\0"), "{name}");
            assert!(client.is_closed());
        }
        // What continues nothing, what begins twice, what only servers say.
        for sent in [
            step(0x18, b"proof of guest"),
            [step(0x19, b"guest"), step(0x19, b"guest")].concat(),
            step(0, b"proof of guest"),
        ] {
            let mut client = proved(stage);
            let heard = stage.say(&mut client, &sent);
            assert!(heard.ends_with(b"\xE0\x02\x82\0"), "{:?}", Hex(&heard));
            assert!(client.is_closed());
        }
        let mut client = proved(stage);
        assert_eq!(Hex(&stage.say(&mut client, b"\xF0\x02\x7F\0")), Hex(b"\xE0\x02\x81\0"));
    });
}
