//! `parthood explore`

use super::{Console, Tone};
use crate::cli::ExploreArgs;
use crate::error::{Error, Status};
use crate::registry;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

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
    let link = match &args.path {
        None => String::new(),
        Some(path) => {
            let path =
                path.parse::<parthood_models::Path>().map_err(|error| Error::Usage(error.to_string()))?;
            model.trace(&path).map_err(|error| Error::Usage(error.to_string()))?;
            path.link()
        }
    };
    let address = free_address(args.port)?;
    let console = Console::new();
    if address.port() != args.port && args.port != 0 {
        console.line(format_args!("port {} is busy, taking {}", args.port, address.port()))?;
    }
    console.line(format_args!("{}/{}: {}; {}", protocol.name, row.name, row.bounds, row.world()))?;
    console.line(format_args!(
        "{}  (Ctrl-C ends)",
        console.paint(Tone::Strong, &format!("http://{address}/{link}"))
    ))?;
    model.explore(address);
    Ok(Status::Done)
}

/// The loopback address with this port, or with a free one if it is busy.
fn free_address(port: u16) -> Result<SocketAddr, Error> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = bind(port).or_else(|_| bind(0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_err(|error| Error::Environment(format!("no port of 127.0.0.1 can be opened: {error}")))
}
