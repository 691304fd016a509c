//! JSON in which a map may have keys of any type: a map is written as an array of its keys and values in turn.
//!
//! A JSON object has strings for keys, and an actor's messages and storage have maps keyed by pairs, structures and
//! bytes. Structures stay objects with named fields. For use as `#[serde(with = "flat")]`.

mod read;
mod write;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes `value` with its maps flat.
pub(super) fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.serialize(write::Flat(serializer))
}

/// Reads a value whose maps are flat.
pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::deserialize(read::Flat(deserializer))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    enum Key {
        Unit,
        Pair(u64, i8),
        Named { text: String, maybe: Option<char> },
        Nested(BTreeMap<Option<bool>, u8>),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype(f64);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Tuple(u128, Vec<u8>);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        map: BTreeMap<Key, BTreeMap<(u8, u8), Newtype>>,
        list: Vec<Key>,
        tuple: Option<Tuple>,
        unit: (),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct With<T: Serialize + for<'a> Deserialize<'a>>(#[serde(with = "super")] T);

    fn text<T: Serialize + for<'a> Deserialize<'a>>(value: T) -> String {
        serde_json::to_string(&With(value)).unwrap()
    }

    fn keys() -> impl Strategy<Value = Key> {
        prop_oneof![
            Just(Key::Unit),
            any::<(u64, i8)>().prop_map(|(a, b)| Key::Pair(a, b)),
            any::<(String, Option<char>)>().prop_map(|(text, maybe)| Key::Named { text, maybe }),
            any::<BTreeMap<Option<bool>, u8>>().prop_map(Key::Nested),
        ]
    }

    proptest! {
        #[test]
        fn anything_is_read_as_it_was_written(
            map in prop::collection::btree_map(
                keys(),
                prop::collection::btree_map(any::<(u8, u8)>(), any::<i32>().prop_map(|x| Newtype(x.into())), 0..4),
                0..4,
            ),
            list in prop::collection::vec(keys(), 0..4),
            tuple in any::<Option<(u128, Vec<u8>)>>().prop_map(|tuple| tuple.map(|(a, b)| Tuple(a, b))),
        ) {
            let value = With(Everything { map, list, tuple, unit: () });
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<With<Everything>>(&text).unwrap(), value);
        }
    }

    #[test]
    fn a_map_is_an_array_of_keys_and_values() {
        assert_eq!(text(BTreeMap::from([((1, 2), "a"), ((3, 4), "b")]).len()), "2");
        let map = BTreeMap::from([((1, 2), 'a'), ((3, 4), 'b')]);
        assert_eq!(text(map), r#"[[1,2],"a",[3,4],"b"]"#);
        let key = Key::Named { text: "x".into(), maybe: None };
        assert_eq!(text(key), r#"{"Named":{"text":"x","maybe":null}}"#);
    }

    #[test]
    fn a_key_without_a_value_is_refused() {
        let error = serde_json::from_str::<With<BTreeMap<u8, u8>>>("[1,2,3]").unwrap_err();
        assert!(error.to_string().contains("a key without a value"), "{error}");
        assert!(serde_json::from_str::<With<BTreeMap<u8, u8>>>(r#"{"1":2}"#).is_err());
    }
}
