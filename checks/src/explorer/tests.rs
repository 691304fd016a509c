use super::*;
use crate::guide::{adder::Flaw, claims::Adding};
use parthood_models::{Setup, Verdict};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

fn ask(explorer: &Explorer, line: &str, host: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(explorer.address()).unwrap();
    write!(stream, "{line} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_page_shows_what_every_state_on_the_way_to_a_violation_is() {
    let broken =
        || System::new(Adding { flaw: Some(Flaw::NoTable), clients: vec![vec![5]] }, Setup::default());
    let Verdict::Violated { path: Some(path), .. } = models::exhaust(&broken()).verdict else {
        panic!("a server without a table adds twice")
    };
    let about = About { title: "adding".into(), ..About::default() };
    let explorer = Explorer::of(broken(), about, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let host = explorer.address().to_string();
    let get = |what: &str| ask(&explorer, &format!("GET {what}"), &host);

    let (status, page) = get("/");
    assert!(status == 200 && page.contains("<script>"), "{page}");
    let about: About = serde_json::from_str(&get("/about").1).unwrap();
    assert_eq!(about.title, "adding");
    for steps in 0..=path.actions().len() {
        let part = Path::new(path.actions()[..steps].to_vec());
        let (status, text) = get(&format!("/state/{part}"));
        let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status, 200, "{text}");
        let holds = seen["look"]["properties"][0]["holds"].as_bool().unwrap();
        assert_eq!(holds, steps < path.actions().len(), "{text}");
        assert!(seen["svg"].as_str().unwrap().starts_with("<svg"), "{text}");
        if let Some(next) = path.actions().get(steps) {
            let moves = seen["look"]["moves"].as_array().unwrap();
            assert!(moves.iter().any(|mv| mv["action"] == *next), "the next step is offered: {text}");
        }
    }

    assert_eq!(get("/state/0/99").0, 400);
    assert_eq!(get("/state/no").0, 400);
    assert_eq!(get("/elsewhere").0, 404);
    assert_eq!(ask(&explorer, "POST /", &host).0, 405);
    assert_eq!(ask(&explorer, "GET /", "example.org").0, 403, "another name leads here");
    let address = explorer.address();
    explorer.stop();
    // Its last thread closes the port a moment later.
    let is_gone = || {
        std::thread::sleep(std::time::Duration::from_millis(10));
        TcpStream::connect(address).is_err()
    };
    assert!((0..1_000).any(|_| is_gone()), "it is still there");
}
