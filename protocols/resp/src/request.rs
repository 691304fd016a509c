//! Requests as they arrive: arrays of byte strings, or lines as a person types them.
//!
//! Limits are those of Redis or smaller, and its words are used for what exceeds them. What a request claims about itself
//! reserves no memory: that grows with the bytes that are there.

use std::mem;

/// A request: its name and its arguments; never empty.
pub type Request = Vec<Vec<u8>>;

/// The longest line, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// The largest argument, in bytes. It may exceed what the store takes, so that this is said without an end of the connection.
const MAX_BULK_BYTES: i64 = 512 * 1024;
/// The most bytes of all arguments of a request.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// The most arguments.
const MAX_ARGUMENTS: i64 = 4096;
/// What Redis allows to clients that have not said their password.
const MAX_ARGUMENTS_BEFORE_PASSWORD: i64 = 10;
const MAX_BULK_BYTES_BEFORE_PASSWORD: i64 = 16 * 1024;

/// Whose limits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Of a client that still has to say its password.
    Stranger,
    /// Of any other.
    Known,
}

/// Bytes that are no request. The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub String);

fn broken<T>(what: impl Into<String>) -> Result<T, ProtocolError> {
    Err(ProtocolError(what.into()))
}

/// Makes requests of bytes that arrive in pieces.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// Up to where they are used.
    at: usize,
    partial: Option<Partial>,
}

/// A request that has begun.
#[derive(Clone, Debug, Default)]
struct Partial {
    /// How many arguments are missing.
    missing: usize,
    /// The length of the next one, if that has been read.
    length: Option<usize>,
    arguments: Request,
    bytes: usize,
}

impl Parser {
    /// Takes more bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes wait to become requests.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next request, if all of it is there.
    ///
    /// # Errors
    /// When the bytes are no request; later ones mean nothing.
    pub fn next(&mut self, limits: Limits) -> Result<Option<Request>, ProtocolError> {
        loop {
            let request = match (&self.partial, self.bytes.get(self.at)) {
                (Some(_), _) => self.next_arguments(limits)?,
                (None, None) => None,
                (None, Some(b'*')) => {
                    if self.begin(limits)? {
                        continue;
                    }
                    None
                }
                (None, Some(_)) => self.next_line()?,
            };
            // What holds no word is skipped, as Redis does.
            match request {
                Some(request) if request.is_empty() => {}
                request => return Ok(request),
            }
        }
    }

    /// Reads how many arguments there are; false if that is not there yet.
    fn begin(&mut self, limits: Limits) -> Result<bool, ProtocolError> {
        let Some(count) = self.header("too big mbulk count string")? else { return Ok(false) };
        match number(count) {
            None => broken("invalid multibulk length"),
            Some(count) if count > MAX_ARGUMENTS => broken("invalid multibulk length"),
            Some(count) if limits == Limits::Stranger && count > MAX_ARGUMENTS_BEFORE_PASSWORD => {
                broken("unauthenticated multibulk length")
            }
            Some(count) => {
                let missing = usize::try_from(count).unwrap_or(0);
                self.skip_line();
                self.partial = (missing > 0).then(|| Partial { missing, ..Partial::default() });
                Ok(true)
            }
        }
    }

    fn next_arguments(&mut self, limits: Limits) -> Result<Option<Request>, ProtocolError> {
        let mut partial = mem::take(&mut self.partial).unwrap_or_default();
        while partial.missing > 0 {
            let length = match partial.length {
                Some(length) => length,
                None => match self.length(limits, partial.bytes)? {
                    Some(length) => length,
                    None => break,
                },
            };
            partial.length = Some(length);
            // Redis does not look at the two bytes behind an argument either.
            let Some(argument) = self.bytes[self.at..].get(..length + 2) else { break };
            partial.arguments.push(argument[..length].to_vec());
            partial.bytes += length;
            partial.length = None;
            partial.missing -= 1;
            self.at += length + 2;
        }
        if partial.missing > 0 {
            self.partial = Some(partial);
            return Ok(None);
        }
        Ok(Some(partial.arguments))
    }

    /// The length of the next argument, if it is there, of a request that has so many bytes already.
    fn length(&mut self, limits: Limits, before: usize) -> Result<Option<usize>, ProtocolError> {
        let first = self.bytes.get(self.at).copied();
        let Some(length) = self.header("too big bulk count string")? else { return Ok(None) };
        if first != Some(b'$') {
            let found = char::from(first.unwrap_or_default());
            return broken(format!("expected '$', got '{found}'"));
        }
        let Some(length) = number(length).filter(|length| (0..=MAX_BULK_BYTES).contains(length)) else {
            return broken("invalid bulk length");
        };
        if limits == Limits::Stranger && length > MAX_BULK_BYTES_BEFORE_PASSWORD {
            return broken("unauthenticated bulk length");
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if before + length > MAX_REQUEST_BYTES {
            return broken("invalid bulk length");
        }
        self.skip_line();
        Ok(Some(length))
    }

    /// What stands between the first byte of a line and its end, if that is there with the byte behind it.
    fn header(&self, too_long: &str) -> Result<Option<&[u8]>, ProtocolError> {
        let line = &self.bytes[self.at..];
        match line.iter().position(|byte| *byte == b'\r') {
            Some(end) if end + 1 < line.len() => Ok(Some(&line[1.min(end)..end])),
            None if line.len() > MAX_LINE_BYTES => broken(too_long),
            _ => Ok(None),
        }
    }

    fn skip_line(&mut self) {
        let line = &self.bytes[self.at..];
        self.at += line.iter().position(|byte| *byte == b'\r').map_or(line.len(), |end| end + 2);
    }

    fn next_line(&mut self) -> Result<Option<Request>, ProtocolError> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > MAX_LINE_BYTES { broken("too big inline request") } else { Ok(None) };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let Some(words) = words(line) else { return broken("unbalanced quotes in request") };
        self.at += end + 1;
        Ok(Some(words))
    }
}

/// A decimal number as Redis writes it: no plus, no blank, no zero in front.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.starts_with(|digit: char| digit.is_ascii_digit());
    (is_plain && (text == "0" || !digits.starts_with('0'))).then_some(number)
}

/// The words of a line; none if a quote is not closed, or something follows it at once.
fn words(line: &[u8]) -> Option<Request> {
    let mut words = vec![];
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        // What C takes for a blank and Rust does not.
        while let [b'\x0b', behind @ ..] = rest {
            rest = behind.trim_ascii_start();
        }
        if matches!(rest, [] | [0, ..]) {
            return Some(words);
        }
        let (word, behind) = word(rest)?;
        words.push(word);
        rest = behind;
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'\x0b'
}

/// One word, and what follows it.
fn word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = vec![];
    loop {
        match rest {
            [] | [0, ..] => return Some((word, &[])),
            [blank, behind @ ..] if is_blank(*blank) => return Some((word, behind)),
            [quote @ (b'"' | b'\''), behind @ ..] => {
                rest = quoted(*quote, behind, &mut word)?;
                return match rest {
                    [] => Some((word, rest)),
                    [blank, ..] if is_blank(*blank) => Some((word, rest)),
                    _ => None,
                };
            }
            [byte, behind @ ..] => {
                word.push(*byte);
                rest = behind;
            }
        }
    }
}

/// Reads up to the closing quote and tells what follows it; none if there is no such quote.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    loop {
        match (quote, rest) {
            (_, []) => return None,
            (_, [byte, behind @ ..]) if *byte == quote => return Some(behind),
            (b'\'', [b'\\', b'\'', behind @ ..]) => {
                word.push(b'\'');
                rest = behind;
            }
            (b'"', [b'\\', b'x', high, low, behind @ ..]) if digit(*high).and(digit(*low)).is_some() => {
                word.push(digit(*high)? << 4 | digit(*low)?);
                rest = behind;
            }
            (b'"', [b'\\', escaped, behind @ ..]) => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = behind;
            }
            (_, [byte, behind @ ..]) => {
                word.push(*byte);
                rest = behind;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(parser: &mut Parser) -> Result<Vec<Request>, ProtocolError> {
        let mut requests = vec![];
        while let Some(request) = parser.next(Limits::Known)? {
            requests.push(request);
        }
        Ok(requests)
    }

    fn parsed(bytes: &[u8]) -> Result<Vec<Request>, ProtocolError> {
        let mut parser = Parser::default();
        parser.feed(bytes);
        all(&mut parser)
    }

    fn strings(words: &[&str]) -> Request {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn arrays_and_lines_are_requests_and_empty_ones_are_skipped() {
        let bytes = b"*0\r\n*-1\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nset  'a b' \"\\x41\\n\"\r\nPING\n";
        let expected = [strings(&["GET", "a"]), strings(&["set", "a b", "A\n"]), strings(&["PING"])];
        assert_eq!(parsed(bytes).unwrap(), expected);
    }

    #[test]
    fn what_is_no_request_is_refused_in_the_words_of_redis() {
        let long = vec![b'a'; MAX_LINE_BYTES + 1];
        let cases: [(&[u8], &str); 9] = [
            (b"*x\r\n", "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*1\r\n+3\r\n", "expected '$', got '+'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$99999999999\r\n", "invalid bulk length"),
            (b"get 'a\r\n", "unbalanced quotes in request"),
            (b"get 'a'b\r\n", "unbalanced quotes in request"),
            (&long, "too big inline request"),
            (&[b"*".as_slice(), &long].concat(), "too big mbulk count string"),
        ];
        for (bytes, error) in cases {
            assert_eq!(parsed(bytes), Err(ProtocolError(error.into())));
        }
        for (bytes, error) in [
            (&b"*11\r\n"[..], "unauthenticated multibulk length"),
            (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
        ] {
            let mut parser = Parser::default();
            parser.feed(bytes);
            assert_eq!(parser.next(Limits::Stranger), Err(ProtocolError(error.into())));
        }
    }

    #[test]
    fn a_request_may_not_be_larger_than_its_limit_in_all() {
        let argument = [b"$524288\r\n".as_slice(), &vec![b'a'; 524_288], b"\r\n"].concat();
        let of = |count: usize| [format!("*{count}\r\n").into_bytes(), argument.repeat(count)].concat();
        assert_eq!(parsed(&of(2)).unwrap().len(), 1);
        assert_eq!(parsed(&of(3)), Err(ProtocolError("invalid bulk length".into())));
    }

    /// Bytes that look like requests often enough.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec()),
            Just(b"set a 'b c'\r\n".to_vec()),
            Just(b"*3\r\n".to_vec()),
            Just(b"$5\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..6),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn how_bytes_are_split_makes_no_difference(bytes in bytes(), sizes in proptest::collection::vec(1..9_usize, 1..20)) {
            let (mut parser, mut requests, mut rest) = (Parser::default(), vec![], &bytes[..]);
            let mut end = Ok(());
            for size in sizes.iter().cycle() {
                if rest.is_empty() || end.is_err() { break }
                let (piece, behind) = rest.split_at(rest.len().min(*size));
                rest = behind;
                parser.feed(piece);
                loop {
                    match parser.next(Limits::Known) {
                        Ok(Some(request)) => requests.push(request),
                        Ok(None) => break,
                        Err(error) => { end = Err(error); break }
                    }
                }
            }
            let mut whole = Parser::default();
            whole.feed(&bytes);
            let mut expected = vec![];
            let whole = loop {
                match whole.next(Limits::Known) {
                    Ok(Some(request)) => expected.push(request),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            prop_assert_eq!((requests, end), (expected, whole));
        }

        #[test]
        fn requests_survive_the_wire(request in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..6)) {
            let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
            for argument in &request {
                bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
                bytes.extend(argument);
                bytes.extend(b"\r\n");
            }
            prop_assert_eq!(parsed(&bytes).unwrap(), [request]);
        }
    }
}
