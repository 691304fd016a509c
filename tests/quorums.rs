//! `parthood quorums` as its users meet it: what every verb prints, and what it says of input that makes no sense.

use crate::harness::{Ended, command, ended, parthood};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn quorums(folder: &Path, arguments: &[&str]) -> Ended {
    parthood(folder, &[&["quorums"], arguments].concat())
}

/// What a verb prints with `--json`, line by line.
fn lines(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let ended = quorums(folder, &[arguments, &["--json"]].concat());
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{arguments:?}: {ended:?}");
    ended.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The words of a verb, which must succeed.
fn words(folder: &Path, arguments: &[&str]) -> String {
    let ended = quorums(folder, arguments);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{arguments:?}: {ended:?}");
    ended.out
}

/// Asserts that a verb is refused with this status and one message that contains all of these.
fn refused(folder: &Path, arguments: &[&str], status: i32, parts: &[&str]) {
    let ended = quorums(folder, arguments);
    assert_eq!((ended.status, ended.out.as_str()), (status, ""), "{arguments:?}: {ended:?}");
    for part in parts {
        assert!(ended.err.contains(part), "{arguments:?}: no {part:?} in {ended:?}");
    }
    assert!(!ended.err.contains("panicked"), "{ended:?}");
}

const STUDY: &str = "[nodes.a]\nread = 4000\nwrite = 2000\nlatency = '1ms'\nup = 0.9\n\
    [nodes.b]\ncapacity = 1000\nlatency = '2ms'\nup = 0.9\n[nodes.c]\ncapacity = 1000\nlatency = '8ms'\n\
    [systems.majority]\nreads = 'majority(a, b, c)'\n[systems.any]\nreads = 'a + b + c'\n\
    [workload]\n'0.9' = 3\n'0.5' = 1\n";

fn study() -> tempfile::TempDir {
    let folder = folder();
    fs::write(folder.path().join("study.toml"), STUDY).unwrap();
    folder
}

#[test]
fn analyze_tells_what_holds_whatever_the_strategy() {
    let folder = study();
    let found = lines(folder.path(), &["analyze", "study.toml"]);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["read_quorums"], json!(["{a}", "{b}", "{c}"]));
    let [any, majority] = [&found[0], &found[1]];
    assert_eq!((&any["system"], &any["write_resilience"]), (&json!("any"), &json!(0)));
    assert_eq!((&majority["minimal_read_quorums"], &majority["read_resilience"]), (&json!(3), &json!(1)));
    assert_eq!(majority["writes_meet_each_other"], json!(true));
    // Two of three, the third being always up: 1 - 0.1 * 0.1.
    assert!((majority["read_availability"].as_f64().unwrap() - 0.99).abs() < 1e-12, "{majority}");
    let text = words(folder.path(), &["analyze", "study.toml", "--system", "majority"]);
    assert!(text.contains("write quorums") && text.contains("{a, b} {a, c} {b, c}"), "{text}");
}

#[test]
fn an_optimum_is_proved_stored_and_verified() {
    let folder = folder();
    let folder = folder.path();
    let three = ["optimize", "--reads", "majority(a, b, c)", "--read-fraction", "1"];
    let text = words(folder, &three);
    assert!(text.contains("proved  2/3") && text.contains("capacity 1.5/s"), "{text}");
    let stored = lines(folder, &three).pop().unwrap();
    assert!((stored["summary"]["load"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12, "{stored}");
    fs::write(folder.join("three.json"), stored.to_string()).unwrap();
    assert_eq!(words(folder, &["verify", "three.json"]), "given: holds: the optimum is 2/3\n");
    fs::write(folder.join("better.json"), stored.to_string().replace("\"2/3\"", "\"1/3\"")).unwrap();
    let forged = quorums(folder, &["verify", "better.json"]);
    assert_eq!((forged.status, forged.err.as_str()), (1, ""), "{forged:?}");
    assert!(forged.out.contains("the certificate does not hold"), "{forged:?}");
    fs::write(folder.join("cut.json"), &stored.to_string()[..200]).unwrap();
    refused(folder, &["verify", "cut.json"], 2, &["cut.json: EOF while parsing"]);
    refused(folder, &["verify", "absent.json"], 4, &["cannot read absent.json"]);
}

#[test]
fn capacities_may_differ_by_many_orders_of_magnitude() {
    let folder = folder();
    let nodes = ["--node", "a:capacity=1e-9", "--node", "b:capacity=1e12"];
    let ask = [&["optimize", "--reads", "a + b", "--read-fraction", "1"], &nodes[..]].concat();
    let stored = lines(folder.path(), &ask).pop().unwrap();
    assert_eq!(stored["certificate"]["value"], json!("1000000000/1000000000000000000001"), "{stored}");
    assert_eq!(stored["summary"]["capacity"], json!(1e12), "{stored}");
    // The value that is printed is the one that is proved, to the last digit.
    assert_eq!(stored["summary"]["value"], json!(1e9 / 1e21), "{stored}");
}

#[test]
fn compare_marks_the_best_of_each_column() {
    let folder = study();
    let text = words(folder.path(), &["compare", "study.toml"]);
    let row = |name: &str| text.lines().find(|line| line.trim().starts_with(name)).expect(&text).to_owned();
    assert!(row("any").contains('*') && row("majority").contains("0.99"), "{text}");
    let rows = lines(folder.path(), &["compare", "study.toml", "--resilient", "1"]);
    let refused: Vec<bool> = rows.iter().map(|row| row["refused"].is_string()).collect();
    assert_eq!(refused, [true, false], "writes to all survive no crash: {rows:?}");
}

#[test]
fn quorums_are_drawn_alike_for_the_same_seed() {
    let folder = study();
    let sample = |more: &[&str]| {
        words(folder.path(), &[&["sample", "study.toml", "--system", "majority", "-n", "50"], more].concat())
    };
    assert_eq!(sample(&["--seed", "7"]), sample(&["--seed", "7"]));
    assert_ne!(sample(&["--seed", "7"]), sample(&["--seed", "8"]));
    assert_eq!(sample(&[]).lines().count(), 50);
    let drawn = lines(folder.path(), &["sample", "study.toml", "--system", "any", "-n", "1", "--write"]);
    assert_eq!(drawn[0]["quorum"], json!("{a, b, c}"));
}

#[test]
fn a_small_search_is_proved() {
    let folder = folder();
    let nodes = ["a", "b", "c", "d"].map(|name| format!("{name}:capacity=100"));
    let nodes: Vec<&str> = nodes.iter().flat_map(|node| ["--node", node]).collect();
    let ask = [&["search", "--read-fraction", "1", "--resilience", "1"], &nodes[..]].concat();
    let found = lines(folder.path(), &ask).pop().unwrap();
    // Any two of four read: each node has half of the reads. Any read of one node would need writes to all.
    assert_eq!((&found["proved"], &found["gap"]), (&json!(true), &json!(0.0)));
    assert!((found["value"].as_f64().unwrap() - 0.005).abs() < 1e-12, "{found}");
    assert!(words(folder.path(), &ask).contains("the best of "), "and in words");
    let impossible = [&ask[..], &["--resilience", "4"]].concat();
    let impossible: Vec<&str> = impossible.into_iter().filter(|word| *word != "1").collect();
    assert_eq!(quorums(folder.path(), &impossible).status, 2, "a flag without a value");
    let none = quorums(folder.path(), &[&["search", "--resilience", "2"], &nodes[..]].concat());
    assert_eq!(none.status, 1, "{none:?}");
    assert!(none.out.contains("keeps the limits and the resilience"), "{none:?}");
    let none = quorums(folder.path(), &[&["search", "--resilience", "2", "--json"], &nodes[..]].concat());
    let none: Value = serde_json::from_str(&none.out).expect(&none.out);
    assert_eq!(none["schema"], json!("parthood.quorums.infeasible/1"));
}

/// Sixteen nodes of different capacities: a climb of many steps.
fn many_nodes() -> Vec<String> {
    (1..=16)
        .flat_map(|i| {
            ["--node".into(), format!("n{i}:read={},write={}", 100 + i * 37 % 91, 50 + i * 53 % 29)]
        })
        .collect()
}

#[test]
fn an_interrupted_search_prints_the_best_so_far() {
    let folder = folder();
    let nodes = many_nodes();
    let search = [
        "quorums",
        "search",
        "--read-fraction",
        "0.1=1",
        "--read-fraction",
        "0.5=2",
        "--read-fraction",
        "0.9=3",
    ];
    let arguments: Vec<&str> = search.into_iter().chain(nodes.iter().map(String::as_str)).collect();
    let mut command = command(folder.path(), &arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    // Until the process handles the signal itself.
    let handled = || {
        let status = fs::read_to_string(&status).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & 0b10 != 0
    };
    while !handled() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ended = ended(child.wait_with_output().unwrap());
    assert_eq!((ended.status, ended.err.as_str()), (3, ""), "{ended:?}");
    for part in ["  reads   ", "  writes  ", "  value   ", "not proved: no system is better than "] {
        assert!(ended.out.contains(part), "{part}: {ended:?}");
    }
}

#[test]
fn a_search_without_time_prints_the_first_it_found() {
    let folder = folder();
    let nodes = many_nodes();
    for count in [5, 16] {
        let nodes = nodes.iter().take(2 * count).map(String::as_str);
        let arguments: Vec<&str> = ["search", "--timeout", "0", "--json"].into_iter().chain(nodes).collect();
        let ended = quorums(folder.path(), &arguments);
        assert_eq!(ended.status, 3, "{ended:?}");
        let found: Value = serde_json::from_str(&ended.out).expect(&ended.out);
        assert_eq!(found["proved"], json!(false));
        assert!(found["bound"].as_f64() <= found["value"].as_f64(), "{found}");
    }
}

/// Checks that every tag is closed in its turn, and that `<` and `&` occur as markup only; returns the texts.
fn well_formed(svg: &str) -> Vec<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut texts = Vec::new();
    let mut rest = svg;
    while let Some((text, tail)) = rest.split_once('<') {
        assert!(open.is_empty() <= text.trim().is_empty(), "text outside of the picture: {text}");
        texts.push(text.trim().to_owned());
        let (tag, tail) = tail.split_once('>').expect("a tag ends");
        assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "<{tag}>");
        let name = tag.split_whitespace().next().expect("a tag has a name");
        match (name.strip_prefix('/'), tag.ends_with('/')) {
            (Some(closed), _) => assert_eq!(open.pop(), Some(closed), "{svg}"),
            (None, false) => open.push(name),
            (None, true) => {}
        }
        rest = tail;
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    let entities = svg.split('&').skip(1);
    assert!(
        entities
            .into_iter()
            .all(|after| ["lt;", "gt;", "amp;", "quot;", "apos;"].iter().any(|e| after.starts_with(e)))
    );
    texts
}

#[test]
fn pictures_are_well_formed_whatever_the_names() {
    let folder = folder();
    let folder = folder.path();
    let nodes = ["--node", "<&\">:capacity=2", "--node", "b:latency=3", "--node", "c"];
    let system = ["--reads", r#""<&\">"*b + c"#];
    for kind in ["load", "utilization", "throughput", "fraction", "capacity"] {
        let file = format!("{kind}.svg");
        words(folder, &[&["plot", "--kind", kind, "--svg", &file], &nodes[..], &system].concat());
        let texts = well_formed(&fs::read_to_string(folder.join(&file)).unwrap());
        let named = texts.iter().any(|text| text.contains("&lt;&amp;&quot;&gt;"));
        assert!(named || kind == "capacity", "{kind}: {texts:?}");
    }
    fs::write(folder.join("study.toml"), STUDY).unwrap();
    words(folder, &["plot", "study.toml", "--kind", "fraction", "--svg", "both.svg"]);
    let texts = well_formed(&fs::read_to_string(folder.join("both.svg")).unwrap());
    assert!(["any", "majority"].iter().all(|name| texts.iter().any(|text| text == name)), "{texts:?}");
    let front = lines(folder, &[&["pareto", "--points", "5"], &nodes[..], &system].concat());
    assert!(
        front.len() > 1 && front.iter().all(|point| point["latency"].is_f64() && point["load"].is_f64()),
        "{front:?}"
    );
    assert_eq!(words(folder, &[&["pareto", "--svg", "front.svg"], &nodes[..], &system].concat()), "");
    well_formed(&fs::read_to_string(folder.join("front.svg")).unwrap());
}

#[test]
fn what_fails_leaves_no_picture() {
    let folder = study();
    for verb in [&["plot"][..], &["plot", "--kind", "fraction"], &["pareto"]] {
        let infeasible = ["study.toml", "--minimise", "network", "--min-capacity", "1e6", "--svg", "a.svg"];
        let one = if verb[0] == "pareto" { &[][..] } else { &["--system", "any"] };
        let ended = quorums(folder.path(), &[verb, &infeasible, one].concat());
        assert_eq!((ended.status, ended.out.as_str()), (1, ""), "{verb:?}: {ended:?}");
        assert!(ended.err.contains("load <= 0.000001 cannot be kept"), "{verb:?}: {ended:?}");
    }
    for verb in ["plot", "pareto"] {
        let elsewhere = [verb, "study.toml", "--system", "any", "--svg", "pictures/new/a.svg"];
        let named = ["cannot write pictures/new/a.svg: there is no folder pictures/new; create it first"];
        refused(folder.path(), &elsewhere, 2, &named);
    }
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["study.toml"]);
}

#[test]
fn infeasible_limits_are_named_with_what_is_possible() {
    let folder = folder();
    let limits = ["--minimise", "latency", "--min-capacity", "10"];
    let ask = [&["optimize", "--reads", "majority(a, b, c)"], &limits[..]].concat();
    let ended = quorums(folder.path(), &ask);
    assert_eq!((ended.status, ended.err.as_str()), (1, ""), "{ended:?}");
    assert!(ended.out.contains("load <= 0.1 cannot be kept; the least possible load is 0.666"), "{ended:?}");
    let ended = quorums(folder.path(), &[&ask[..], &["--json"]].concat());
    assert_eq!(ended.status, 1, "{ended:?}");
    let found: Value = serde_json::from_str(&ended.out).expect(&ended.out);
    assert_eq!(found["schema"], json!("parthood.quorums.infeasible/1"));
    assert!(found["reason"].as_str().unwrap().contains("load <= 0.1 cannot be kept"), "{found}");
    fs::write(folder.path().join("none.json"), found.to_string()).unwrap();
    assert!(words(folder.path(), &["verify", "none.json"]).contains("holds: infeasible by at least"));
    let possible = found.to_string().replace("\"min_capacity\":10.0", "\"min_capacity\":1.0");
    fs::write(folder.path().join("some.json"), possible).unwrap();
    assert_eq!(quorums(folder.path(), &["verify", "some.json"]).status, 1, "the limit can be kept");
    let ended = quorums(folder.path(), &["optimize", "--reads", "a", "--resilient", "1"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.out.contains("no read quorum survives 1 crashes"), "{ended:?}");
    let ended = quorums(folder.path(), &["optimize", "--reads", "a", "--resilient", "18446744073709551615"]);
    assert_eq!((ended.status, ended.err.as_str()), (1, ""), "{ended:?}");
}

#[test]
fn input_that_makes_no_sense_has_one_message_that_names_it() {
    let folder = study();
    let folder = folder.path();
    let nodes = ["--node", "alpha", "--node", "b", "--reads"];
    let with = |reads| [&["optimize"], &nodes[..], &[reads]].concat();
    refused(
        folder,
        &with("alpha * alpho"),
        2,
        &["column 9: no node is called \"alpho\"; did you mean \"alpha\"?"],
    );
    refused(folder, &with("alpha *"), 2, &["column 8: expected a node or '(', found the end"]);
    refused(folder, &with("choose(3, alpha, b)"), 2, &["a threshold of 3 is not between 1 and 2"]);
    refused(folder, &with(""), 2, &["column 1: expected a node"]);
    refused(folder, &["analyze"], 2, &["no system: give --reads, --writes or a file"]);
    refused(folder, &["search"], 2, &["a search needs at least one"]);
    let pair = ["optimize", "--reads", "a*b + c", "--writes", "a*c + b*d"];
    refused(folder, &pair, 2, &["read quorum {c} and write quorum {b, d} have no node in common"]);
    for capacity in ["-1", "0", "1e-10", "1e13", "nan", "inf"] {
        let node = format!("a:capacity={capacity}");
        let named = ["node \"a\": the read capacity is ", "but must be between 1e-9 and 1e12"];
        refused(folder, &["optimize", "--node", &node, "--reads", "a"], 2, &named);
    }
    let one = |more: &[&'static str]| [&["optimize", "--reads", "a"], more].concat();
    refused(folder, &one(&["--node", "a:capacity=fast"]), 2, &["\"fast\" is no number"]);
    refused(folder, &one(&["--node", "a:latency=soon"]), 2, &["node a: \"soon\" is no time; write 4ms"]);
    refused(
        folder,
        &one(&["--node", "a:up=2"]),
        2,
        &["the probability of being up is 2, but must be between 0 and 1"],
    );
    refused(
        folder,
        &one(&["--node", "a:read=1"]),
        2,
        &["node a: give capacity alone, or read and write together"],
    );
    refused(folder, &one(&["--node", "a", "--node", "a:capacity=2"]), 2, &["two nodes are called \"a\""]);
}

#[test]
fn fractions_limits_and_names_that_make_no_sense_are_named() {
    let folder = study();
    let folder = folder.path();
    let file = |text: &str| fs::write(folder.join("wrong.toml"), text).unwrap();
    let one = |more: &[&'static str]| [&["optimize", "--reads", "a"], more].concat();
    refused(folder, &one(&["--read-fraction", "1.5"]), 2, &["read fraction 1.5 is not between 0 and 1"]);
    refused(
        folder,
        &one(&["--read-fraction", "0.5=-1"]),
        2,
        &["the weight -1 of 0.5 is not between 0 and 1e12"],
    );
    refused(folder, &one(&["--read-fraction", "0.5=0"]), 2, &["all weights are zero"]);
    refused(folder, &one(&["--read-fraction", "half"]), 2, &["\"half\" is no read fraction"]);
    refused(folder, &one(&["--max-latency=-1ms"]), 2, &["the latency limit is -0.001"]);
    refused(folder, &one(&["--max-latency", "-1"]), 2, &["the latency limit is -1, but must be a positive"]);
    refused(
        folder,
        &one(&["--max-latency", "nan"]),
        2,
        &["the latency limit is NaN, but must be a positive"],
    );
    refused(folder, &one(&["--max-network", "-1"]), 2, &["the network limit is -1, but must be a positive"]);
    refused(folder, &one(&["--read-fraction", "-0.5"]), 2, &["read fraction -0.5 is not between 0 and 1"]);
    refused(
        folder,
        &one(&["--read-fraction", "0.6..0.5"]),
        2,
        &["the range 0.6 to 0.5 begins above its end"],
    );
    refused(folder, &one(&["--read-fraction", "0.5", "--read-fraction", "0.5"]), 2, &["0.5 is given twice"]);
    refused(folder, &one(&["--resilient", "-1"]), 2, &["invalid value '-1' for '--resilient <F>'"]);
    refused(folder, &one(&["--node", ":capacity=1"]), 2, &["a node needs a name"]);
    for time in ["-1", "nan", "inf"] {
        let search = ["search", "--node", "a", "--timeout", time];
        refused(folder, &search, 2, &["is no time to stop after; give seconds, 0 or more"]);
    }
    refused(folder, &one(&["--min-capacity", "1"]), 2, &["a load limit cannot be set when minimising load"]);
    refused(
        folder,
        &one(&["--minimise", "latency", "--min-capacity", "0"]),
        2,
        &["the capacity limit is 0, but"],
    );
    refused(folder, &one(&["--failed", "z"]), 2, &["no node is called \"z\""]);
    refused(folder, &["optimize", "study.toml"], 2, &["choose one of any, majority with --system"]);
    refused(folder, &["optimize", "study.toml", "--system", "majorty"], 2, &["did you mean `majority`?"]);
    refused(folder, &["analyze", "absent.toml"], 4, &["cannot read absent.toml"]);
    file("[nodes.a]\ncapcity = 2\n");
    refused(folder, &["analyze", "wrong.toml"], 2, &["wrong.toml: ", "line 2", "unknown field `capcity`"]);
    file("[nodes.a]\n[systems.s]\nreads = 'a'\n[goal]\nminimise = 'cost'\n");
    refused(
        folder,
        &["optimize", "wrong.toml"],
        2,
        &["unknown metric `cost`", "known: load, network, latency"],
    );
}

/// A case of the reference as a file of ours; none if it has no counterpart.
fn as_file(case: &Value) -> Option<Value> {
    let node = |node: &Value| {
        let entry = json!({"read": node["read_capacity"], "write": node["write_capacity"], "latency": node["latency"]});
        (node["name"].as_str().unwrap().to_owned(), entry)
    };
    let nodes: Map<String, Value> = case["nodes"].as_array().unwrap().iter().map(node).collect();
    let weight = |point: &Value| (point[0].to_string(), point[1].clone());
    let workload: Map<String, Value> = case["read_fraction"].as_array().unwrap().iter().map(weight).collect();
    let limit = |(metric, limit): (&String, &Value)| (format!("max_{metric}"), limit.clone());
    let mut goal: Map<String, Value> = case["limits"].as_object().unwrap().iter().map(limit).collect();
    goal.insert("minimise".into(), case["objective"].clone());
    goal.insert("resilient".into(), case["f"].clone());
    let mut system = Map::new();
    for side in ["reads", "writes"] {
        system.extend(case[side].is_string().then(|| (side.to_owned(), case[side].clone())));
    }
    let file = json!({"nodes": nodes, "systems": {"given": system}, "workload": workload, "goal": goal});
    (!workload.is_empty()).then_some(file)
}

#[test]
fn what_the_reference_refuses_is_refused() {
    let folder = folder();
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocols/quorums/tests/fixtures/quoracle.json");
    let fixture: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let cases = fixture["cases"].as_array().unwrap().iter().filter(|case| case["kind"] == "error");
    let mut without = Vec::new();
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let Some(file) = as_file(case) else {
            without.push(case["why"].as_str().unwrap());
            continue;
        };
        fs::write(folder.path().join("case.json"), file.to_string()).unwrap();
        let ended = quorums(folder.path(), &["optimize", "case.json"]);
        assert_eq!((ended.status, ended.out.as_str()), (2, ""), "{id}: {ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{id}: {ended:?}");
    }
    // A file without a workload has one: half of the commands are reads. The library refuses an empty one.
    assert_eq!(without, ["empty distribution"]);
}

#[test]
fn a_workload_without_a_read_fraction_is_no_workload() {
    let folder = folder();
    let folder = folder.path();
    for (name, text) in [
        ("empty.toml", "[systems.s]\nreads = 'a'\n[workload]\n"),
        ("empty.json", r#"{"systems": {"s": {"reads": "a"}}, "workload": {}}"#),
    ] {
        fs::write(folder.join(name), text).unwrap();
        refused(folder, &["optimize", name], 2, &["workload: no read fraction is given; write \"0.5\" = 1"]);
        words(folder, &["optimize", name, "--read-fraction", "1"]);
    }
}
