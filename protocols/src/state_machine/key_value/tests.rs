use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn bytes() -> impl Strategy<Value = Bytes> + Clone {
    let some =
        prop_oneof![Just("a"), Just("b"), Just("ab"), Just("7"), Just("-3"), Just("9223372036854775807")];
    some.prop_map(Bytes::from)
}

/// Few of many bytes, and few of them too many.
fn large(max: usize) -> impl Strategy<Value = Bytes> + Clone {
    prop_oneof![20 => bytes(), 1 => (max - 1..max + 2).prop_map(|length| Bytes::from(&vec![b'7'; length]))]
}

fn single() -> impl Strategy<Value = BatchedCommand> + Clone {
    use KeyValueCommand::{
        Append, CompareAndSwap, Count, Delete, Exists, Get, Increment, Length, Page, Put, Set, Take,
    };
    let (key, value) = (large(MAX_KEY_BYTES), large(MAX_VALUE_BYTES));
    let when = prop_oneof![Just(When::Always), Just(When::Absent), Just(When::Present)];
    let pattern = prop_oneof![Just("*"), Just("a*"), Just("?"), Just("[^a]*")].prop_map(Bytes::from);
    let pair = || (key.clone(), value.clone());
    prop_oneof![
        pair().prop_map(|(key, value)| Put(key, value)),
        key.clone().prop_map(Get),
        key.clone().prop_map(Delete),
        (key.clone(), proptest::option::of(value.clone()), value.clone())
            .prop_map(|(key, expected, new)| CompareAndSwap { key, expected, new }),
        (key.clone(), -2..3_i64).prop_map(|(key, by)| Increment(key, by)),
        (pair(), when, any::<bool>()).prop_map(|((key, value), when, tell)| Set { key, value, when, tell }),
        key.clone().prop_map(Take),
        pair().prop_map(|(key, value)| Append(key, value)),
        key.clone().prop_map(Length),
        key.clone().prop_map(Exists),
        (proptest::option::of(key), proptest::option::of(pattern), 0..5_u32)
            .prop_map(|(after, pattern, count)| Page { after, pattern, count }),
        Just(Count),
    ]
}

fn command() -> impl Strategy<Value = KeyValueCommand> + Clone {
    let batch = proptest::collection::vec(single(), 0..6);
    prop_oneof![
        2 => single().prop_map(alone),
        1 => batch.prop_map(|commands| KeyValueCommand::Batch(commands.into_iter().collect())),
    ]
}

/// A command of a batch, on its own.
fn alone(command: BatchedCommand) -> KeyValueCommand {
    use KeyValueCommand::{
        Append, CompareAndSwap, Count, Delete, Exists, Get, Increment, Length, Page, Put, Set, Take,
    };
    match command {
        Put(key, value) => Put(key, value),
        Get(key) => Get(key),
        Delete(key) => Delete(key),
        CompareAndSwap { key, expected, new } => CompareAndSwap { key, expected, new },
        Increment(key, by) => Increment(key, by),
        Set { key, value, when, tell } => Set { key, value, when, tell },
        Take(key) => Take(key),
        Append(key, value) => Append(key, value),
        Length(key) => Length(key),
        Exists(key) => Exists(key),
        Page { after, pattern, count } => Page { after, pattern, count },
        Count => Count,
        KeyValueCommand::Batch(never) => match never {},
    }
}

#[test]
fn a_key_value_store_keeps_the_laws() {
    super::super::laws::tests::hold::<KeyValue>(command());
}

/// What a store is by definition, of commands that keep to the limits.
#[derive(Default)]
struct Oracle(BTreeMap<Vec<u8>, Vec<u8>>);

impl Oracle {
    fn apply(&mut self, command: &BatchedCommand) -> BatchedOutput {
        use KeyValueOutput::{
            Deleted, Differs, Done, NotANumber, Number, Overflow, Swapped, TooLarge, Unmet, Value,
        };
        let key = command.key().map_or(vec![], |key| key.as_slice().to_vec());
        let before = self.0.get(&key).cloned();
        let told = |value: &Option<Vec<u8>>| value.as_ref().map(Bytes::from);
        let length = before.as_ref().map_or(0, Vec::len);
        match command {
            KeyValueCommand::Put(_, value) => {
                self.0.insert(key, value.as_slice().to_vec());
                Done
            }
            KeyValueCommand::Get(_) => Value(told(&before)),
            KeyValueCommand::Delete(_) => Deleted(self.0.remove(&key).is_some()),
            KeyValueCommand::CompareAndSwap { expected, new, .. } => {
                if told(&before) != *expected {
                    return Differs(told(&before));
                }
                self.0.insert(key, new.as_slice().to_vec());
                Swapped
            }
            KeyValueCommand::Increment(_, by) => {
                let text = before.map_or(Some("0".into()), |value| String::from_utf8(value).ok());
                let number = text
                    .and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text));
                let Some(number) = number else { return NotANumber };
                let Ok(sum) = i64::try_from(i128::from(number) + i128::from(*by)) else { return Overflow };
                self.0.insert(key, sum.to_string().into_bytes());
                Number(sum)
            }
            KeyValueCommand::Set { value, when, tell, .. } => {
                let sets = *when == When::Always || (*when == When::Present) == before.is_some();
                if sets {
                    self.0.insert(key, value.as_slice().to_vec());
                }
                if *tell {
                    Value(told(&before))
                } else if sets {
                    Done
                } else {
                    Unmet
                }
            }
            KeyValueCommand::Take(_) => Value(self.0.remove(&key).map(|value| Bytes::from(&value))),
            KeyValueCommand::Append(_, value) if length + value.as_slice().len() > MAX_VALUE_BYTES => {
                TooLarge
            }
            KeyValueCommand::Append(_, value) => {
                let entry = self.0.entry(key).or_default();
                entry.extend(value.as_slice());
                number_of(entry.len())
            }
            KeyValueCommand::Length(_) => number_of(length),
            KeyValueCommand::Exists(_) => KeyValueOutput::Exists(before.is_some()),
            KeyValueCommand::Page { after, pattern, count } => {
                self.page(after.as_ref(), pattern.as_ref(), *count)
            }
            KeyValueCommand::Count => number_of(self.0.len()),
            KeyValueCommand::Batch(never) => match *never {},
        }
    }

    fn page(&self, after: Option<&Bytes>, pattern: Option<&Bytes>, count: u32) -> BatchedOutput {
        let behind = |key: &&Vec<u8>| after.is_none_or(|after| key.as_slice() > after.as_slice());
        let rest: Vec<_> = self.0.keys().filter(behind).map(Bytes::from).collect();
        let (page, left) = rest.split_at(rest.len().min(count.max(1) as usize));
        let matching =
            |key: &&Bytes| pattern.is_none_or(|pattern| matches(pattern.as_slice(), key.as_slice()));
        let keys = page.iter().filter(matching).cloned().collect::<Vec<_>>().into();
        KeyValueOutput::Page { keys, next: page.last().filter(|_| !left.is_empty()).cloned() }
    }

    fn is(&self, store: &KeyValue) -> bool {
        let pairs = store.iter().map(|(key, value)| (key.as_slice().to_vec(), value.as_slice().to_vec()));
        pairs.eq(self.0.clone())
    }
}

proptest! {
    #[test]
    fn a_store_is_a_map(commands in proptest::collection::vec(single(), 0..40)) {
        let (mut store, mut oracle) = (KeyValue::default(), Oracle::default());
        for command in &commands {
            let whole = alone(command.clone());
            if KeyValue::refusal(&whole).is_some() {
                prop_assert_eq!(store.apply(&whole), KeyValueOutput::TooLarge);
                continue;
            }
            let expected = oracle.apply(command);
            let single = KeyValueCommand::Batch([command.clone()].into_iter().collect());
            prop_assert_eq!(store.clone().apply(&single), KeyValueOutput::Batch([expected.clone()].into_iter().collect()));
            prop_assert_eq!(format!("{:?}", store.apply(&whole)), format!("{expected:?}"));
            prop_assert!(oracle.is(&store), "{command:?}");
        }
    }

    /// A batch is its commands one after the other, and leaves everything alone if their outputs are too large together.
    #[test]
    fn a_batch_is_all_of_its_commands_or_none(
        before in proptest::collection::vec(single(), 0..30), batch in proptest::collection::vec(single(), 0..30)
    ) {
        let mut store = KeyValue::default();
        for command in before {
            store.apply(&alone(command));
        }
        let mut whole = store.clone();
        let output = whole.apply(&KeyValueCommand::Batch(batch.iter().cloned().collect()));
        let mut parts = store.clone();
        let outputs: Vec<_> = batch.iter().cloned().map(|command| parts.apply(&alone(command))).collect();
        let bytes: usize = outputs.iter().map(KeyValueOutput::bytes).sum();
        for (command, output) in batch.iter().zip(&outputs) {
            prop_assert!(output.bytes() <= command.output_bytes_max());
        }
        match output {
            KeyValueOutput::Batch(together) => {
                prop_assert_eq!(whole, parts);
                prop_assert_eq!(format!("{:?}", together.outputs()), format!("{outputs:?}"));
            }
            KeyValueOutput::OutputTooLarge => {
                prop_assert_eq!(whole, store);
                prop_assert!(bytes > MAX_OUTPUT_BYTES);
            }
            KeyValueOutput::TooLarge => {
                prop_assert_eq!(whole, store);
                prop_assert!(batch.iter().map(KeyValueCommand::bytes).sum::<usize>() + 8 > MAX_BATCH_BYTES);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn outputs_keep_to_their_limit(
        before in proptest::collection::vec(single(), 0..30), command in command()
    ) {
        let mut store = KeyValue::default();
        for command in before {
            store.apply(&alone(command));
        }
        prop_assert!(KeyValue::output_bytes(&store.apply(&command)) <= MAX_OUTPUT_BYTES + 11);
    }
}

#[test]
fn what_exceeds_a_limit_is_refused_before_and_when_it_is_executed() {
    let of = |bytes: usize| Bytes::from(&vec![b'7'; bytes]);
    let swap = |key, expected, new| KeyValueCommand::CompareAndSwap { key, expected: Some(expected), new };
    let (key, value) = (of(MAX_KEY_BYTES), of(MAX_VALUE_BYTES));
    let (long_key, long_value) = (of(MAX_KEY_BYTES + 1), of(MAX_VALUE_BYTES + 1));
    let puts = |count: usize, bytes: usize| {
        let put = KeyValueCommand::Put(of(1), of(bytes));
        KeyValueCommand::Batch(std::iter::repeat_n(put, count).collect())
    };
    let page = |after: Option<&Bytes>, pattern: usize| {
        let pattern = Some(Bytes::from(&vec![b'*'; pattern]));
        KeyValueCommand::Page { after: after.cloned(), pattern, count: 1 }
    };
    let fitting = [
        KeyValueCommand::Put(key.clone(), value.clone()),
        swap(key.clone(), value.clone(), value.clone()),
        puts(MAX_BATCH_COMMANDS, 1),
        puts(1, MAX_VALUE_BYTES),
        page(Some(&key), MAX_PATTERN_BYTES),
    ];
    assert!(fitting.iter().all(|command| KeyValue::refusal(command).is_none()));
    let refused = [
        KeyValueCommand::Put(key.clone(), long_value.clone()),
        KeyValueCommand::Put(long_key.clone(), value.clone()),
        KeyValueCommand::Get(long_key.clone()),
        KeyValueCommand::Delete(long_key.clone()),
        KeyValueCommand::Increment(long_key.clone(), 1),
        KeyValueCommand::Append(key.clone(), long_value.clone()),
        KeyValueCommand::Set { key: key.clone(), value: long_value.clone(), when: When::Absent, tell: true },
        puts(MAX_BATCH_COMMANDS + 1, 1),
        puts(3, MAX_VALUE_BYTES),
        page(Some(&long_key), 1),
        page(None, MAX_PATTERN_BYTES + 1),
        swap(long_key, value.clone(), value.clone()),
        swap(key.clone(), long_value.clone(), value.clone()),
        swap(key, value, long_value),
    ];
    let mut store = KeyValue::default();
    for command in refused {
        assert_eq!(KeyValue::refusal(&command), Some(KeyValueOutput::TooLarge), "{command:?}");
        assert_eq!(store.apply(&command), KeyValueOutput::TooLarge, "{command:?}");
    }
    assert!(store.is_empty());
}

/// What is read from a disk or a datagram may claim anything, but no batch within a batch.
#[test]
fn batches_do_not_nest() {
    let inner: KeyValueCommand = KeyValueCommand::Batch([].into_iter().collect());
    let bytes = postcard::to_stdvec(&inner).unwrap();
    let mut nested = bytes[..bytes.len() - 1].to_vec();
    nested.push(1);
    nested.extend(&bytes);
    assert!(postcard::from_bytes::<KeyValueCommand>(&bytes).is_ok());
    assert!(postcard::from_bytes::<KeyValueCommand>(&nested).is_err());
}

#[test]
fn pages_lead_through_all_keys() {
    let mut store = KeyValue::default();
    for key in 0..100_u8 {
        store.apply(&KeyValueCommand::Put(Bytes::from(&[key; 1000]), Bytes::from("")));
    }
    let (mut found, mut after, mut pages) = (vec![], None, 0);
    loop {
        let page = KeyValueCommand::Page { after, pattern: None, count: 1_000 };
        let output = store.apply(&page);
        assert!(KeyValue::output_bytes(&output) <= MAX_OUTPUT_BYTES);
        let KeyValueOutput::Page { keys, next } = output else { panic!("{output:?}") };
        found.extend(keys.iter().cloned());
        pages += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert!(found.iter().eq(store.iter().map(|(key, _)| key)));
    assert!(pages > 3, "a page keeps to what fits a datagram: {pages}");
}
