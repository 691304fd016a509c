//! The case study of "Read-Write Quorum Systems Made Practical" (section 4): the paper's numbers beside ours.
//!
//! `cargo run -p parthood-quorums --example case_study`

use parthood_quorums::{
    Attributes, Cluster, Objective, Plan, ReadWriteQuorumSystem, Result, Strategy, Workload, search,
};

fn main() -> Result<()> {
    let mut cluster = Cluster::new();
    let nodes =
        [("a", 2000.0, 1.0), ("b", 1000.0, 1.0), ("c", 2000.0, 3.0), ("d", 1000.0, 4.0), ("e", 2000.0, 5.0)];
    for (name, write, latency) in nodes {
        cluster.add(name, Attributes::capacities(2.0 * write, write).latency(latency))?;
    }
    let weights = [10.0, 20.0, 100.0, 100.0, 100.0, 60.0, 30.0, 30.0, 20.0];
    let fractions = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
    let workload = Workload::distribution(fractions.into_iter().zip(weights))?;
    let load = Plan::minimise(Objective::Load, workload.clone());
    let latency = Plan::minimise(Objective::Latency, workload.clone()).max_load(1.0 / 2000.0);
    let systems = [
        ("majority", "majority(a, b, c, d, e)", "3667", "3.24"),
        ("grid", "a*b + c*d*e", "4200", "1.95"),
        ("paths", "a*b + a*c*e + d*e + d*c*b", "4125", "2.43"),
    ];

    println!("{:44} {:>10} {:>10}   exact", "", "paper", "ours");
    let majority = ReadWriteQuorumSystem::parse(&cluster, Some(systems[0].1), None)?;
    let uniform = Strategy::uniform(&majority, &cluster, 0)?.capacity(&workload);
    println!("{:44} {:>10} {uniform:>10.2}", "majority, uniform strategy: capacity", "2292");
    for (name, reads, capacity, seconds) in systems {
        let system = ReadWriteQuorumSystem::parse(&cluster, Some(reads), None)?;
        let solution = system.optimise(&cluster, &load)?;
        let ours = solution.strategy().capacity(&workload);
        let exact = solution.prove()?.value().to_string();
        println!("{:44} {capacity:>10} {ours:>10.2}   load {exact}", format!("{name}: capacity"));
        let solution = system.optimise(&cluster, &latency)?;
        let exact = solution.prove()?.value().to_string();
        let what = format!("{name}: latency at capacity 2000");
        println!("{what:44} {seconds:>10} {:>10.4}   {exact}", solution.value());
    }
    for (what, paper, plan) in
        [("search: capacity", "5005", &load), ("search: latency at capacity 2000", "1.48", &latency)]
    {
        let found = search(&cluster, plan, 1, &mut |_| true)?;
        let solution = found.system.optimise(&cluster, plan)?;
        let ours = match plan.objective() {
            Objective::Load => solution.strategy().capacity(&workload),
            _ => solution.value(),
        };
        let exact = solution.prove()?.value().to_string();
        let reads = cluster.show(found.system.read_expr());
        println!("{what:44} {paper:>10} {ours:>10.4}   {exact}: {reads}, proved: {}", found.proved);
    }
    Ok(())
}
