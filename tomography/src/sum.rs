//! The one order in which floats are summed.
//!
//! Addition of floats is not associative, so parts equal the whole in every bit only if both add in one order. The
//! order is fixed by the data and never by who holds them: the values of one row (one y) are added left to right in
//! the order of planes and columns, and the sums of rows are added by a tree over the row's index. A worker that holds
//! some rows contributes the sums of those rows; whoever has all of them adds the tree. Neither rank, thread nor
//! arrival enters. Accumulators are `f64`.

/// The sum by a fixed tree: at every level the pairs (2j, 2j + 1) are added, an odd one passes unchanged.
///
/// The result depends on the values and their indices alone. 0 of nothing.
pub fn tree_sum(values: &[f64]) -> f64 {
    let mut level = values.to_vec();
    while level.len() > 1 {
        let mut next = Vec::with_capacity(level.len().div_ceil(2));
        next.extend(
            level
                .chunks(2)
                .map(|pair| pair.iter().copied().reduce(|left, right| left + right).unwrap_or(0.0)),
        );
        level = next;
    }
    level.first().copied().unwrap_or(0.0)
}

/// Folds values by the fixed tree of [`tree_sum`], for what is not a number: `add(left, right)` puts the right one into
/// the left one. Values are taken one by one, and few are held: one per level of the tree.
///
/// # Errors
/// The first error among the values.
pub fn tree_fold<T, E>(
    values: impl IntoIterator<Item = Result<T, E>>,
    mut add: impl FnMut(&mut T, &T),
) -> Result<Option<T>, E> {
    // Complete subtrees from left to right, each with the number of its levels, which falls.
    let mut subtrees: Vec<(T, u32)> = Vec::new();
    let mut merge = |subtrees: &mut Vec<(T, u32)>| {
        if let Some((right, levels)) = subtrees.pop()
            && let Some((left, of_left)) = subtrees.last_mut()
        {
            add(left, &right);
            *of_left = levels.max(*of_left) + 1;
        }
    };
    for value in values {
        subtrees.push((value?, 0));
        while let [.., (_, left), (_, right)] = subtrees[..]
            && left == right
        {
            merge(&mut subtrees);
        }
    }
    while subtrees.len() > 1 {
        merge(&mut subtrees);
    }
    Ok(subtrees.pop().map(|(value, _)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_the_stated_one() {
        let (a, b, c, d, e) = (1e16, 1.0, -1e16, 0.25, 0.5);
        assert_eq!(tree_sum(&[]), 0.0);
        assert_eq!(tree_sum(&[a]), a);
        assert_eq!(tree_sum(&[a, b, c, d, e]), ((a + b) + (c + d)) + e);
        assert_ne!(tree_sum(&[a, b, c, d]), tree_sum(&[a, c, b, d]), "order matters, or this tests nothing");
    }

    #[test]
    fn folding_follows_the_same_tree() {
        for len in 0..40 {
            let names = (0..len).map(|index| Ok::<_, ()>(index.to_string()));
            let folded = tree_fold(names, |left, right| *left = format!("({left} {right})")).unwrap();
            let mut level: Vec<String> = (0..len).map(|index| index.to_string()).collect();
            while level.len() > 1 {
                let pair = |pair: &[String]| match pair {
                    [left, right] => format!("({left} {right})"),
                    _ => pair[0].clone(),
                };
                level = level.chunks(2).map(pair).collect();
            }
            assert_eq!(folded, level.pop());
        }
        assert_eq!(tree_fold([Ok(1), Err("lost")], |left, right| *left += right), Err("lost"));
    }
}
