//! Stacks as bytes: three extents, then the values row by row. No bit of a value changes.

use crate::{Error, Result, Shape, Stack};

/// A stack as bytes.
pub(crate) fn encode(stack: &Stack) -> Vec<u8> {
    let shape = stack.shape();
    let mut bytes = Vec::with_capacity(24 + 4 * shape.len());
    for extent in shape.to_array() {
        bytes.extend((extent as u64).to_le_bytes());
    }
    for row in 0..shape.rows {
        for plane in 0..shape.planes {
            for column in 0..shape.columns {
                bytes.extend(stack.at(plane, row, column).to_le_bytes());
            }
        }
    }
    bytes
}

/// A stack from the bytes that `rank` sent.
pub(crate) fn decode(bytes: &[u8], rank: usize) -> Result<Stack> {
    let unreadable = |what| Error::Message { rank, what };
    let (head, values) = bytes.split_at_checked(24).ok_or_else(|| unreadable("no extents"))?;
    let (extents, _) = head.as_chunks::<8>();
    let [planes, rows, columns] = [0, 1, 2].map(|axis| u64::from_le_bytes(extents[axis]) as usize);
    let shape = Shape::new(planes, rows, columns).map_err(|_| unreadable("extents out of range"))?;
    let (values, rest) = values.as_chunks::<4>();
    if !rest.is_empty() || values.len() != shape.len() {
        return Err(unreadable("as many values as the extents say are not there"));
    }
    let mut values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Ok(Stack::from_fn(shape, |_, _, _| values.next().unwrap_or_default()))
}
