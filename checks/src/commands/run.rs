//! `parthood run` and `parthood key`

use super::{Console, cluster_file};
use crate::cli::RunArgs;
use crate::deploy::{self, Cluster, Gateway, GatewayOptions, Password, ServeOptions};
use crate::error::{Error, Status};
use crate::files;
use parthood_runtime::operations::{Listener, Operations};
use parthood_runtime::wire::Key;
use std::path::Path;

/// What a cluster on one machine begins with.
const EXAMPLE_NODES: u16 = 3;
const EXAMPLE_PORT: u16 = 7001;

pub(super) fn run(args: &RunArgs) -> Result<Status, Error> {
    let console = Console::new();
    if args.print_config {
        let protocol = args.protocol.as_deref().unwrap_or("multipaxos");
        console.raw(Cluster::example(protocol, EXAMPLE_NODES, EXAMPLE_PORT)?.as_bytes())?;
        return Ok(Status::Done);
    }
    let cluster = cluster(args, &console)?;
    let nodes = if args.all {
        (0..cluster.members.len()).collect()
    } else {
        args.node.iter().map(|name| cluster.index(name)).collect::<Result<Vec<_>, _>>()?
    };
    let options = ServeOptions {
        trace: args.trace.clone(),
        no_sync: args.no_sync,
        rejoin: args.rejoin,
        watch: args.metrics.is_some(),
    };
    let gateway = gateway(args)?;
    let serving = deploy::serve(&cluster, &nodes, &options)?;
    let times = gateway.as_ref().map(|options| options.times.clone());
    let operations = |address| {
        let operations = serving.operations(&cluster)?;
        let operations = times.into_iter().fold(operations, Operations::client);
        Ok::<_, Error>(Listener::start(address, operations)?)
    };
    let doors = args.metrics.map(operations).transpose().and_then(|metrics| {
        let gateway = gateway.map(|options| Gateway::start(&cluster, options)).transpose()?;
        Ok((metrics, gateway))
    });
    let (metrics, gateway) = match doors {
        Ok(doors) => doors,
        Err(error) => {
            // Why a door does not open matters more than how the nodes end.
            let _ = serving.stop();
            return Err(error);
        }
    };
    let handles = serving.handles.clone();
    let stop_gateway = gateway.as_ref().map(Gateway::stopper);
    let stop = move || {
        if let Some(stop) = &stop_gateway {
            stop();
        }
        handles.iter().for_each(parthood_runtime::udp::Handle::stop);
    };
    ctrlc::set_handler(stop)
        .map_err(|error| Error::Environment(format!("cannot handle signals: {error}")))?;
    for announcement in &serving.announcements {
        console.line(announcement)?;
    }
    if let Some(listener) = &metrics {
        console.line(format_args!("metrics and health on http://{}", listener.local_address()))?;
    }
    if let Some(gateway) = &gateway {
        console.line(format_args!("clients of Redis are served on {}", gateway.address()))?;
    }
    console.line("ready (Ctrl-C ends)")?;
    if let Err(error) = serving.wait() {
        tracing::error!("{error}");
        return Ok(error.status());
    }
    drop(metrics);
    gateway.map_or(Ok(()), Gateway::stop)?;
    console.line("stopped")?;
    Ok(Status::Done)
}

/// How clients of Redis are served, if they are.
fn gateway(args: &RunArgs) -> Result<Option<GatewayOptions>, Error> {
    let Some(address) = args.resp else { return Ok(None) };
    Ok(Some(GatewayOptions {
        reads: args.reads,
        password: args.resp_password_file.as_deref().map(Password::load).transpose()?,
        connections_max: args.resp_clients.into(),
        ..GatewayOptions::new(address)
    }))
}

pub(super) fn key(file: &Path) -> Result<Status, Error> {
    Key::generate()?.save(file)?;
    Console::new().line(format_args!(
        "wrote {}: copy it to every node and client, and keep it secret",
        file.display()
    ))?;
    Ok(Status::Done)
}

/// The cluster of the arguments; `--all` without a file makes one.
fn cluster(args: &RunArgs, console: &Console) -> Result<Cluster, Error> {
    let file = cluster_file(args.config.as_deref());
    if args.config.is_none() && args.all && !file.exists() {
        let protocol = args.protocol.as_deref().unwrap_or("multipaxos");
        create(file, &Cluster::example(protocol, EXAMPLE_NODES, EXAMPLE_PORT)?)?;
        console.line(format_args!("wrote {} for {EXAMPLE_NODES} nodes on this machine", file.display()))?;
    }
    let mut cluster = Cluster::load(file)?;
    if let Some(protocol) = args.protocol.as_ref().filter(|protocol| **protocol != cluster.protocol) {
        return Err(Error::Usage(format!(
            "{} is for {}, not for {protocol}: give another file with --config",
            file.display(),
            cluster.protocol
        )));
    }
    if let Some(data) = &args.data {
        cluster.data = Some(data.clone());
    }
    Ok(cluster)
}

/// Writes a new cluster file, and a key if there is none. A cluster whose quorums change under it is none any more, so
/// what exists is left alone.
pub(super) fn create(file: &Path, text: &str) -> Result<(), Error> {
    if file.exists() {
        let file = file.display();
        return Err(Error::Usage(format!("{file} exists already: give another name, or remove it")));
    }
    let cluster = Cluster::read(file, text)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    if !cluster.key_file.exists() {
        Key::generate()?.save(&cluster.key_file)?;
    }
    files::write(file, text)
}
