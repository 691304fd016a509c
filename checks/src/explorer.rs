//! A page to walk through the states of a system by hand: what every actor knows, what is in flight, what can happen next,
//! and the way here as a sequence diagram.
//!
//! Stateright's Explorer shows any model; this page knows that there are actors and messages. It is served on a loopback
//! address, asks for nothing from elsewhere, and changes nothing: a state is named by the path in the address of the page,
//! with the numbers that `parthood check` prints and that Stateright's Explorer understands.

use crate::draw;
use crate::error::Error;
use parthood_models::{self as models, Look, Path, Protocol, System, Trace};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

/// What the page says about itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct About {
    /// What is explored, as `paxos/mutant_own_value`.
    pub title: String,
    /// What is said about it, a line each: the claim, the bounds, the broken rule.
    pub lines: Vec<String>,
    /// Where else to look: text and address.
    pub links: Vec<(String, String)>,
}

/// A page that is being served.
pub struct Explorer {
    server: Arc<Server>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// What is behind the page.
type Show = Box<dyn Fn(&Path) -> Result<(Trace, Look), models::Error> + Send>;

impl Explorer {
    /// Serves a system; with port 0, at any free one.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn of<P: Protocol>(system: System<P>, about: About, address: SocketAddr) -> Result<Self, Error> {
        Self::start(about, address, Box::new(move |path| Ok((system.trace(path)?, system.look(path)?))))
    }

    /// Serves whatever `show` shows at the end of a path.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn start(about: About, address: SocketAddr, show: Show) -> Result<Self, Error> {
        let refused = |why: &dyn std::fmt::Display| {
            Error::Environment(format!("cannot serve a page at http://{address}: {why}"))
        };
        let server = Arc::new(Server::http(address).map_err(|why| refused(&why))?);
        let address = server.server_addr().to_ip().ok_or_else(|| refused(&"it has no IP address"))?;
        let serving = server.clone();
        let thread = std::thread::spawn(move || {
            // Unblocking the server ends this.
            while let Ok(request) = serving.recv() {
                let path = request.url().to_owned();
                let reply = answer(&about, &show, request.method(), &path, &host(&request), address);
                // A browser that has gone away does not listen.
                let _ = request.respond(reply);
            }
        });
        Ok(Self { server, address, thread: Some(thread) })
    }

    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page that shows the end of a path.
    pub fn link(&self, path: &Path) -> String {
        format!("http://{}/{}", self.address, path.link())
    }

    /// Serves for ever.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic has been reported.
            let _ = thread.join();
        }
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.server.unblock();
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Explorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Explorer").field("address", &self.address).finish_non_exhaustive()
    }
}

type Reply = Response<std::io::Cursor<Vec<u8>>>;

fn answer(about: &About, show: &Show, method: &Method, url: &str, host: &str, own: SocketAddr) -> Reply {
    // A page elsewhere must not read this one under a name of its own that leads here.
    if host != own.to_string() && host != format!("localhost:{}", own.port()) {
        return reply(403, "text/plain", format!("this page is at http://{own}/\n"));
    }
    if *method != Method::Get {
        return reply(405, "text/plain", "only GET is understood\n".to_owned());
    }
    match url {
        "/" => reply(200, "text/html", include_str!("explorer/page.html").to_owned()),
        "/about" => reply(200, "application/json", serde_json::json!(about).to_string()),
        url => match url.strip_prefix("/state/") {
            None => reply(404, "text/plain", format!("there is nothing at {url}; the page is at /\n")),
            Some(path) => match path.parse().and_then(|path| show(&path)) {
                Err(error) => reply(400, "text/plain", format!("{error}\n")),
                Ok((trace, look)) => reply(200, "application/json", seen(&trace, &look).to_string()),
            },
        },
    }
}

/// What the page shows of a state: [`Look`], the way there in words, and its picture.
fn seen(trace: &Trace, look: &Look) -> serde_json::Value {
    let picture = draw::from_trace(trace, "", None).without_idle_lanes().to_svg();
    serde_json::json!({ "look": look, "steps": trace.to_string(), "svg": picture })
}

fn host(request: &Request) -> String {
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    host.map(|header| header.value.as_str().to_owned()).unwrap_or_default()
}

fn reply(status: u16, kind: &str, text: String) -> Reply {
    let headers = [
        ("Content-Type", format!("{kind}; charset=utf-8")),
        ("Cache-Control", "no-store".to_owned()),
        ("X-Content-Type-Options", "nosniff".to_owned()),
        (
            "Content-Security-Policy",
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'"
                .to_owned(),
        ),
    ];
    let headers = headers.iter().filter_map(|(field, value)| Header::from_bytes(*field, value.as_str()).ok());
    headers.fold(Response::from_data(text), Response::with_header).with_status_code(StatusCode(status))
}

#[cfg(test)]
mod tests;
