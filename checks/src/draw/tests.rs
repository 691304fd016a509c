use super::*;

/// Two proposers of one round number each, and an acceptor that forgets its promise.
fn broken_paxos() -> Diagram {
    let roles = ["proposer", "proposer", "acceptor", "acceptor", "acceptor"];
    let lanes = roles.iter().enumerate().map(|(lane, role)| {
        let index = if lane < 2 { lane } else { lane - 2 };
        Lane { name: format!("{role} {index}"), role: (*role).into() }
    });
    let mut diagram = Diagram {
        title: "paxos / forget-promise: agreement is violated in 20 steps".into(),
        caption: "2 proposers, 3 acceptors, rounds 0-1, unordered network, one restart".into(),
        lanes: lanes.collect(),
        ..Diagram::default()
    };
    let broadcast = |diagram: &mut Diagram, from: usize, label: &str| -> Vec<usize> {
        (2..5).map(|to| send(diagram, from, to, label)).collect()
    };
    let a = broadcast(&mut diagram, 0, "Phase1a r0");
    event(&mut diagram, 0, What::Start, &a, "");
    let b = broadcast(&mut diagram, 1, "Phase1a r1");
    event(&mut diagram, 1, What::Start, &b, "");
    let promise = |diagram: &mut Diagram, id: usize, to: usize, label: &str, note: &str| {
        let lane = diagram.messages[id].to;
        let reply = send(diagram, lane, to, label);
        event(diagram, lane, What::Deliver(id), &[reply], note);
        reply
    };
    let p0 = promise(&mut diagram, a[0], 0, "Phase1b r0 no vote", "round 0");
    let p1 = promise(&mut diagram, a[1], 0, "Phase1b r0 no vote", "round 0");
    event(&mut diagram, 0, What::Deliver(p0), &[], "");
    let va = broadcast(&mut diagram, 0, "Phase2a r0 \"A\"");
    event(&mut diagram, 0, What::Deliver(p1), &va, "proposes \"A\"");
    event(&mut diagram, 0, What::Lose(va[2]), &[], "");
    event(&mut diagram, 3, What::Crash, &[], "");
    event(&mut diagram, 3, What::Restart, &[], "round 0");
    let q0 = promise(&mut diagram, b[1], 1, "Phase1b r1 no vote", "round 1");
    let q1 = promise(&mut diagram, b[2], 1, "Phase1b r1 no vote", "round 1");
    event(&mut diagram, 1, What::Timeout("resend".into()), &[], "");
    event(&mut diagram, 1, What::Deliver(q0), &[], "");
    let vb = broadcast(&mut diagram, 1, "Phase2a r1 \"B\"");
    event(&mut diagram, 1, What::Deliver(q1), &vb, "proposes \"B\"");
    let x0 = promise(&mut diagram, vb[1], 1, "Phase2b r1", "votes (1, \"B\")");
    let x1 = promise(&mut diagram, vb[2], 1, "Phase2b r1", "votes (1, \"B\")");
    event(&mut diagram, 1, What::Deliver(x0), &[], "");
    event(&mut diagram, 1, What::Deliver(x1), &[], "\"B\" is chosen");
    promise(&mut diagram, va[0], 0, "Phase2b r0", "votes (0, \"A\")");
    promise(&mut diagram, va[1], 0, "Phase2b r0", "votes (0, \"A\") <- round 1 was promised");
    event(&mut diagram, 3, What::Choose("to answer & go on".into()), &[], "");
    event(&mut diagram, 3, What::Deliver(va[1]), &[], "");
    let after = diagram.events.len();
    let text = "agreement is violated: \"B\" is chosen in round 1, \"A\" in round 0".into();
    diagram.verdict = Some(Verdict { text, violated: true, after });
    diagram
}

fn send(diagram: &mut Diagram, from: usize, to: usize, label: &str) -> usize {
    diagram.messages.push(Message { from, to, label: label.into() });
    diagram.messages.len() - 1
}

fn event(diagram: &mut Diagram, lane: usize, what: What, sends: &[usize], note: &str) {
    let step = if what == What::Start { 0 } else { diagram.events.last().map_or(0, |last| last.step) + 1 };
    diagram.events.push(Event { lane, step, what, sends: sends.to_vec(), note: note.into() });
}

#[test]
fn a_picture_names_its_steps_messages_and_the_violation() {
    let svg = broken_paxos().to_svg();
    if let Ok(path) = std::env::var("PARTHOOD_DRAW_TO") {
        std::fs::write(path, &svg).unwrap();
    }
    for text in [
        "acceptor 2",
        "Phase1b r1 no vote",
        "timeout: resend",
        "crashes",
        "restarts from disk",
        "lost",
        "(again)",
        ">20<",
    ] {
        assert!(svg.contains(text), "{text} is missing");
    }
    assert!(svg.contains("agreement is violated: &quot;B&quot; is chosen in round 1"));
    assert!(!svg.contains("href"), "nothing is loaded from elsewhere");
}

#[test]
fn any_text_is_escaped() {
    let mut diagram = broken_paxos();
    diagram.title = "<script>&\u{7}\"'".into();
    diagram.messages[0].label = "<b>&\u{0}".into();
    diagram.lanes[0].name = "</text>".into();
    let svg = diagram.to_svg();
    assert!(svg.contains("&lt;script&gt;&amp; &quot;&#39;"));
    assert!(!svg.contains("<script") && !svg.contains("<b>") && !svg.contains("></text></text>"));
    assert!(!svg.contains('\u{0}') && !svg.contains('\u{7}'));
}

#[test]
fn labels_of_arrows_do_not_overlap() {
    let diagram = broken_paxos();
    let layout = layout::Layout::new(&diagram);
    let boxes: Vec<_> = layout
        .arrows
        .iter()
        .flat_map(|arrow| {
            let side = if arrow.to.0 >= arrow.elbow { 1.0 } else { -1.0 };
            (0..arrow.lines.len()).map(move |line| {
                let width = layout::text_width(&arrow.lines[line], layout::LABEL_SIZE);
                let (near, far) = (arrow.to.0 - side * 17.0, arrow.to.0 - side * (17.0 + width));
                let top = arrow.to.1 - 16.0 + 20.0 * float(line);
                (near.min(far), near.max(far), top, top + layout::LABEL_SIZE)
            })
        })
        .collect();
    for (index, a) in boxes.iter().enumerate() {
        for b in &boxes[index + 1..] {
            let apart = a.1 <= b.0 || b.1 <= a.0 || a.3 <= b.2 || b.3 <= a.2;
            assert!(apart, "{a:?} overlaps {b:?}");
        }
    }
}

#[test]
fn indices_out_of_range_draw_nothing_and_do_not_panic() {
    let mut diagram = broken_paxos();
    event(&mut diagram, 99, What::Deliver(1_000), &[2_000], "x");
    event(&mut diagram, 99, What::Crash, &[], "");
    let stray = send(&mut diagram, 77, 88, "x");
    event(&mut diagram, 0, What::Deliver(stray), &[stray], "");
    assert!(diagram.to_svg().ends_with("</svg>\n"));
    assert!(Diagram::default().to_svg().ends_with("</svg>\n"));
}
