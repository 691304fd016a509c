//! The loop by hand, with a store that answers at once or never.

use super::*;
use parthood_protocols::state_machine::{KeyValue, StateMachine as _};
use std::cell::RefCell;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;

type Told = Box<dyn FnOnce(Result<KeyValueOutput, ClientError>) + Send>;

/// A store in place of a cluster.
struct Store {
    machine: KeyValue,
    asked: Vec<(KeyValueCommand, Told)>,
    is_silent: bool,
    /// How many commands each batch had.
    batches: Rc<RefCell<Vec<usize>>>,
    socket: UnixDatagram,
}

impl Attend for Store {
    fn submit(&mut self, command: KeyValueCommand, told: Told) -> Ticket {
        let KeyValueCommand::Batch(batch) = &command else { panic!("{command:?} is no batch") };
        self.batches.borrow_mut().push(batch.commands().len());
        self.asked.push((command, told));
        Ticket::default()
    }

    fn turn(&mut self) -> Result<bool, Error> {
        for (command, told) in self.asked.drain(..).filter(|_| !self.is_silent) {
            told(Ok(self.machine.apply(&command)));
        }
        Ok(false)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn patience(&mut self) -> Option<Duration> {
        None
    }
}

/// A gateway whose loop is this test, and its clients.
struct Gateway {
    server: Server,
    clients: Vec<TcpStream>,
    batches: Rc<RefCell<Vec<usize>>>,
}

impl Gateway {
    fn with(clients: usize, is_silent: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let batches = Rc::<RefCell<Vec<usize>>>::default();
        let noted = batches.clone();
        let connect = move |_| {
            let (socket, batches) = (UnixDatagram::unbound().unwrap(), noted.clone());
            let (machine, asked) = (KeyValue::default(), vec![]);
            Ok(Box::new(Store { machine, asked, is_silent, batches, socket }) as Box<dyn Attend>)
        };
        let options = GatewayOptions { timeout: Duration::ZERO, ..GatewayOptions::new(address) };
        let mut server = Server::new(listener, vec![Reads::Log], Box::new(connect), options).unwrap();
        let connect = |_| {
            let client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client
        };
        let clients = (0..clients).map(connect).collect();
        server.accept().unwrap();
        Self { server, clients, batches }
    }

    fn say(&mut self, client: usize, lines: &str) {
        self.clients[client].write_all(lines.as_bytes()).unwrap();
    }

    /// One turn of the loop; what the batches were that it asked.
    fn turn(&mut self) -> Vec<usize> {
        let tokens: Vec<u64> = self.server.sessions.keys().copied().collect();
        for token in tokens {
            self.server.on_event(token, EpollFlags::EPOLLIN);
        }
        self.server.ask();
        self.server.shared.attend().unwrap();
        self.server.on_answers();
        self.batches.take()
    }

    /// Hears so many bytes.
    fn hear(&mut self, client: usize, bytes: usize) -> String {
        let mut heard = vec![0; bytes];
        self.clients[client].read_exact(&mut heard).unwrap();
        String::from_utf8(heard).unwrap()
    }
}

#[test]
fn connections_share_a_batch_those_that_write_and_those_that_read_apart() {
    let mut gateway = Gateway::with(4, false);
    gateway.say(0, "INCR n\r\nINCR n\r\n");
    gateway.say(1, "GET n\r\n");
    gateway.say(2, "INCR n\r\nGET n\r\n");
    gateway.say(3, "EXISTS n\r\n");
    assert_eq!(gateway.turn(), [4, 2]);
    assert_eq!(gateway.hear(0, 8), ":1\r\n:2\r\n");
    assert_eq!(gateway.hear(1, 7), "$1\r\n3\r\n");
    assert_eq!(gateway.hear(2, 11), ":3\r\n$1\r\n3\r\n");
    assert_eq!(gateway.hear(3, 4), ":1\r\n");
    // Who has nothing to ask is not asked for.
    gateway.say(3, "PING\r\nDECR n\r\n");
    assert_eq!(gateway.turn(), [1]);
    assert_eq!(gateway.hear(3, 11), "+PONG\r\n:2\r\n");
    assert!(gateway.turn().is_empty());
}

#[test]
fn a_batch_has_its_limits_however_many_connections_share_it() {
    let mut gateway = Gateway::with(3, false);
    for client in 0..3 {
        gateway.say(client, &format!("SET k{client} {}\r\n", "x".repeat(14_000)));
    }
    assert_eq!(gateway.turn(), [2, 1]);
    for client in 0..3 {
        assert_eq!(gateway.hear(client, 5), "+OK\r\n");
    }
}

#[test]
fn who_asks_for_much_asks_alone_as_long_as_it_does() {
    let mut gateway = Gateway::with(3, false);
    gateway.say(0, &format!("SET big {}\r\n", "x".repeat(16_000)));
    gateway.turn();
    assert_eq!(gateway.hear(0, 5), "+OK\r\n");
    for client in 0..3 {
        gateway.say(
            client,
            if client < 2 { "GET big\r\nSTRLEN big\r\n" } else { "GET big\r\nGET big\r\nGET big\r\n" },
        );
    }
    assert_eq!(gateway.turn(), [7], "too much for one answer");
    assert_eq!(gateway.turn(), [2, 2, 3], "and the last still");
    assert_eq!(gateway.turn(), [1], "half as many, rounded down");
    assert_eq!(gateway.turn(), [2]);
    for (client, bytes) in [(0, 16_018), (1, 16_018), (2, 48_030)] {
        let heard = gateway.hear(client, bytes);
        assert_eq!(heard.matches("$16000\r\n").count(), if client < 2 { 1 } else { 3 });
    }
    for _ in 0..2 {
        for client in 0..3 {
            gateway.say(client, "EXISTS big\r\n");
        }
        let alone = gateway.turn();
        assert!(alone == [1, 1, 1] || alone == [3], "{alone:?}");
    }
    for client in 0..3 {
        assert_eq!(gateway.hear(client, 8), ":1\r\n:1\r\n");
        gateway.say(client, "EXISTS big\r\n");
    }
    assert_eq!(gateway.turn(), [3], "small answers are shared again");
}

#[test]
fn a_batch_without_an_answer_is_told_to_all_who_share_it() {
    let mut gateway = Gateway::with(3, true);
    gateway.say(0, "SET k v\r\nGET k\r\n");
    gateway.say(1, "DEL k\r\n");
    gateway.say(2, "GET k\r\n");
    assert_eq!(gateway.turn(), [3, 1]);
    // It waits behind what has no answer.
    gateway.say(1, "INCR n\r\n");
    assert!(gateway.turn().is_empty());
    gateway.server.expire();
    for (client, errors) in [(0, ["TRYAGAIN", "TRYAGAIN"]), (1, ["TRYAGAIN", ""]), (2, ["TRYAGAIN", ""])] {
        let mut heard = [0; 4096];
        let count = gateway.clients[client].read(&mut heard).unwrap();
        let heard = String::from_utf8_lossy(&heard[..count]).into_owned();
        for (line, error) in heard.lines().zip(errors) {
            assert!(line.starts_with('-') && line.contains(error), "{client}: {heard}");
        }
    }
    assert_eq!(gateway.turn(), [1], "what waited behind is asked");
}
