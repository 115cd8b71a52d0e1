use proptest::prelude::*;

use super::*;

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(|number| Value::Int(number.into(), 1)),
        any::<i16>().prop_map(|number| Value::Int(number.into(), 2)),
        any::<i32>().prop_map(|number| Value::Int(number.into(), 4)),
        any::<i64>().prop_map(|number| Value::Int(number, 8)),
        any::<u8>().prop_map(|number| Value::Uint(number.into(), 1)),
        any::<u16>().prop_map(|number| Value::Uint(number.into(), 2)),
        any::<u32>().prop_map(|number| Value::Uint(number.into(), 4)),
        any::<f32>()
            .prop_filter("NaN is not itself", |number| !number.is_nan())
            .prop_map(Value::Float),
        any::<f64>()
            .prop_filter("NaN is not itself", |number| !number.is_nan())
            .prop_map(Value::Double),
        (any::<u8>(), any::<i32>()).prop_map(|(scale, number)| Value::Decimal(scale, number)),
        any::<u64>().prop_map(Value::Timestamp),
        ".{0,9}".prop_map(Value::text),
        "[\"\\\\{}\\[\\],:%0\u{0}]{0,9}".prop_map(Value::text),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    scalars().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((".{0,4}", inner), 0..6)
                .prop_map(|entries| Value::Table(Table(entries))),
        ]
    })
}

fn written(value: &Value) -> (String, String, Option<Form>) {
    let (mut text, mut tags) = (String::new(), String::new());
    let form = write_value(value, &mut text, &mut tags);
    (text, tags, form)
}

#[test]
fn values_read_as_a_person_expects() {
    let nested = Table(vec![
        ("n".into(), Value::Int(5, 4)),
        ("a".into(), Value::Array(vec![Value::Bool(true), Value::text("\"x\"\0")])),
        ("v".into(), Value::Void),
    ]);
    for (value, text, tags, form) in [
        (Value::text("é"), "é", "S", Form::Plain),
        (Value::text("a%\0"), "a%25%00", "Z", Form::Coded),
        (Value::Text(vec![b'a', 0xFF]), "a%FF", "Z", Form::Coded),
        (Value::Bytes(b"a%".to_vec()), "a%", "x", Form::Typed),
        (Value::Bytes(vec![0xC3]), "%C3", "X", Form::Typed),
        (Value::Void, "", "V", Form::Typed),
        (Value::Bool(true), "true", "t", Form::Typed),
        (Value::Int(-5, 1), "-5", "b", Form::Typed),
        (Value::Uint(5, 4), "5", "i", Form::Typed),
        (Value::Double(1.5), "1.5", "d", Form::Typed),
        (Value::Decimal(2, 314), "3.14", "D", Form::Typed),
        (Value::Decimal(3, -5), "-0.005", "D", Form::Typed),
        (Value::Decimal(0, 7), "7", "D", Form::Typed),
        (Value::Timestamp(9), "9", "T", Form::Typed),
        (
            Value::Table(nested),
            "{\"n\":5,\"a\":[true,\"\\\"x\\\"\\u0000\"],\"v\":null}",
            "FIAtSV",
            Form::Typed,
        ),
    ] {
        assert_eq!(written(&value), (text.into(), tags.into(), Some(form)), "{value:?}");
    }
}

#[test]
fn what_nests_too_deep_has_no_text() {
    let nested = |depth| (0..depth).fold(Value::Void, |inner, _| Value::Array(vec![inner]));
    assert!(written(&nested(DEPTH_MAX)).2.is_some());
    assert_eq!(written(&nested(DEPTH_MAX + 1)), (String::new(), String::new(), None));
    let (text, tags) = ("[".repeat(9_999), "A".repeat(9_999));
    assert_eq!(json::read(&text, &tags), None);
}

#[test]
fn what_no_longer_parses_stays_text() {
    for (note, text) in [
        ("h=I", "five"),
        ("h=I", "99999999999"),
        ("h=t", "yes"),
        ("h=X", "%F"),
        ("h=FI", "{\"n\":\"five\"}"),
        ("h=FI", "{\"n\":5"),
        ("h=FI", "{\"n\":5,}"),
        ("h=FII", "{\"n\":5}"),
        ("h=F", "[]"),
        ("h=Q", "5"),
        ("other=I", "5"),
    ] {
        let mut types = TypesOfText::read(note).unwrap();
        assert_eq!(types.restore("h", text), Value::text(text), "{note} of {text}");
    }
    for note in ["", "h", "h=", "h=I,", "=;", "%=I", "h=I;"] {
        assert!(TypesOfText::read(note).is_none(), "{note}");
    }
    let mut types = TypesOfText::read("h=I").unwrap();
    assert_eq!(types.restore("h", "5"), Value::Int(5, 4));
    assert_eq!(types.restore("h", "5"), Value::text("5"), "a repeat that was not noted");
}

proptest! {
    #[test]
    fn every_value_comes_back(headers in proptest::collection::vec(("[a,=% é]{0,2}", values()), 0..6)) {
        let headers = Table(headers);
        let mut note = TypeNote::of(&headers);
        let mut texts = Vec::new();
        for (name, value) in &headers.0 {
            let (text, tags, form) = written(value);
            prop_assert!(form.is_some() && !text.contains('\0'));
            if let Some(note) = &mut note {
                note.add(name, name, &tags);
            }
            texts.push((name, text));
        }
        let note = note.map(TypeNote::into_text);
        let mut types = note.as_deref().map(|note| TypesOfText::read(note).unwrap());
        for ((name, text), (_, value)) in texts.iter().zip(&headers.0) {
            let restored = match &mut types {
                Some(types) => types.restore(name, text),
                None => Value::text(text.as_str()),
            };
            prop_assert_eq!(&restored, value);
        }
    }

    #[test]
    fn correlations_are_text_and_come_back(
        octets in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..9),
            "(octets:|%00|%FF|%41|%|a){0,4}".prop_map(String::into_bytes),
        ],
    ) {
        let mut text = String::new();
        text_of_octets(&octets, &mut text);
        prop_assert!(!text.contains('\0'));
        prop_assert_eq!(octets_of_text(&text), octets);
    }

    #[test]
    fn correlations_that_are_text_stay_themselves(text in "(octets:|%00|%FF|%41|%|a){0,4}") {
        let mut again = String::new();
        text_of_octets(&octets_of_text(&text), &mut again);
        prop_assert_eq!(again, text);
    }

    #[test]
    fn reading_never_panics(note in "([hAFIStV=,%]|=){0,12}", text in "[{}\\[\\]\",:\\\\u0-9é ]{0,20}") {
        if let Some(mut types) = TypesOfText::read(&note) {
            types.restore("h", &text);
        }
        drop(json::read(&text, "FAISAFIS"));
        drop(octets_of_text(&text));
    }
}
