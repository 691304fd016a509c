//! Replies, in both versions of the protocol.

/// Which version of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What a connection begins with.
    #[default]
    Resp2,
    /// With maps and a null of its own.
    Resp3,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A word.
    Simple(&'static str),
    /// What went wrong: a code word and a sentence.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Text for people.
    Text(String),
    /// Nothing where bytes might be.
    Null,
    /// Nothing where several replies might be.
    NullArray,
    /// Several replies.
    Array(Vec<Reply>),
    /// Pairs; one after the other where the protocol has no maps.
    Map(Vec<(Reply, Reply)>),
    /// Several replies whose order means nothing.
    Set(Vec<Reply>),
}

impl Reply {
    /// That all is well.
    pub const OK: Self = Self::Simple("OK");

    /// An error whose code word says nothing.
    pub fn error(what: impl AsRef<str>) -> Self {
        Self::Error(format!("ERR {}", what.as_ref()))
    }

    /// Bytes of a text.
    pub(crate) fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Bulk(text.as_ref().to_vec())
    }

    /// Appends the reply to what is to be sent.
    pub fn write(&self, protocol: Protocol, out: &mut Vec<u8>) {
        let is_new = protocol == Protocol::Resp3;
        match self {
            Self::Simple(word) => line(out, b'+', word.as_bytes()),
            // A line break would end the reply.
            Self::Error(what) => line(out, b'-', what.replace(['\r', '\n'], " ").as_bytes()),
            Self::Integer(number) => line(out, b':', number.to_string().as_bytes()),
            Self::Bulk(bytes) => bulk(out, bytes),
            Self::Text(text) if is_new => {
                line(out, b'=', (text.len() + 4).to_string().as_bytes());
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Self::Text(text) => bulk(out, text.as_bytes()),
            Self::Null | Self::NullArray if is_new => out.extend_from_slice(b"_\r\n"),
            Self::Null => out.extend_from_slice(b"$-1\r\n"),
            Self::NullArray => out.extend_from_slice(b"*-1\r\n"),
            Self::Array(replies) => several(out, b'*', replies, protocol),
            Self::Set(replies) => several(out, if is_new { b'~' } else { b'*' }, replies, protocol),
            Self::Map(pairs) => {
                let (kind, count) = if is_new { (b'%', pairs.len()) } else { (b'*', 2 * pairs.len()) };
                line(out, kind, count.to_string().as_bytes());
                for (key, value) in pairs {
                    key.write(protocol, out);
                    value.write(protocol, out);
                }
            }
        }
    }
}

fn several(out: &mut Vec<u8>, kind: u8, replies: &[Reply], protocol: Protocol) {
    line(out, kind, replies.len().to_string().as_bytes());
    for reply in replies {
        reply.write(protocol, out);
    }
}

fn line(out: &mut Vec<u8>, kind: u8, rest: &[u8]) {
    out.push(kind);
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    line(out, b'$', bytes.len().to_string().as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, protocol: Protocol) -> String {
        let mut out = vec![];
        reply.write(protocol, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_are_written_in_both_versions() {
        let map = Reply::Map(vec![(Reply::text("a"), Reply::Null)]);
        assert_eq!(written(&map, Protocol::Resp2), "*2\r\n$1\r\na\r\n$-1\r\n");
        assert_eq!(written(&map, Protocol::Resp3), "%1\r\n$1\r\na\r\n_\r\n");
        let list = Reply::Array(vec![Reply::Integer(-7), Reply::OK, Reply::Text("x".into())]);
        assert_eq!(written(&list, Protocol::Resp2), "*3\r\n:-7\r\n+OK\r\n$1\r\nx\r\n");
        assert_eq!(written(&list, Protocol::Resp3), "*3\r\n:-7\r\n+OK\r\n=5\r\ntxt:x\r\n");
    }

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        assert_eq!(written(&Reply::error("a\r\n+OK"), Protocol::Resp2), "-ERR a  +OK\r\n");
    }
}
