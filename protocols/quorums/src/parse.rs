//! Expressions from text.
//!
//! ```text
//! or   := and ('+' and)*
//! and  := atom ('*' atom)*
//! atom := name | '(' or ')'
//!       | 'choose' '(' int ',' or (',' or)* ')'      also choose2(a, b), as the original prints it
//!       | 'majority' '(' or (',' or)* ')'
//!       | 'vote' '(' int ';' int ':' or (',' int ':' or)* ')'
//! ```
//! A name is letters, digits, `_`, `-` and `.`; any other is quoted. An error points at the column it is about. The text,
//! its depth and its leaves are limited, so that no input can exhaust the machine.

use crate::cluster::{Cluster, continues_name, starts_name};
use crate::{Attributes, Error, Expr, Result};

/// The most characters of an expression.
pub const MAX_TEXT: usize = 1 << 16;
/// The most parentheses inside each other.
pub const MAX_DEPTH: usize = 100;

impl Cluster {
    /// Reads an expression over the nodes of this cluster.
    ///
    /// # Errors
    /// When the text is no expression, or a name is unknown; the error says in which column.
    pub fn parse(&self, text: &str) -> Result<Expr> {
        Parser::read(text, &mut |name| self.node(name).map(Expr::from))
    }

    /// Reads an expression and adds the nodes that are new, with default attributes, in the order of the text.
    ///
    /// # Errors
    /// When the text is no expression, or there are too many nodes.
    pub fn parse_adding(&mut self, text: &str) -> Result<Expr> {
        let mut extended = self.clone();
        let expr = Parser::read(text, &mut |name| match extended.node(name) {
            Ok(node) => Ok(node.into()),
            Err(_) => extended.add(name, Attributes::default()).map(Expr::from),
        })?;
        *self = extended;
        Ok(expr)
    }
}

struct Parser<'a> {
    text: Vec<char>,
    at: usize,
    depth: usize,
    node: &'a mut dyn FnMut(&str) -> Result<Expr>,
}

impl<'a> Parser<'a> {
    fn read(text: &str, node: &'a mut dyn FnMut(&str) -> Result<Expr>) -> Result<Expr> {
        let text: Vec<char> = text.chars().take(MAX_TEXT + 1).collect();
        if text.len() > MAX_TEXT {
            let message = format!("the text has more than {MAX_TEXT} characters");
            return Err(Error::Parse { column: MAX_TEXT + 1, message });
        }
        let mut parser = Parser { text, at: 0, depth: 0, node };
        let expr = parser.sum()?;
        match parser.peek() {
            None => Ok(expr),
            Some(c) => Err(parser.error(format!("expected '+', '*' or the end, found {c:?}"))),
        }
    }

    fn sum(&mut self) -> Result<Expr> {
        let mut terms = vec![self.product()?];
        while self.eat('+') {
            terms.push(self.product()?);
        }
        Expr::any(terms)
    }

    fn product(&mut self) -> Result<Expr> {
        let mut factors = vec![self.atom()?];
        while self.eat('*') {
            factors.push(self.atom()?);
        }
        Expr::all(factors)
    }

    fn atom(&mut self) -> Result<Expr> {
        let found = self.peek();
        let start = self.at;
        match found {
            Some('(') => self.nested(|parser| {
                let inner = parser.sum()?;
                parser.expect(')', "'+', '*' or ')'")?;
                Ok(inner)
            }),
            Some('"') => {
                let name = self.quoted()?;
                self.named(start, &name)
            }
            Some(c) if starts_name(c) => {
                let name = self.word();
                if self.peek() == Some('(') { self.call(start, &name) } else { self.named(start, &name) }
            }
            Some(c) => Err(self.error(format!("expected a node or '(', found {c:?}"))),
            None => Err(self.error("expected a node or '(', found the end".into())),
        }
    }

    fn named(&mut self, start: usize, name: &str) -> Result<Expr> {
        (self.node)(name).map_err(|error| at(start, &error))
    }

    fn call(&mut self, start: usize, name: &str) -> Result<Expr> {
        let gate = match (name, name.strip_prefix("choose").map(str::parse::<u64>)) {
            ("majority", _) => self.nested(|parser| {
                let members = parser.members()?;
                Ok(Expr::majority(members))
            }),
            ("choose", _) => self.nested(|parser| {
                let threshold = parser.integer()?;
                let members = if parser.eat(',') { parser.members()? } else { parser.none()? };
                Ok(Expr::vote(threshold, members.into_iter().map(|member| (1, member))))
            }),
            ("vote", _) => self.nested(|parser| {
                let threshold = parser.integer()?;
                parser.expect(';', "';' after the threshold")?;
                Ok(Expr::vote(threshold, parser.votes()?))
            }),
            (_, Some(Ok(threshold))) => self.nested(|parser| {
                let members = parser.members()?;
                Ok(Expr::vote(threshold, members.into_iter().map(|member| (1, member))))
            }),
            _ => {
                let message = format!("{name:?} is no gate; there are choose, majority and vote");
                return Err(Error::Parse { column: start + 1, message });
            }
        }?;
        gate.map_err(|error| at(start, &error))
    }

    /// What is between this parenthesis and its end, which `inside` consumes.
    fn nested<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} parentheses inside each other")));
        }
        let result = inside(self)?;
        self.depth -= 1;
        Ok(result)
    }

    fn none<T>(&mut self) -> Result<Vec<T>> {
        self.expect(')', "',' or ')'")?;
        Ok(Vec::new())
    }

    fn members(&mut self) -> Result<Vec<Expr>> {
        self.list(Self::sum)
    }

    fn votes(&mut self) -> Result<Vec<(u64, Expr)>> {
        self.list(|parser| {
            let votes = parser.integer()?;
            parser.expect(':', "':' between votes and member")?;
            Ok((votes, parser.sum()?))
        })
    }

    fn list<T>(&mut self, one: fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        if self.eat(')') {
            return Ok(Vec::new());
        }
        let mut list = vec![one(self)?];
        while self.eat(',') {
            list.push(one(self)?);
        }
        self.expect(')', "'+', '*', ',' or ')'")?;
        Ok(list)
    }

    fn integer(&mut self) -> Result<u64> {
        let found = self.peek();
        let start = self.at;
        let word = self.word();
        word.parse().map_err(|_| {
            let message = match found {
                Some(_) if !word.is_empty() => format!("expected a count, found {word:?}"),
                Some(c) => format!("expected a count, found {c:?}"),
                None => "expected a count, found the end".into(),
            };
            Error::Parse { column: start + 1, message }
        })
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.text.get(self.at).copied().is_some_and(continues_name) {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }

    fn quoted(&mut self) -> Result<String> {
        let start = self.at;
        let mut name = String::new();
        loop {
            self.at += 1;
            match self.text.get(self.at) {
                Some('"') => break,
                Some('\\') if self.at + 1 < self.text.len() => {
                    self.at += 1;
                    name.push(self.text[self.at]);
                }
                Some(&c) => name.push(c),
                None => {
                    return Err(Error::Parse {
                        column: start + 1,
                        message: "the quote is not closed".into(),
                    });
                }
            }
        }
        self.at += 1;
        Ok(name)
    }

    /// The next character that is no space, which becomes the current one.
    fn peek(&mut self) -> Option<char> {
        while self.text.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, c: char, expected: &str) -> Result<()> {
        match self.peek() {
            Some(found) if found == c => {
                self.at += 1;
                Ok(())
            }
            Some(found) => Err(self.error(format!("expected {expected}, found {found:?}"))),
            None => Err(self.error(format!("expected {expected}, found the end"))),
        }
    }

    fn error(&self, message: String) -> Error {
        Error::Parse { column: self.at + 1, message }
    }
}

fn at(start: usize, error: &Error) -> Error {
    Error::Parse { column: start + 1, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String> {
        let mut cluster = Cluster::new();
        let expr = cluster.parse_adding(text)?;
        Ok(cluster.show(&expr))
    }

    #[test]
    fn products_bind_tighter_than_sums() {
        assert_eq!(read("a*b + c*d").unwrap(), "((a * b) + (c * d))");
        assert_eq!(read(" a * ( b + c ) ").unwrap(), "(a * (b + c))");
        assert_eq!(read("majority(a, b, c*d)").unwrap(), "choose(2, a, b, (c * d))");
        assert_eq!(read("choose2(a, b, c)").unwrap(), "choose(2, a, b, c)");
        assert_eq!(read("vote(3; 2:a, 1:b, 1:c)").unwrap(), "vote(3; 2:a, 1:b, 1:c)");
        assert_eq!(read(r#""10.0.0.1:80" + "a \"b\"""#).unwrap(), r#"("10.0.0.1:80" + "a \"b\"")"#);
    }

    #[test]
    fn errors_point_at_their_column() {
        let column = |text| match read(text) {
            Err(Error::Parse { column, .. }) => column,
            other => panic!("{text}: {other:?}"),
        };
        for (text, expected) in [
            ("", 1),
            ("a +", 4),
            ("a b", 3),
            ("(a + b", 7),
            ("a + choose(3, b, c)", 5),
            ("choose(x, a)", 8),
            ("choose(1)", 1),
            ("majority()", 1),
            ("a * foo(b)", 5),
            ("vote(2, 1:a)", 7),
            ("vote(2; 0:a)", 1),
            ("a + \"b", 5),
            ("a + )", 5),
        ] {
            assert_eq!(column(text), expected, "{text}");
        }
        let cluster = Cluster::named(["alpha", "b"]).unwrap();
        let error = cluster.parse("b + alpa").unwrap_err();
        assert_eq!(error.to_string(), "column 5: no node is called \"alpa\"; did you mean \"alpha\"?");
    }

    #[test]
    fn depth_length_and_nodes_are_limited() {
        assert!(read(&format!("{}a{}", "(".repeat(101), ")".repeat(101))).is_err());
        assert!(read(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).is_ok());
        assert!(read(&"a+".repeat(MAX_TEXT)).is_err());
        let many: Vec<String> = (0..129).map(|i| format!("n{i}")).collect();
        assert!(read(&many.join("+")).unwrap_err().to_string().contains("at most 128"));
    }
}
