//! The binary codec of messages, timers and storage.
//!
//! Values are written by `postcard` in its stable wire format: integers as variable-length quantities, enums as an
//! index, no names. They are read by the decoder of this package, because what is read may be hostile or damaged: it
//! takes no length on trust (a collection cannot claim more elements than there are bytes left, and no size hint
//! exceeds a named limit), bounds nesting, and requires that every byte is used. `postcard` itself hands the claimed
//! length of a map to the collection, and some collections reserve that much at once.
//!
//! One restriction follows: a collection of elements that occupy no byte, such as `Vec<()>`, can be written but not
//! always read.

use super::decode::Decoder;
use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};

/// The value does not fit the bytes it may occupy, or its type has no binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value exceeds {limit} bytes or has no binary form")]
pub struct TooLong {
    /// The most bytes it may occupy.
    pub limit: usize,
}

/// The bytes are no value of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end within the value.
    #[error("the value is cut short")]
    Short,
    /// Bytes remain after the value.
    #[error("{0} bytes remain after the value")]
    Rest(usize),
    /// A length exceeds the bytes that are left.
    #[error("a collection claims {claimed} elements in {left} bytes")]
    Length {
        /// The elements it claims to have.
        claimed: u64,
        /// The bytes that are left.
        left: usize,
    },
    /// A number, boolean, option or character that its type does not have.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// Values are nested too deeply.
    #[error("values are nested too deeply")]
    Depth,
    /// The type refuses the value.
    #[error("{0}")]
    Refused(String),
}

/// Appends a value to `buf`; on failure `buf` is as before.
///
/// # Errors
/// When the value would occupy more than `limit` bytes, or its type cannot be written (a sequence of unknown length).
pub fn encode<T: Serialize + ?Sized>(value: &T, buf: &mut Vec<u8>, limit: usize) -> Result<(), TooLong> {
    let start = buf.len();
    let end = start.saturating_add(limit);
    postcard::serialize_with_flavor(value, Bounded { buf, end }).map_err(|_| {
        buf.truncate(start);
        TooLong { limit }
    })
}

/// How many bytes a value occupies; `usize::MAX` if it cannot be written.
pub fn encoded_len<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut buf = Vec::new();
    encode(value, &mut buf, usize::MAX).map_or(usize::MAX, |()| buf.len())
}

/// Reads a value that occupies all of `bytes`.
///
/// # Errors
/// When the bytes are no such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    let mut decoder = Decoder::new(bytes);
    let value = T::deserialize(&mut decoder)?;
    match decoder.left() {
        0 => Ok(value),
        left => Err(Malformed::Rest(left)),
    }
}

/// Appends to a vector that may not outgrow `end`.
struct Bounded<'a> {
    buf: &'a mut Vec<u8>,
    end: usize,
}

impl Flavor for Bounded<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > self.end - self.buf.len() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.buf.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;
    use std::time::Duration;

    /// Every kind of value that serde knows.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Unit,
        Numbers(u8, u16, u32, u64, u128),
        Signed { a: i8, b: i16, c: i32, d: i64, e: i128 },
        Text(String, char, bool),
        Bytes(Vec<u8>),
        Map(BTreeMap<u32, Option<Box<Sample>>>),
        Persistent(im::OrdMap<u64, String>, im::Vector<u16>),
        Floats(f32, f64),
        Time(Duration, std::ops::Range<Duration>),
        Nested(Box<Sample>),
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let leaf = prop_oneof![
            Just(Sample::Unit),
            any::<(u8, u16, u32, u64, u128)>().prop_map(|(a, b, c, d, e)| Sample::Numbers(a, b, c, d, e)),
            any::<(i8, i16, i32, i64, i128)>().prop_map(|(a, b, c, d, e)| Sample::Signed { a, b, c, d, e }),
            any::<(String, char, bool)>().prop_map(|(a, b, c)| Sample::Text(a, b, c)),
            any::<Vec<u8>>().prop_map(Sample::Bytes),
            any::<(Vec<(u64, String)>, Vec<u16>)>()
                .prop_map(|(a, b)| Sample::Persistent(a.into_iter().collect(), b.into_iter().collect())),
            (-1e9f32..1e9, -1e9f64..1e9).prop_map(|(a, b)| Sample::Floats(a, b)),
            any::<(Duration, Duration)>().prop_map(|(a, b)| Sample::Time(a, a..b)),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|s| Sample::Nested(Box::new(s))),
                prop::collection::btree_map(any::<u32>(), prop::option::of(inner.prop_map(Box::new)), 0..4)
                    .prop_map(Sample::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in sample()) {
            let mut bytes = Vec::new();
            encode(&value, &mut bytes, usize::MAX).unwrap();
            prop_assert_eq!(&decode::<Sample>(&bytes).unwrap(), &value);
            prop_assert_eq!(postcard::from_bytes::<Sample>(&bytes).unwrap(), value);
        }

        #[test]
        fn a_prefix_or_an_extension_of_a_value_is_no_value(value in sample(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            encode(&value, &mut bytes, usize::MAX).unwrap();
            prop_assert!(decode::<Sample>(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert_eq!(decode::<Sample>(&bytes), Err(Malformed::Rest(1)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Sample>(&bytes);
        }

        #[test]
        fn a_changed_value_never_panics(value in sample(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = Vec::new();
            encode(&value, &mut bytes, usize::MAX).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = decode::<Sample>(&bytes);
        }
    }

    #[test]
    fn a_map_that_claims_a_huge_length_is_refused_before_anything_is_reserved() {
        // Variant 6 holds a persistent map; its length follows.
        let bytes = [6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(decode::<Sample>(&bytes), Err(Malformed::Length { claimed: u64::MAX, left: 0 }));
    }

    #[test]
    fn nesting_is_bounded() {
        let bytes = [9; 10_000];
        assert_eq!(decode::<Sample>(&bytes), Err(Malformed::Depth));
    }

    #[test]
    fn a_number_wider_than_its_type_is_refused() {
        assert_eq!(decode::<u16>(&[0xff, 0xff, 0x03]), Ok(u16::MAX));
        assert_eq!(decode::<u16>(&[0xff, 0xff, 0x04]), Err(Malformed::Range("u16")));
        assert_eq!(decode::<u64>(&[0xff; 11]), Err(Malformed::Range("u64")));
        assert_eq!(decode::<bool>(&[2]), Err(Malformed::Range("bool")));
    }

    #[test]
    fn a_value_that_exceeds_the_limit_leaves_the_buffer_as_it_was() {
        let mut bytes = vec![1, 2, 3];
        assert_eq!(encode("abcd", &mut bytes, 4), Err(TooLong { limit: 4 }));
        assert_eq!(bytes, [1, 2, 3]);
        assert_eq!(encode("abcd", &mut bytes, 5), Ok(()));
    }
}
