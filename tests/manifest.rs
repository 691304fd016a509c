//! Every claim of tier smoke, checked: the verdict, the exact number of states, the depth.

use parthood::check::{self, Options};
use parthood::manifest::{Row, Tier};
use parthood::models::Path;
use parthood::registry::{self, PROTOCOLS};

fn rows() -> Vec<Row> {
    PROTOCOLS.iter().flat_map(|protocol| protocol.rows().unwrap_or_else(|error| panic!("{error}"))).collect()
}

#[test]
fn every_smoke_row_answers_what_its_manifest_says() {
    let smoke: Vec<Row> = rows().into_iter().filter(|row| row.tier == Tier::Smoke).collect();
    let outcomes = check::run(&smoke, &Options::default(), &()).unwrap();
    assert_eq!(outcomes.len(), smoke.len());
    let wrong: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| {
            let (row, differs) = (&outcome.row, outcome.differs.as_ref()?);
            let (found, report) = (outcome.verdict(), &outcome.report);
            Some(format!(
                "{}/{}: {found}, {} states, depth {}: {differs}",
                row.protocol, row.name, report.unique, report.depth
            ))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), smoke.len(), wrong.join("\n"));
}

#[test]
fn every_row_has_a_model() {
    for protocol in PROTOCOLS {
        for row in protocol.rows().unwrap() {
            let model = protocol.model(&row).unwrap_or_else(|error| panic!("{error}"));
            let names: Vec<_> = model.properties().iter().map(|(name, _)| *name).collect();
            if let parthood::manifest::Expectation::Violates(property)
            | parthood::manifest::Expectation::Reaches(property) = &row.expect
            {
                assert!(
                    names.contains(&property.as_str()),
                    "{}/{} names `{property}`, not of {names:?}",
                    row.protocol,
                    row.name
                );
            }
        }
    }
}

#[test]
fn a_wrong_count_is_noticed() {
    let mut row = rows()
        .into_iter()
        .filter(|row| row.tier == Tier::Smoke && row.walks.is_none())
        .min_by_key(|row| row.unique_states)
        .unwrap();
    row.unique_states += 1;
    let outcomes = check::run(&[row], &Options::default(), &()).unwrap();
    assert!(
        outcomes[0].differs.as_ref().is_some_and(|differs| differs.starts_with("unique states")),
        "{outcomes:?}"
    );
}

#[test]
fn a_read_quorum_that_is_one_short_breaks_agreement_and_the_picture_says_so() {
    let protocol = registry::find("paxos").unwrap();
    let row =
        protocol.rows().unwrap().into_iter().find(|row| row.name == "mutant_read_quorum_short").unwrap();
    let outcomes = check::run(std::slice::from_ref(&row), &Options::default(), &()).unwrap();
    assert_eq!(outcomes[0].differs, None);
    let explanation = outcomes[0].explain().unwrap().unwrap();
    let sentence = format!("violated after {} steps: agreement", row.depth);
    assert_eq!(explanation.sentence, sentence);
    assert!(explanation.svg.contains(&sentence) && explanation.svg.contains("acceptor 2"));
    assert!(explanation.steps.contains(&format!("{:>3}. ", row.depth)), "{}", explanation.steps);

    let path: Path = explanation.link.parse().unwrap();
    assert_eq!(Some(&path), outcomes[0].path(), "the link opens the very same state");
    let trace = protocol.model(&row).unwrap().trace(&path).unwrap();
    assert_eq!(trace.steps.last().map(|step| step.number), Some(row.depth));
}

#[test]
fn a_path_of_another_row_is_refused() {
    let protocol = registry::find("paxos").unwrap();
    let row = &protocol.rows().unwrap()[0];
    let path: Path = "0/999".parse().unwrap();
    assert!(protocol.model(row).unwrap().trace(&path).is_err());
}
