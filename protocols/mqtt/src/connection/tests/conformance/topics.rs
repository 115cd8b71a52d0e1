//! Topic names and filters (MQTT 5 and 3.1.1, section 4.7).

use super::*;

/// [MQTT5-4.7.1-1] [MQTT5-4.7.1-2] [MQTT5-4.7.3-1] [MQTT311-4.7.1-2] [MQTT311-4.7.1-3]
/// [MQTT311-4.7.3-1]
#[test]
fn wildcards_stand_where_they_may() {
    in_both(|stage| {
        let mut client = stage.open("a");
        for filter in ["#", "a/#", "+", "+/+", "a/+/b", "+/#", "/#", "/", "//", "a/+/#", " "] {
            let heard = stage.say(&mut client, &stage.subscribe(1, &[(filter, 0)]));
            assert_eq!(Hex(&heard), Hex(&stage.suback(1, &[0])), "{filter}");
        }
        let failed = if stage.is_5() { 0x8F } else { 0x80 };
        for filter in ["a#", "#/a", "a/#/b", "##", "a+", "+a", "a/+b/c", "++", "a/b#"] {
            let heard = stage.say(&mut client, &stage.subscribe(1, &[(filter, 0)]));
            assert_eq!(Hex(&heard), Hex(&stage.suback(1, &[failed])), "{filter}");
        }
        stage.breaks(&stage.subscribe(1, &[("", 0)]), 0x82);
        stage.breaks(&stage.unsubscribe(1, &[""]), 0x82);
    });
}

/// [MQTT5-3.3.2-3] [MQTT5-4.7.3-4] [MQTT5-4.7.2-1] [MQTT311-3.3.2-3] [MQTT311-4.7.3-4]
/// [MQTT311-4.7.2-1] [MQTT311-4.7.1-2] [MQTT311-4.7.1-3]
#[test]
fn filters_match_character_by_character() {
    let topics = [
        "a", "A", "a/", "/a", "/", "//", "a//b", "a/b", "a/b/c", "b", "a.b", "a b", "a%2Fb",
        "\u{E9}", "e\u{301}", "$a", "$a/b", "$/b", "a/$b", " a",
    ];
    let matches: &[(&str, &[&str])] = &[
        ("a", &["a"]),
        ("a/", &["a/"]),
        ("/a", &["/a"]),
        ("+", &["a", "A", "b", "a.b", "a b", "a%2Fb", "\u{E9}", "e\u{301}", " a"]),
        ("+/+", &["a/", "/a", "/", "a/b", "a/$b"]),
        ("a/+", &["a/", "a/b", "a/$b"]),
        ("/+", &["/a", "/"]),
        ("+/b", &["a/b"]),
        ("a/#", &["a", "a/", "a//b", "a/b", "a/b/c", "a/$b"]),
        ("a/+/+", &["a//b", "a/b/c"]),
        ("a.b", &["a.b"]),
        ("\u{E9}", &["\u{E9}"]),
        ("$a/#", &[]),
        ("a//b", &["a//b"]),
        (
            "#",
            &[
                "a", "A", "a/", "/a", "/", "//", "a//b", "a/b", "a/b/c", "b", "a.b", "a b",
                "a%2Fb", "\u{E9}", "e\u{301}", "a/$b", " a",
            ],
        ),
    ];
    in_both(|stage| {
        let mut publisher = stage.open("p");
        for qos in [0, 1] {
            for (filter, matching) in matches {
                let mut listener = stage.listener("l", &[(filter, qos)]);
                for topic in topics {
                    stage.say(&mut publisher, &stage.publish(0, topic, 0, b"x"));
                    let heard = stage.hear(&mut listener);
                    let expected = if matching.contains(&topic) {
                        stage.publish(0, topic, 0, b"x")
                    } else {
                        Vec::new()
                    };
                    assert_eq!(Hex(&heard), Hex(&expected), "{filter} {topic}");
                }
            }
        }
    });
}

/// [MQTT5-4.7.3-3] [MQTT311-4.7.3-3]
#[test]
fn topics_are_as_long_as_a_string_may_be() {
    in_both(|stage| {
        let topic = "a".repeat(65_535);
        let mut listener = stage.listener("l", &[(&topic, 0)]);
        let sent = stage.publish(0, &topic, 0, b"x");
        stage.say(&mut stage.open("p"), &sent);
        assert!(stage.hear(&mut listener) == sent);
    });
}
