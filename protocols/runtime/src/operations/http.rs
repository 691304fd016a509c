//! `/metrics` and `/health`. There is no authentication: listen where only those come who may know.

use super::Operations;
use crate::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tiny_http::{Header, Method, Request, Response, Server};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers until it is dropped.
pub struct Listener {
    server: Arc<Server>,
    local: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// When it cannot be listened on, or no thread can be started.
    pub fn start(address: SocketAddr, mut operations: Operations) -> Result<Self, Error> {
        let listener =
            std::net::TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        let local = listener.local_addr().map_err(|source| Error::Bind { address, source })?;
        let server = Server::from_listener(listener, None)
            .map_err(|error| Error::Setup(format!("cannot serve metrics on {local}: {error}")))?;
        let server = Arc::new(server);
        let serving = server.clone();
        let answer = move || {
            for request in serving.incoming_requests() {
                // Who has gone away needs no answer.
                let _ = respond(request, &mut operations);
            }
        };
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn(answer)
            .map_err(|error| Error::Setup(format!("cannot start a thread for metrics: {error}")))?;
        Ok(Self { server, local, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended it, which is what is wanted.
            let _ = thread.join();
        }
    }
}

fn respond(request: Request, operations: &mut Operations) -> std::io::Result<()> {
    let (status, kind, text) = page(request.method(), request.url(), operations);
    let header = Header::from_bytes("Content-Type", kind).ok();
    let mut response = Response::from_string(text).with_status_code(status);
    if let Some(header) = header {
        response.add_header(header);
    }
    request.respond(response)
}

/// The status, type and text of the answer.
pub(super) fn page(method: &Method, url: &str, operations: &mut Operations) -> (u16, &'static str, String) {
    let path = url.split('?').next().unwrap_or_default();
    if !matches!(path, "/metrics" | "/health") {
        return (404, TEXT, "there are /metrics and /health\n".into());
    }
    if !matches!(method, Method::Get | Method::Head) {
        return (405, TEXT, "GET only\n".into());
    }
    if path == "/metrics" {
        return match operations.metrics() {
            Ok(text) => (200, METRICS, text),
            Err(error) => (500, TEXT, format!("{error}\n")),
        };
    }
    let health = operations.health();
    let text = serde_json::to_string(&health).unwrap_or_else(|error| format!("\"{error}\""));
    (if health.serves { 200 } else { 503 }, JSON, text + "\n")
}
