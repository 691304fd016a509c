//! Pages of keys, and the patterns that choose among them.

use super::Bytes;
use super::command::{PAGE_BYTES, page_bytes};
use im::OrdMap;
use std::ops::Bound;

/// The most keys that one page looks at.
pub const MAX_PAGE_COUNT: u32 = 10_000;
/// What comparing keys with a pattern may cost for one page: so many pairs of a byte of a key and one of the pattern.
const MAX_PAGE_WORK: usize = 4_000_000;

/// The keys behind `after` that match, of the next `count`; and the last key that was looked at, if any is left behind it.
pub(super) fn page(
    map: &OrdMap<Bytes, Bytes>,
    after: Option<&Bytes>,
    pattern: Option<&Bytes>,
    count: u32,
) -> (Vec<Bytes>, Option<Bytes>) {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = map.range::<_, Bytes>((from, Bound::Unbounded)).map(|(key, _)| key).peekable();
    let (mut keys, mut last, mut bytes, mut work) = (vec![], None, 0, 0_usize);
    for _ in 0..count.clamp(1, MAX_PAGE_COUNT) {
        let Some(key) = rest.peek().copied() else { break };
        work += pattern.map_or(0, |pattern| (pattern.len() + 1) * (key.len() + 1));
        if last.is_some() && (bytes + page_bytes(key) > PAGE_BYTES || work > MAX_PAGE_WORK) {
            break;
        }
        if pattern.is_none_or(|pattern| matches(pattern.as_slice(), key.as_slice())) {
            bytes += page_bytes(key);
            keys.push(key.clone());
        }
        last = Some(key);
        rest.next();
    }
    let next = rest.peek().and(last).cloned();
    (keys, next)
}

/// Does a key match a pattern in the manner of Redis? `*` stands for any bytes, `?` for one, `[a-z]` for one of these and
/// `[^a-z]` for one other than these; `\` takes a byte as it is. Costs no more than the product of the lengths.
pub fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut pattern_at, mut key_at) = (0, 0);
    // Where to go on if what follows the latest star does not match: the star may stand for one byte more.
    let mut star: Option<(usize, usize)> = None;
    while key_at < key.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            star = Some((pattern_at, key_at));
        } else if let Some(next) = one(pattern, pattern_at, key[key_at]) {
            pattern_at = next;
            key_at += 1;
        } else if let Some((behind, from)) = star {
            star = Some((behind, from + 1));
            (pattern_at, key_at) = (behind, from + 1);
        } else {
            return false;
        }
    }
    pattern[pattern_at..].iter().all(|byte| *byte == b'*')
}

/// Where the pattern goes on if what is at `at`, which is no star, matches this byte.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        plain => (plain == byte).then_some(at + 1),
    }
}

/// The same for a class of bytes, from behind its bracket. One that is not closed ends with the pattern.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let inverted = pattern.get(at) == Some(&b'^');
    at += usize::from(inverted);
    let mut found = false;
    loop {
        match &pattern[at.min(pattern.len())..] {
            [] => break,
            [b'\\', quoted, ..] => {
                found |= *quoted == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= *plain == byte;
                at += 1;
            }
        }
    }
    (found != inverted).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by definition: tries all that a star may stand for.
    fn by_definition(pattern: &[u8], key: &[u8]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=key.len()).any(|taken| by_definition(rest, &key[taken..])),
            (_, [byte, rest @ ..]) => {
                one(pattern, 0, *byte).is_some_and(|next| by_definition(&pattern[next..], rest))
            }
            (_, []) => false,
        }
    }

    #[test]
    fn patterns_mean_what_they_mean_to_redis() {
        let right = [
            ("*", ""),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[b-a]llo", "hallo"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("[a", "a"),
            ("a\\", "a\\"),
            ("a*b*c", "a--b-b--c"),
        ];
        let wrong =
            [("h?llo", "hllo"), ("h[^e]llo", "hello"), ("", "a"), ("a", ""), ("[]", "]"), ("\\*", "a")];
        for (pattern, key) in right {
            assert!(matches(pattern.as_bytes(), key.as_bytes()), "{pattern} {key}");
        }
        for (pattern, key) in wrong {
            assert!(!matches(pattern.as_bytes(), key.as_bytes()), "{pattern} {key}");
        }
    }

    #[test]
    fn a_page_ends_when_comparing_costs_too_much() {
        let map: OrdMap<Bytes, Bytes> = (0..5_000_u32)
            .map(|key| (Bytes::from(&[&key.to_be_bytes()[..], &[b'a'; 1020]].concat()), Bytes::from("")))
            .collect();
        let pattern = Bytes::from(&"*a".repeat(511));
        let (_, next) = page(&map, None, Some(&pattern), MAX_PAGE_COUNT);
        assert_eq!(next.map(|key| key.as_slice()[..4].to_vec()), Some(2_u32.to_be_bytes().to_vec()));
    }

    proptest! {
        #[test]
        fn patterns_match_by_definition(pattern in "[-ab*?\\[\\]\\\\^]{0,9}", key in "[ab*\\]-]{0,7}") {
            prop_assert_eq!(
                matches(pattern.as_bytes(), key.as_bytes()),
                by_definition(pattern.as_bytes(), key.as_bytes())
            );
        }

        #[test]
        fn no_bytes_make_matching_fail(pattern: Vec<u8>, key: Vec<u8>) {
            matches(&pattern, &key);
        }
    }
}
