//! Messages, counted by kind. The kind of a message is the name of its variant, and that of the enum in it if there is one: what
//! serde calls it, so that nobody has to list the messages of a protocol.

use serde::Serialize;
use serde::ser::{Impossible, Serializer};
use std::convert::Infallible;
use std::fmt;

/// Variants of one enum that are told apart, in either place of a name. No protocol has as many.
const VARIANTS: usize = 32;

/// How often messages of one kind were passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindCounters {
    /// The variant of the message.
    pub name: &'static str,
    /// The variant of the enum in it, if there is one.
    pub inner: Option<&'static str>,
    /// Delivered from other processes.
    pub received: u64,
    /// Delivered within the process.
    pub local: u64,
    /// Sent to other processes.
    pub sent: u64,
}

/// Where a message goes, seen from this process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Received,
    Local,
    Sent,
}

/// All kinds that were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds {
    seen: Vec<KindCounters>,
    /// The place in `seen`, from 1, by the numbers of both variants; the inner one from 1.
    places: Box<[[u16; VARIANTS + 1]; VARIANTS]>,
}

impl Default for Kinds {
    fn default() -> Self {
        Self { seen: Vec::new(), places: Box::new([[0; VARIANTS + 1]; VARIANTS]) }
    }
}

impl Serialize for Kinds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.seen.serialize(serializer)
    }
}

impl Kinds {
    /// All kinds that were seen, in the order in which they were first.
    pub fn iter(&self) -> impl Iterator<Item = &KindCounters> {
        self.seen.iter()
    }

    /// Counts a message. Only the first of its kind allocates.
    pub(super) fn count<M: Serialize>(&mut self, msg: &M, way: Way) {
        let kind = Kind::of(msg);
        let place = &mut self.places[kind.outer.0 as usize % VARIANTS][kind.inner_number()];
        if *place == 0 {
            let (name, inner) = (kind.outer.1, kind.inner.map(|inner| inner.1));
            self.seen.push(KindCounters { name, inner, received: 0, local: 0, sent: 0 });
            *place = u16::try_from(self.seen.len()).unwrap_or(u16::MAX);
        }
        let counters = &mut self.seen[usize::from(*place) - 1];
        *match way {
            Way::Received => &mut counters.received,
            Way::Local => &mut counters.local,
            Way::Sent => &mut counters.sent,
        } += 1;
    }
}

/// The variants of a message, by number and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    outer: (u32, &'static str),
    inner: Option<(u32, &'static str)>,
}

impl Kind {
    /// A message that is no enum has one kind.
    const PLAIN: Self = Self { outer: (0, "message"), inner: None };

    fn of<M: Serialize>(msg: &M) -> Self {
        let Err(Found(outer)) = msg.serialize(Namer { is_outer: true });
        outer.unwrap_or(Self::PLAIN)
    }

    fn inner_number(self) -> usize {
        self.inner.map_or(0, |(number, _)| 1 + number as usize % VARIANTS)
    }
}

/// How a [`Namer`] ends: with what it has found, before anything is written.
#[derive(Debug)]
struct Found(Option<Kind>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a kind")
    }
}

impl std::error::Error for Found {}

impl serde::ser::Error for Found {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

/// Stops at the first variant, or at the one in it.
#[derive(Clone, Copy)]
struct Namer {
    is_outer: bool,
}

const NONE: Found = Found(None);

fn found<T>(number: u32, name: &'static str) -> Result<T, Found> {
    Err(Found(Some(Kind { outer: (number, name), inner: None })))
}

/// Values in which no variant is looked for.
macro_rules! plain {
    ($($method:ident($type:ty)),*) => {
        $(fn $method(self, _: $type) -> Result<Infallible, Found> { Err(NONE) })*
    };
}

impl Serializer for Namer {
    type Ok = Infallible;
    type Error = Found;
    type SerializeSeq = Impossible<Infallible, Found>;
    type SerializeTuple = Impossible<Infallible, Found>;
    type SerializeTupleStruct = Impossible<Infallible, Found>;
    type SerializeTupleVariant = Impossible<Infallible, Found>;
    type SerializeMap = Impossible<Infallible, Found>;
    type SerializeStruct = Impossible<Infallible, Found>;
    type SerializeStructVariant = Impossible<Infallible, Found>;

    plain!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str)
    );

    fn serialize_none(self) -> Result<Infallible, Found> {
        Err(NONE)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Infallible, Found> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Infallible, Found> {
        Err(NONE)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        number: u32,
        name: &'static str,
    ) -> Result<Infallible, Found> {
        found(number, name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Infallible, Found> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        number: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Infallible, Found> {
        if !self.is_outer {
            return found(number, name);
        }
        let Err(Found(within)) = value.serialize(Self { is_outer: false });
        Err(Found(Some(Kind { outer: (number, name), inner: within.map(|kind| kind.outer) })))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Found> {
        Err(NONE)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Found> {
        Err(NONE)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Found> {
        Err(NONE)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        number: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Found> {
        found(number, name)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Found> {
        Err(NONE)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Found> {
        Err(NONE)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        number: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Found> {
        found(number, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    enum Outer {
        Unit,
        Within(Inner),
        Number(u64),
        Record { inner: Inner },
    }

    #[derive(Clone, Copy, Serialize)]
    enum Inner {
        First,
        Second(u8, u8),
    }

    #[derive(Serialize)]
    struct Wrapped(Outer);

    fn kind(msg: &impl Serialize) -> (&'static str, Option<&'static str>) {
        let kind = Kind::of(msg);
        (kind.outer.1, kind.inner.map(|inner| inner.1))
    }

    #[test]
    fn a_kind_is_the_variant_and_the_one_in_it() {
        assert_eq!(kind(&Outer::Unit), ("Unit", None));
        assert_eq!(kind(&Outer::Within(Inner::First)), ("Within", Some("First")));
        assert_eq!(kind(&Outer::Within(Inner::Second(1, 2))), ("Within", Some("Second")));
        assert_eq!(kind(&Outer::Number(3)), ("Number", None));
        assert_eq!(kind(&Outer::Record { inner: Inner::First }), ("Record", None));
        assert_eq!(kind(&Wrapped(Outer::Within(Inner::First))), ("Within", Some("First")));
        assert_eq!([kind(&7_u64), kind(&"text"), kind(&vec![Outer::Unit])], [("message", None); 3]);
    }

    #[test]
    fn each_kind_and_way_is_counted_for_itself() {
        let mut kinds = Kinds::default();
        for (msg, way) in [
            (Outer::Within(Inner::Second(0, 0)), Way::Sent),
            (Outer::Within(Inner::First), Way::Received),
            (Outer::Unit, Way::Local),
            (Outer::Within(Inner::First), Way::Received),
        ] {
            kinds.count(&msg, way);
        }
        let counted = |one: &KindCounters| (one.name, one.inner, one.received, one.local, one.sent);
        assert_eq!(
            kinds.iter().map(counted).collect::<Vec<_>>(),
            [
                ("Within", Some("Second"), 0, 0, 1),
                ("Within", Some("First"), 2, 0, 0),
                ("Unit", None, 0, 1, 0),
            ]
        );
    }
}
