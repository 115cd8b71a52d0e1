use super::*;

fn encoded(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    encode(table.0.iter().map(|(name, value)| (name.as_str().into(), value)), &mut out);
    out
}

/// `depth` containers inside each other, with the length of each in front.
pub(crate) fn nested(tag: u8, depth: usize) -> Vec<u8> {
    let mut inside = Vec::new();
    for level in 0..depth {
        let mut around = if tag == b'F' || level + 1 == depth { vec![1, b'k'] } else { vec![] };
        around.push(tag);
        around.extend_from_slice(&u32::try_from(inside.len()).unwrap().to_be_bytes());
        around.extend_from_slice(&inside);
        inside = around;
    }
    inside
}

#[test]
fn every_type_survives_the_wire() {
    let inner = Table(vec![("a".into(), Value::Void), ("b".into(), Value::Bool(true))]);
    let values = [
        Value::Void,
        Value::Bool(false),
        Value::Int(-1, 1),
        Value::Uint(255, 1),
        Value::Int(-300, 2),
        Value::Uint(65_535, 2),
        Value::Int(-70_000, 4),
        Value::Uint(u64::from(u32::MAX), 4),
        Value::Int(i64::MIN, 8),
        Value::Float(1.5),
        Value::Double(-2.25),
        Value::Decimal(2, -1234),
        Value::Text(vec![0xFF, 0]),
        Value::Bytes(vec![1, 2]),
        Value::Timestamp(u64::MAX),
        Value::Array(vec![Value::text("x"), Value::Array(vec![]), Value::Table(inner.clone())]),
        Value::Table(inner),
    ];
    let named = |(index, value): (usize, &Value)| (format!("k{index}"), value.clone());
    let table = Table(values.iter().enumerate().map(named).collect());
    let wire = encoded(&table);
    assert_eq!(check(&wire[4..]), Ok(()));
    assert_eq!(decode(&wire[4..]), table);
}

#[test]
fn received_order_and_repeats_are_kept() {
    let wire = b"\x01bt\x01\x01aV\x01bV";
    assert_eq!(check(wire), Ok(()));
    let names: Vec<_> = decode(wire).0.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b", "a", "b"]);
}

#[test]
fn what_a_table_cannot_hold_is_left_out() {
    let table = Table(vec![
        ("a".into(), Value::Uint(u64::MAX, 8)),
        ("a".into(), Value::Bool(true)),
        ("n".repeat(256), Value::Void),
    ]);
    let text = Value::text(u64::MAX.to_string());
    assert_eq!(decode(&encoded(&table)[4..]), Table(vec![("a".into(), text)]));
}

#[test]
fn depth_and_entries_are_bounded() {
    for tag in [b'F', b'A'] {
        assert_eq!(check(&nested(tag, DEPTH_MAX - 1)), Ok(()), "{tag}");
        assert_eq!(check(&nested(tag, DEPTH_MAX)), Err(TableError::TooDeep), "{tag}");
        assert_eq!(check(&nested(tag, 5_000)), Err(TableError::TooDeep), "{tag}");
        decode(&nested(tag, 5_000));
    }
    let entry = b"\x00V";
    assert_eq!(check(&entry.repeat(ENTRIES_MAX)), Ok(()));
    assert_eq!(check(&entry.repeat(ENTRIES_MAX + 1)), Err(TableError::TooMany));
}

#[test]
fn faults_are_told_apart() {
    assert_eq!(check(b"\x01a"), Err(TableError::Truncated));
    assert_eq!(check(b"\x01aI\0\0"), Err(TableError::Truncated));
    assert_eq!(check(b"\x01aF\0\0\0\x09"), Err(TableError::Truncated));
    assert_eq!(check(b"\x01aU\0\0"), Err(TableError::UnknownTag(b'U')));
    assert_eq!(check(b"\x01\xFFV"), Err(TableError::Name));
}

#[test]
fn deep_values_of_other_protocols_end_as_void() {
    let mut value = Value::Bool(true);
    for _ in 0..100 {
        value = Value::Array(vec![value]);
    }
    let wire = encoded(&Table(vec![("deep".into(), value)]));
    assert_eq!(check(&wire[4..]), Ok(()));
}
