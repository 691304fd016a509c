//! One connection: whom it belongs to, what it has queued, and what becomes of its next request.

use crate::command;
use crate::cursors::Cursors;
use crate::query::Query;
use crate::reply::{Protocol, Reply};
use crate::request::{Limits, Parser, Request};
use crate::server;
use crate::table::{self, Entry};

/// The most requests of a transaction, and the most bytes of them.
const MAX_QUEUED: usize = 1000;
const MAX_QUEUED_BYTES: usize = 128 * 1024;
/// How much of what it does not know Redis repeats.
const MAX_QUOTED_BYTES: usize = 128;

/// Decides whether this is the password.
pub type IsPassword<'a> = &'a dyn Fn(&[u8]) -> bool;

/// What is common to the connections of a gateway.
pub struct Context<'a> {
    /// Is this the password? None if there is no password.
    pub is_password: Option<IsPassword<'a>>,
    /// What reads can promise; a connection begins with the first.
    pub reads: &'a [&'a str],
    /// Where scans go on.
    pub cursors: &'a mut Cursors,
    /// What `INFO` tells.
    pub info: &'a dyn Fn() -> String,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This is the reply.
    Reply(Reply),
    /// The store is to be asked.
    Ask(Query),
    /// This is the last reply; the connection ends.
    End(Reply),
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(crate) id: u64,
    parser: Parser,
    pub(crate) protocol: Protocol,
    /// Does it still have to say the password?
    is_stranger: bool,
    pub(crate) name: Vec<u8>,
    /// Which of the promises its reads keep.
    pub(crate) reads: usize,
    queue: Option<Queue>,
    has_ended: bool,
}

/// What follows `MULTI`.
#[derive(Clone, Debug, Default)]
struct Queue {
    requests: Vec<Request>,
    bytes: usize,
    /// Something could not be queued.
    is_broken: bool,
}

impl Connection {
    /// A connection that begins. It must say the password if there is one.
    pub fn new(id: u64, needs_password: bool) -> Self {
        Self {
            id,
            parser: Parser::default(),
            protocol: Protocol::default(),
            is_stranger: needs_password,
            name: vec![],
            reads: 0,
            queue: None,
            has_ended: false,
        }
    }

    /// Takes bytes as they arrive.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.has_ended {
            self.parser.feed(bytes);
        }
    }

    /// How many bytes wait to become requests.
    pub fn waiting(&self) -> usize {
        self.parser.waiting()
    }

    /// The version of the protocol in which the reply to the latest step is written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Which of the promises of [`Context::reads`] its reads keep.
    pub fn reads(&self) -> usize {
        self.reads
    }

    /// What becomes of the next request, if all of it is there. After [`Step::End`] nothing comes.
    pub fn step(&mut self, context: &mut Context<'_>) -> Option<Step> {
        if self.has_ended {
            return None;
        }
        let limits = if self.is_stranger { Limits::Stranger } else { Limits::Known };
        let step = match self.parser.next(limits) {
            Ok(None) => return None,
            Ok(Some(request)) => self.on_request(request, context),
            Err(error) => Step::End(Reply::error(format!("Protocol error: {}", error.0))),
        };
        self.has_ended = matches!(step, Step::End(_));
        Some(step)
    }

    fn on_request(&mut self, request: Request, context: &mut Context<'_>) -> Step {
        if request[0].eq_ignore_ascii_case(b"quit") {
            return Step::End(Reply::OK);
        }
        let entry = match known(&request) {
            Ok(entry) => entry,
            Err(refusal) => return self.refuse(&request, refusal),
        };
        if self.is_stranger && !matches!(entry.name, "auth" | "hello" | "reset") {
            return self.refuse(&request, Reply::Error("NOAUTH Authentication required.".into()));
        }
        match entry.name {
            "multi" if self.queue.is_some() => Step::Reply(Reply::error("MULTI calls can not be nested")),
            "multi" => {
                self.queue = Some(Queue::default());
                Step::Reply(Reply::OK)
            }
            "discard" => Step::Reply(match self.queue.take() {
                Some(_) => Reply::OK,
                None => Reply::error("DISCARD without MULTI"),
            }),
            "exec" => self.exec(context),
            "watch" if self.queue.is_some() => Step::Reply(Reply::error("WATCH inside MULTI is not allowed")),
            "reset" => {
                *self = Self {
                    parser: std::mem::take(&mut self.parser),
                    ..Self::new(self.id, context.is_password.is_some())
                };
                Step::Reply(Reply::Simple("RESET"))
            }
            "watch" => Step::Reply(watch()),
            _ if self.queue.is_some() => self.enqueue(request),
            _ => self.execute(entry, &request, context),
        }
    }

    /// An error that makes a transaction fail, and ends it where it refuses `EXEC` itself.
    fn refuse(&mut self, request: &Request, refusal: Reply) -> Step {
        if request[0].eq_ignore_ascii_case(b"exec")
            && let Reply::Error(why) = &refusal
        {
            self.queue = None;
            let why = why.strip_prefix("ERR ").unwrap_or(why);
            return Step::Reply(Reply::Error(format!("EXECABORT Transaction discarded because of: {why}")));
        }
        if let Some(queue) = &mut self.queue {
            queue.is_broken = true;
        }
        Step::Reply(refusal)
    }

    fn enqueue(&mut self, request: Request) -> Step {
        let Some(queue) = &mut self.queue else { return Step::Reply(Reply::error("no MULTI")) };
        queue.bytes += request.iter().map(|word| word.len() + size_of::<Vec<u8>>()).sum::<usize>();
        if queue.requests.len() == MAX_QUEUED || queue.bytes > MAX_QUEUED_BYTES {
            queue.requests.clear();
            return self.refuse(&request, Reply::error(format!(
                "a transaction may have {MAX_QUEUED} commands and {MAX_QUEUED_BYTES} bytes: this one is given up"
            )));
        }
        queue.requests.push(request);
        Step::Reply(Reply::Simple("QUEUED"))
    }

    fn exec(&mut self, context: &mut Context<'_>) -> Step {
        let Some(queue) = self.queue.take() else { return Step::Reply(Reply::error("EXEC without MULTI")) };
        if queue.is_broken {
            let why = "EXECABORT Transaction discarded because of previous errors.";
            return Step::Reply(Reply::Error(why.into()));
        }
        let mut queries = vec![];
        for request in &queue.requests {
            let step = match known(request) {
                Ok(entry) => self.execute(entry, request, context),
                Err(refusal) => Step::Reply(refusal),
            };
            queries.push(match step {
                Step::Ask(query) => query,
                Step::Reply(reply) | Step::End(reply) => Query::fixed(reply),
            });
        }
        match Query::together(queries) {
            Ok(query) => settled(query, context.cursors),
            Err(refusal) => Step::Reply(refusal),
        }
    }

    fn execute(&mut self, entry: &Entry, request: &Request, context: &mut Context<'_>) -> Step {
        let arguments = &request[1..];
        match command::ask(entry.name, arguments, context.cursors) {
            Some(Ok(query)) => settled(query, context.cursors),
            Some(Err(refusal)) => Step::Reply(refusal),
            None => Step::Reply(match entry.name {
                "auth" => self.auth(arguments, context),
                "hello" => self.hello(arguments, context),
                name => server::reply(self, name, arguments, context),
            }),
        }
    }

    fn auth(&mut self, arguments: &[Vec<u8>], context: &Context<'_>) -> Reply {
        let (user, password) = match arguments {
            [password] => (&b"default"[..], password),
            [user, password] => (user.as_slice(), password),
            _ => return Reply::error(command::SYNTAX),
        };
        if context.is_password.is_none() && arguments.len() == 1 {
            let why = "AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
            return Reply::error(why);
        }
        self.log_in(user, password, context).err().unwrap_or(Reply::OK)
    }

    fn log_in(&mut self, user: &[u8], password: &[u8], context: &Context<'_>) -> Result<(), Reply> {
        // Without a password everything is right, as with Redis.
        let is_right =
            context.is_password.is_none_or(|is_password| is_password(password)) && user == b"default";
        if is_right {
            self.is_stranger = false;
            return Ok(());
        }
        Err(Reply::Error("WRONGPASS invalid username-password pair or user is disabled.".into()))
    }

    fn hello(&mut self, arguments: &[Vec<u8>], context: &Context<'_>) -> Reply {
        self.try_hello(arguments, context).unwrap_or_else(|refusal| refusal)
    }

    fn try_hello(&mut self, arguments: &[Vec<u8>], context: &Context<'_>) -> Result<Reply, Reply> {
        let mut protocol = self.protocol;
        if let Some(version) = arguments.first() {
            protocol = match crate::request::number(version) {
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return Err(Reply::Error("NOPROTO unsupported protocol version".into())),
                None => return Err(Reply::error("Protocol version is not an integer or out of range")),
            };
        }
        let (mut login, mut name) = (None, None);
        let mut rest = arguments.get(1..).unwrap_or_default();
        while let [option, behind @ ..] = rest {
            match (option.to_ascii_lowercase().as_slice(), behind) {
                (b"auth", [user, password, behind @ ..]) => {
                    login = Some((user, password));
                    rest = behind;
                }
                (b"setname", [new, behind @ ..]) => {
                    name = Some(server::name(new)?);
                    rest = behind;
                }
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return Err(Reply::error(format!("Syntax error in HELLO option '{option}'")));
                }
            }
        }
        if let Some((user, password)) = login {
            self.log_in(user, password, context)?;
        }
        if self.is_stranger {
            let why = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
            return Err(Reply::Error(why.into()));
        }
        self.protocol = protocol;
        self.name = name.unwrap_or_else(|| std::mem::take(&mut self.name));
        Ok(server::greeting(self))
    }
}

/// A question that asks nothing is answered at once.
fn settled(query: Query, cursors: &mut Cursors) -> Step {
    if query.commands().is_empty() { Step::Reply(query.reply(&[], cursors)) } else { Step::Ask(query) }
}

fn watch() -> Reply {
    Reply::error("WATCH is not supported: use CAS key old new, which sets a key if it holds what you saw")
}

/// The command that a request names, if it has as many words as that needs.
fn known(request: &Request) -> Result<&'static Entry, Reply> {
    let Some(mut entry) = table::find(&request[0]).filter(|entry| !entry.name.contains('|')) else {
        return Err(unknown(request));
    };
    if entry.is_group() && request.len() > 1 {
        entry = table::find(&[entry.name.as_bytes(), b"|", &request[1]].concat()).ok_or_else(|| {
            let (word, group) = (quoted(&request[1], MAX_QUOTED_BYTES), entry.name.to_ascii_uppercase());
            Reply::error(format!("unknown subcommand '{word}'. Try {group} HELP."))
        })?;
    }
    if entry.takes(request.len()) {
        return Ok(entry);
    }
    Err(Reply::error(format!("wrong number of arguments for '{}' command", entry.name)))
}

fn unknown(request: &Request) -> Reply {
    let mut arguments = String::new();
    for argument in &request[1..] {
        let Some(room) = MAX_QUOTED_BYTES.checked_sub(arguments.len()).filter(|room| *room > 0) else {
            break;
        };
        arguments = format!("{arguments}'{}' ", quoted(argument, room));
    }
    let name = quoted(&request[0], MAX_QUOTED_BYTES);
    Reply::error(format!("unknown command '{name}', with args beginning with: {arguments}"))
}

/// The beginning of what a client has said, as a text of C would hold it.
fn quoted(bytes: &[u8], most: usize) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end.min(most)]).into_owned()
}
