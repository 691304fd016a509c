//! The gateway: a cluster as clients of Redis see it.
//!
//! One thread serves all connections and the clients of the cluster, one for each kind of read, and waits for none of them.
//! The requests that a connection has waiting go to the store together, and the next ones when those are answered: so they take
//! effect in their order. What several connections have waiting at the same time shares a batch, those that write and those that
//! only read apart: pipelines, and many connections, cost one command of the log. Batches overlap, as many as there are lanes.
//!
//! **Bounds.** Connections, requests that wait, and bytes of replies that nobody reads are limited: a connection that reaches a
//! limit is not read until it is below, and one that takes no reply for a while is closed.
//!
//! **What clients are told.** A command without an answer is unknown, not failed: `UNKNOWN` says that it may have taken effect or
//! may yet. `TRYAGAIN` says that it has not and will not, `CLUSTERDOWN` that nothing was asked to change and nobody answered.

mod server;
mod session;

use super::client::attend;
use super::{ClientOptions, Cluster, Reads, Replicates, VisitStore, visit_store};
use crate::error::Error;
use parthood_runtime::SharedHistogram;
use parthood_runtime::wire::read_secret;
use server::{Server, Stopper};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a gateway works.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// What reads of a new connection promise; none as the protocol likes best.
    pub reads: Option<Reads>,
    /// What clients must say, if anything.
    pub password: Option<Password>,
    /// The most connections.
    pub connections_max: usize,
    /// The lanes for each kind of read.
    pub lanes: u32,
    /// How long a command waits for its answer.
    pub timeout: Duration,
    /// How long a client may take no reply.
    pub patience: Duration,
    /// Where it notes how long commands take.
    pub times: SharedHistogram,
}

impl GatewayOptions {
    /// A gateway without a password at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            reads: None,
            password: None,
            connections_max: 1000,
            lanes: 64,
            timeout: Duration::from_secs(5),
            patience: Duration::from_secs(10),
            times: SharedHistogram::default(),
        }
    }
}

/// What clients of a gateway must say.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(blake3::Hash);

impl Password {
    /// Reads a file whose only line is the password, and that nobody but its owner can read.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it holds something else.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let text = read_secret(file)?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() || password.contains(['\n', '\r']) {
            let file = file.display();
            return Err(Error::Environment(format!(
                "{file} must hold one line, the password, and nothing else"
            )));
        }
        Ok(Self(blake3::hash(password.as_bytes())))
    }

    /// Is this the password? Takes the same time wherever the two differ.
    pub fn is(&self, said: &[u8]) -> bool {
        self.0 == blake3::hash(said)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(secret)")
    }
}

/// A gateway that is running.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stopper: Arc<Stopper>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Gateway {
    /// Starts a gateway to a cluster.
    ///
    /// # Errors
    /// When the address or the key cannot be used, or the protocol replicates no store or does not read in this way.
    pub fn start(cluster: &Cluster, options: GatewayOptions) -> Result<Self, Error> {
        let kinds = kinds(cluster, options.reads)?;
        let address = options.address;
        let failed = |error| Error::Environment(format!("cannot serve Redis clients on {address}: {error}"));
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let cluster = cluster.clone();
        let of_client =
            ClientOptions { lanes: options.lanes, timeout: options.timeout, ..ClientOptions::default() };
        let times = options.times.clone();
        let (ready, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let connect = move |reads| {
                attend(&cluster, ClientOptions { reads: Some(reads), ..of_client }, times.clone())
            };
            // Whoever has started it listens.
            match Server::new(listener, kinds, Box::new(connect), options) {
                Ok(server) => {
                    let _ = ready.send(Ok(server.stopper()));
                    server.run()
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    Ok(())
                }
            }
        });
        let stopper = started.recv().unwrap_or_else(|_| Err(panicked()))?;
        Ok(Self { address, stopper, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops it, from any thread.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let stopper = self.stopper.clone();
        move || stopper.stop()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Why it has, unless it was stopped.
    pub fn wait(mut self) -> Result<(), Error> {
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err(panicked())))
    }

    /// Ends it and closes all connections.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn stop(self) -> Result<(), Error> {
        self.stopper.stop();
        self.wait()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // Whoever wants to know how it ended has waited for it.
            let _ = thread.join();
        }
    }
}

fn panicked() -> Error {
    Error::Environment("the gateway has panicked".into())
}

/// The kinds of reads of a cluster, first the one that is asked for. Where all go through the log they are linearizable.
fn kinds(cluster: &Cluster, first: Option<Reads>) -> Result<Vec<Reads>, Error> {
    struct Known;
    impl VisitStore for Known {
        type Output = (&'static str, &'static [Reads]);
        fn visit<D: Replicates>(self) -> Self::Output {
            (D::NAME, D::READS)
        }
    }
    let (name, known) = visit_store(&cluster.protocol, Known)?;
    let first = match first {
        None => known[0],
        Some(Reads::Linearizable) if !known.contains(&Reads::Linearizable) => Reads::Log,
        Some(first) => first.among(known, name)?,
    };
    let others = known.iter().copied().filter(|reads| *reads != first);
    Ok(std::iter::once(first).chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn reads_are_called_alike_on_the_command_line_and_by_clients() {
        for reads in Reads::value_variants() {
            assert_eq!(reads.to_possible_value().unwrap().get_name(), reads.name());
        }
    }

    #[test]
    fn a_password_is_one_line_that_nobody_else_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let write = |text: &str, mode: u32| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            Password::load(&file)
        };
        let password = write("open sesame\n", 0o600).unwrap();
        assert!(password.is(b"open sesame") && !password.is(b"open sesame\n") && !password.is(b""));
        assert!(!format!("{password:?}").contains("sesame"));
        assert!(write("open sesame\n", 0o640).unwrap_err().to_string().contains("chmod 600"));
        for text in ["", "\n", "one\ntwo\n"] {
            assert!(write(text, 0o600).unwrap_err().to_string().contains("one line"), "{text:?}");
        }
    }
}
