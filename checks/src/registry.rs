//! The protocols, each with its layers. A new protocol is one entry here, its model file and its manifest.

use crate::draw;
use crate::error::Error;
use crate::manifest::{self, Row};
use parthood_models as models;
use parthood_models::{Kind, Limits, Look, Progress, Report, System, Trace, Walk};
use stateright::Model as _;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;

mod entries;

pub use entries::PROTOCOLS;

/// A protocol and its layers.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// The name it has in every layer.
    pub name: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// The paper it comes from.
    pub paper: &'static str,
    /// The text of its manifest.
    manifest: &'static str,
    /// Builds the model of a row.
    model: fn(&Row) -> Result<Box<dyn Model>, String>,
}

/// A model of one row, whatever its protocol.
pub trait Model: Send + Sync {
    /// The names of the properties, and how they are to hold.
    fn properties(&self) -> Vec<(&'static str, Kind)>;

    /// Visits all states within the limits.
    fn check(&self, limits: &Limits, progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Report;

    /// Walks through it at random.
    fn walk(&self, how: &Walk, progress: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Report;

    /// What happens along a path.
    ///
    /// # Errors
    /// When the path does not fit the model.
    fn trace(&self, path: &models::Path) -> Result<Trace, models::Error>;

    /// The state at the end of a path, in words.
    ///
    /// # Errors
    /// When the path does not fit the model.
    fn look(&self, path: &models::Path) -> Result<Look, models::Error>;

    /// Serves Stateright's Explorer at this address, for ever.
    fn explore(self: Box<Self>, address: SocketAddr);
}

impl<P: models::Protocol> Model for System<P> {
    fn properties(&self) -> Vec<(&'static str, Kind)> {
        models::Space::properties(self)
    }

    fn check(&self, limits: &Limits, progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Report {
        models::check(self, limits, progress)
    }

    fn walk(&self, how: &Walk, progress: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Report {
        models::walk(self, how, progress)
    }

    fn trace(&self, path: &models::Path) -> Result<Trace, models::Error> {
        System::trace(self, path)
    }

    fn look(&self, path: &models::Path) -> Result<Look, models::Error> {
        System::look(self, path)
    }

    fn explore(self: Box<Self>, address: SocketAddr) {
        let picture = |trace: &Trace| draw::from_trace(trace, "", None).to_svg();
        self.draw_with(picture).checker().serve(address);
    }
}

impl Protocol {
    /// Its claims.
    ///
    /// # Errors
    /// All mistakes of its manifest.
    pub fn rows(&self) -> Result<Vec<Row>, Error> {
        let file = format!("checks/manifest/{}.toml", self.name);
        manifest::read(self.name, file.as_ref(), self.manifest)
    }

    /// The claims of a file, or its own.
    ///
    /// # Errors
    /// When the file cannot be read; all mistakes in it.
    pub fn rows_of(&self, file: Option<&Path>) -> Result<Vec<Row>, Error> {
        let Some(file) = file else { return self.rows() };
        let text = std::fs::read_to_string(file).map_err(Error::file("read", file))?;
        manifest::read(self.name, file, &text)
    }

    /// The model of one of its rows.
    ///
    /// # Errors
    /// When the row's parameters make no sense to the protocol.
    pub fn model(&self, row: &Row) -> Result<Box<dyn Model>, Error> {
        (self.model)(row)
            .map_err(|what| Error::Usage(format!("row `{}` of `{}`: {what}", row.name, self.name)))
    }

    /// Where its layers are in the source tree, with a word about each.
    pub fn layers(&self) -> [(&'static str, String); 5] {
        let name = self.name;
        [
            ("what and why", format!("specs/{name}/README.md")),
            ("the actors", format!("protocols/src/{name}/mod.rs")),
            ("what is claimed", format!("models/src/{name}.rs")),
            ("how far it was checked", format!("checks/manifest/{name}.toml")),
            ("tests", format!("tests/{name}.rs")),
        ]
    }
}

/// The protocol of this name.
///
/// # Errors
/// When there is none.
pub fn find(name: &str) -> Result<&'static Protocol, Error> {
    let found = PROTOCOLS.iter().find(|protocol| protocol.name == name);
    found.ok_or_else(|| Error::unknown("protocol", name, PROTOCOLS.iter().map(|protocol| protocol.name)))
}
