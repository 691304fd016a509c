//! `parthood explore`

use super::{Console, Tone};
use crate::cli::ExploreArgs;
use crate::error::{Error, Status};
use crate::explorer::{About, Explorer};
use crate::manifest::Row;
use crate::registry;
use parthood_models as models;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

pub(super) fn run(args: &ExploreArgs) -> Result<Status, Error> {
    let protocol = registry::find(&args.protocol)?;
    let rows = protocol.rows_of(args.manifest.as_deref())?;
    let row = match &args.row {
        None => rows.first().ok_or_else(|| Error::Usage(format!("`{}` has no rows", protocol.name)))?,
        Some(name) => rows
            .iter()
            .find(|row| row.name == *name)
            .ok_or_else(|| Error::unknown("row", name, rows.iter().map(|row| row.name.as_str())))?,
    };
    let model = protocol.model(row)?;
    let path = match &args.path {
        None => models::Path::default(),
        Some(path) => path.parse().map_err(|error: models::Error| Error::Usage(error.to_string()))?,
    };
    model.trace(&path).map_err(|error| Error::Usage(error.to_string()))?;
    let address = free_address(args.port)?;
    let console = Console::new();
    if address.port() != args.port && args.port != 0 {
        console.line(format_args!("port {} is busy, taking {}", args.port, address.port()))?;
    }
    // Stateright's Explorer cannot be stopped: it ends with the process.
    let (beside, stock) = (free_address(0)?, protocol.model(row)?);
    std::thread::spawn(move || stock.explore(beside));
    let show = move |path: &models::Path| Ok((model.trace(path)?, model.look(path)?));
    let explorer = Explorer::start(about(row, args.manifest.as_deref(), beside), address, Box::new(show))?;
    console.line(format_args!("{}/{}: {}; {}", protocol.name, row.name, row.bounds, row.world()))?;
    console.line(format_args!("{}  (Ctrl-C ends)", console.paint(Tone::Strong, &explorer.link(&path))))?;
    console.line(format_args!("http://{beside}/{}  Stateright's Explorer", path.link()))?;
    explorer.wait();
    Ok(Status::Done)
}

/// What the page says about a row, and where else to look.
fn about(row: &Row, manifest: Option<&Path>, beside: SocketAddr) -> About {
    let file = manifest
        .map_or_else(|| format!("checks/manifest/{}.toml", row.protocol), |file| file.display().to_string());
    let mut lines = vec![
        format!("{} ({})", row.claim, row.source),
        format!("{}; {}", row.bounds, row.world()),
        format!("row \"{}\" of {file}, which expects: {}", row.name, row.expect),
    ];
    if let Some(mutant) = &row.mutant {
        lines.push(format!(
            "broken on purpose: the rule \"{mutant}\", a Mutant of {} (specs/{})",
            row.protocol, row.protocol
        ));
    }
    let elsewhere = vec![("the same state in Stateright's Explorer".to_owned(), format!("http://{beside}/"))];
    About { title: format!("{}/{}", row.protocol, row.name), lines, links: elsewhere }
}

/// The loopback address with this port, or with a free one if it is busy.
fn free_address(port: u16) -> Result<SocketAddr, Error> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = bind(port).or_else(|_| bind(0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_err(|error| Error::Environment(format!("no port of 127.0.0.1 can be opened: {error}")))
}
