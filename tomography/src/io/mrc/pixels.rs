//! How a value is stored.

use super::{Endian, Moments};
use half::f16;

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Mode 0, signed bytes, as the standard has it.
    I8,
    /// Mode 0, unsigned bytes, as IMOD marks them.
    U8,
    /// Mode 1, signed 16-bit integers.
    I16,
    /// Mode 2, 32-bit floats.
    F32,
    /// Mode 6, unsigned 16-bit integers.
    U16,
    /// Mode 12, 16-bit floats.
    F16,
    /// Mode 101, two 4-bit integers in a byte, the first in the low bits; each row begins with a byte.
    U4,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 7] = [Self::I8, Self::U8, Self::I16, Self::F32, Self::U16, Self::F16, Self::U4];

    /// The number in the header.
    pub const fn number(self) -> i32 {
        match self {
            Self::I8 | Self::U8 => 0,
            Self::I16 => 1,
            Self::F32 => 2,
            Self::U16 => 6,
            Self::F16 => 12,
            Self::U4 => 101,
        }
    }

    /// Bytes of a row. 128 bits, so that the sizes of a forged header do not overflow.
    pub(super) const fn row_bytes(self, columns: u128) -> u128 {
        match self {
            Self::I8 | Self::U8 => columns,
            Self::I16 | Self::U16 | Self::F16 => 2 * columns,
            Self::F32 => 4 * columns,
            Self::U4 => columns.div_ceil(2),
        }
    }

    /// What values it holds, in words.
    pub(super) const fn range(self) -> &'static str {
        match self {
            Self::I8 => "an integer within -128..=127 (mode 0)",
            Self::U8 => "an integer within 0..=255 (unsigned mode 0)",
            Self::I16 => "an integer within -32768..=32767 (mode 1)",
            Self::F32 => "finite",
            Self::U16 => "an integer within 0..=65535 (mode 6)",
            Self::F16 => "within -65504..=65504 (mode 12)",
            Self::U4 => "an integer within 0..=15 (mode 101)",
        }
    }

    /// The value as it is after it was stored, if it can be.
    fn stored(self, value: f32) -> Option<f32> {
        let integer = |low: f32, high: f32| {
            // Adding 0 turns -0 into 0, as the integer does.
            (value.fract() == 0.0 && (low..=high).contains(&value)).then_some(value + 0.0)
        };
        match self {
            Self::I8 => integer(-128.0, 127.0),
            Self::U8 => integer(0.0, 255.0),
            Self::I16 => integer(-32_768.0, 32_767.0),
            Self::F32 => value.is_finite().then_some(value),
            Self::U16 => integer(0.0, 65_535.0),
            Self::F16 => Some(f16::from_f32(value).to_f32()).filter(|value| value.is_finite()),
            Self::U4 => integer(0.0, 15.0),
        }
    }

    /// Appends a row. Fails with the column and value that it cannot hold.
    pub(super) fn encode(
        self,
        endian: Endian,
        values: impl Iterator<Item = f32>,
        moments: &mut Moments,
        bytes: &mut Vec<u8>,
    ) -> Result<(), (usize, f32)> {
        let big = endian == Endian::Big;
        let short = |value: [u8; 2]| if big { [value[1], value[0]] } else { value };
        for (column, value) in values.enumerate() {
            let value = self.stored(value).ok_or((column, value))?;
            moments.add(value);
            match self {
                Self::I8 => bytes.push((value as i8).to_le_bytes()[0]),
                Self::U8 => bytes.push(value as u8),
                Self::I16 => bytes.extend(short((value as i16).to_le_bytes())),
                Self::U16 => bytes.extend(short((value as u16).to_le_bytes())),
                Self::F16 => bytes.extend(short(f16::from_f32(value).to_le_bytes())),
                Self::F32 => bytes.extend(if big { value.to_be_bytes() } else { value.to_le_bytes() }),
                Self::U4 if column % 2 == 0 => bytes.push(value as u8),
                Self::U4 => {
                    if let Some(last) = bytes.last_mut() {
                        *last |= (value as u8) << 4;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads a row.
    pub(super) fn decode(self, endian: Endian, bytes: &[u8], values: &mut [f32]) {
        for (column, value) in values.iter_mut().enumerate() {
            *value = match self {
                Self::I8 => f32::from(i8::from_le_bytes([bytes[column]])),
                Self::U8 => f32::from(bytes[column]),
                Self::I16 => f32::from(endian.i16(bytes, 2 * column)),
                Self::U16 => f32::from(u16::from_le_bytes(endian.array(bytes, 2 * column))),
                Self::F16 => f16::from_le_bytes(endian.array(bytes, 2 * column)).to_f32(),
                Self::F32 => endian.f32(bytes, 4 * column),
                Self::U4 => f32::from(bytes[column / 2] >> (4 * (column % 2)) & 15),
            };
        }
    }
}
