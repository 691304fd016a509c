//! Claims: what is asserted of each protocol, within which bounds, and what a check of it must answer.
//!
//! A claim is a *row* of `checks/manifest/PROTOCOL.toml`. It names its bounds, for a check that ends well says nothing
//! beyond them, and it names the exact number of states, so that a model which shrinks by mistake is noticed. A row with
//! a `mutant` breaks one rule of the protocol on purpose and expects the violation: it proves that the property can fail.
//! What is too large to be exhausted is walked through at random: such a row says how often, and never that anything holds.
//! The files are part of the program; `parthood list PROTOCOL` prints them.

use crate::error::Error;
use crate::settings::{self, Fields, Placed, Problems};
use parthood_models::{Network, Reductions, Setup, Torn, Walk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// One claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The protocol, by the name it has in every layer.
    pub protocol: String,
    /// The name of the claim, unique for the protocol.
    pub name: String,
    /// The claim, as a sentence of the paper.
    pub claim: String,
    /// Where the sentence stands.
    pub source: String,
    /// The bounds, in words.
    pub bounds: String,
    /// What the world may do to the actors.
    pub setup: Setup,
    /// What is particular to the protocol.
    pub params: toml::Table,
    /// The rule that is broken on purpose, if any.
    pub mutant: Option<String>,
    /// What a check must answer.
    pub expect: Expectation,
    /// How it is walked through, if it is not exhausted.
    pub walks: Option<Walked>,
    /// How many different states are visited until then; nobody counts them on walks.
    pub unique_states: usize,
    /// How many moves the farthest state is away, or the violation.
    pub depth: usize,
    /// When it is run.
    pub tier: Tier,
}

impl Row {
    /// How many states a check must visit: different ones, or on walks all.
    pub fn states(&self) -> u64 {
        self.walks.map_or(self.unique_states as u64, |walks| walks.states)
    }
}

/// Random walks, and how many states they visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walked {
    /// The same seed takes the same walks.
    seed: u64,
    /// How many walks, each from the initial state.
    walks: usize,
    /// How many steps each may take.
    steps: usize,
    /// How many states they visit, each as often as they come by.
    pub states: u64,
}

impl Walked {
    /// How to walk.
    pub fn how(self) -> Walk {
        Walk { seed: self.seed, walks: self.walks, steps: self.steps }
    }
}

/// What a check must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// All properties hold in all states.
    Holds,
    /// This property is violated.
    Violates(String),
    /// All properties hold, and this one is seen to in some state.
    Reaches(String),
    /// The walks meet no violation, which proves nothing.
    FindsNothing,
}

/// How long a row takes, and so when it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// With every `cargo test`: seconds.
    Smoke,
    /// On demand: minutes.
    Full,
    /// Before a release: up to an hour and 16 GB.
    Deep,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => f.write_str("holds"),
            Self::Violates(property) => write!(f, "violates {property}"),
            Self::Reaches(property) => write!(f, "reaches {property}"),
            Self::FindsNothing => f.write_str("finds nothing"),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smoke => "smoke",
            Self::Full => "full",
            Self::Deep => "deep",
        })
    }
}

impl std::str::FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(' ') {
            None if text == "holds" => Ok(Self::Holds),
            Some(("finds", "nothing")) => Ok(Self::FindsNothing),
            Some(("violates", property)) if !property.is_empty() => Ok(Self::Violates(property.into())),
            Some(("reaches", property)) if !property.is_empty() => Ok(Self::Reaches(property.into())),
            _ => Err(format!(
                "`{text}` is none of `holds`, `violates PROPERTY`, `reaches PROPERTY`, `finds nothing`"
            )),
        }
    }
}

/// Reads the rows of a protocol.
///
/// # Errors
/// All mistakes of the file, if there are any.
pub fn read(protocol: &str, file: &Path, text: &str) -> Result<Vec<Row>, Error> {
    settings::read(file, text, |top, problems| {
        let mut names = BTreeSet::new();
        let mut rows = Vec::new();
        for mut fields in top.tables("row", problems) {
            let row = row(protocol, &mut fields, &mut names, problems);
            fields.finish(problems);
            rows.extend(row);
        }
        rows
    })
}

fn row(
    protocol: &str,
    fields: &mut Fields<'_>,
    names: &mut BTreeSet<String>,
    problems: &mut Problems<'_>,
) -> Option<Row> {
    let name = fields.required::<String>("name", problems);
    if let Some(Placed { value, place }) = name.as_ref().filter(|name| !names.insert(name.value.clone())) {
        problems.note(place, format!("a second row with the name `{value}`"));
    }
    let claim = fields.required("claim", problems);
    let source = fields.required("source", problems);
    let bounds = fields.required("bounds", problems);
    let setup = setup(fields, problems);
    let params = fields.optional("params", problems);
    let mutant = fields.optional("mutant", problems);
    let expect = fields.required::<String>("expect", problems).and_then(|expect| {
        let parsed = expect.value.parse::<Expectation>();
        parsed.map_err(|what| problems.note(&expect.place, what)).ok()
    });
    let violates = matches!(expect, None | Some(Expectation::Violates(_)));
    if let Some(Placed { place, .. }) = mutant.as_ref().filter(|_| !violates) {
        problems.note(place, "a mutant must be expected to violate a property");
    }
    let walks = fields.optional::<Walked>("walks", problems);
    let unique_states = match &walks {
        None => fields.required("unique_states", problems).map(|states| states.value),
        Some(_) => Some(0),
    };
    match (&walks, &expect) {
        (Some(Placed { place, .. }), Some(Expectation::Holds)) => {
            problems.note(place, "walks never show that anything holds: they find nothing");
        }
        (None, Some(Expectation::FindsNothing)) => {
            problems.note(&fields.place(), "`walks` is missing: only walks find nothing");
        }
        _ => {}
    }
    let depth = fields.required("depth", problems);
    let tier = fields.required("tier", problems);
    Some(Row {
        protocol: protocol.to_owned(),
        name: name?.value,
        claim: claim?.value,
        source: source?.value,
        bounds: bounds?.value,
        setup,
        params: params.map(|params| params.value).unwrap_or_default(),
        mutant: mutant.map(|mutant: Placed<String>| mutant.value),
        expect: expect?,
        walks: walks.map(|walks| walks.value),
        unique_states: unique_states?,
        depth: depth?.value,
        tier: tier?.value,
    })
}

/// The keys that say what the world may do; what is not said may not happen, and no reduction is on.
fn setup(fields: &mut Fields<'_>, problems: &mut Problems<'_>) -> Setup {
    let network = fields.required::<Network>("network", problems);
    let lossy = fields.optional::<bool>("lossy", problems);
    let down = fields.optional::<Vec<String>>("down", problems);
    let restarts = fields.optional::<u8>("restarts", problems);
    let torn = fields.optional::<Torn>("torn", problems);
    let timers = fields.optional::<Vec<u8>>("timers", problems);
    let reductions = fields.optional::<Reductions>("reductions", problems);
    Setup {
        network: network.map(|network| network.value).unwrap_or_default(),
        lossy: lossy.is_some_and(|lossy| lossy.value),
        down: down.map(|down| down.value).unwrap_or_default(),
        restarts: restarts.map_or(0, |restarts| restarts.value),
        torn: torn.map(|torn| torn.value).unwrap_or_default(),
        timers: timers.map(|timers| timers.value).unwrap_or_default(),
        reductions: reductions.map(|reductions| reductions.value).unwrap_or_default(),
    }
}

impl Row {
    /// What the world may do, in words.
    pub fn world(&self) -> String {
        let Setup { network, lossy, down, restarts, torn, timers, reductions } = &self.setup;
        let mut words = vec![match network {
            Network::Unordered => "unordered network".to_owned(),
            Network::Duplicating => "unordered duplicating network".to_owned(),
            Network::Ordered => "ordered network".to_owned(),
        }];
        if *lossy {
            words.push("loss".into());
        }
        if !down.is_empty() {
            words.push(format!("{} down", down.join(" and ")));
        }
        match restarts {
            0 => words.push("no crash".into()),
            1 => words.push("one crash and recovery".into()),
            several => words.push(format!("{several} crashes and recoveries")),
        }
        match torn {
            Torn::Off => {}
            Torn::Held => words.push("torn saves".into()),
            Torn::Released => words.push("sends released before a save".into()),
        }
        if !timers.is_empty() {
            let counts: Vec<String> = timers.iter().map(u8::to_string).collect();
            words.push(format!("timers fire at most {} times", counts.join("+")));
        }
        let on = [
            (reductions.collect, "collection"),
            (reductions.eager, "eager delivery"),
            (reductions.symmetry, "symmetry"),
        ];
        let on: Vec<&str> = on.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        words.push(if on.is_empty() {
            "no reduction".into()
        } else {
            format!("reduced by {}", on.join(", "))
        });
        if let Some(Walked { seed, walks, steps, .. }) = self.walks {
            words.push(format!("{walks} random walks of at most {steps} steps from seed {seed}"));
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "
        [[row]]
        name = 'agreement'
        claim = 'At most one value is chosen.'
        source = 'Paxos made simple, 2.1'
        bounds = '2 proposers, 3 acceptors'
        network = 'duplicating'
        restarts = 1
        reductions = { collect = true }
        params = { proposers = 2 }
        expect = 'holds'
        unique_states = 4624
        depth = 17
        tier = 'smoke'
    ";

    fn mistakes(text: &str) -> Vec<String> {
        let Err(Error::Settings { problems, .. }) = read("paxos", Path::new("paxos.toml"), text) else {
            panic!("there are mistakes in {text}")
        };
        problems.into_iter().map(|problem| format!("{}: {}", problem.line, problem.what)).collect()
    }

    #[test]
    fn a_row_is_read() {
        let rows = read("paxos", Path::new("paxos.toml"), ROW).unwrap();
        let [row] = rows.as_slice() else { panic!("one row") };
        assert_eq!(
            (row.name.as_str(), row.unique_states, row.depth, row.tier),
            ("agreement", 4624, 17, Tier::Smoke)
        );
        assert_eq!(row.expect, Expectation::Holds);
        assert_eq!(row.params["proposers"].as_integer(), Some(2));
        assert_eq!(row.setup.reductions, Reductions { collect: true, ..Reductions::NONE });
        assert_eq!(
            row.world(),
            "unordered duplicating network, one crash and recovery, reduced by collection"
        );
    }

    #[test]
    fn every_mistake_of_a_file_is_told() {
        let text =
            ROW.replace("'duplicating'", "'pigeon'").replace("tier", "teir").replace("'holds'", "'hold'");
        let found = mistakes(&text);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("2: `tier` is missing"), "{found:#?}");
        assert!(found[1].starts_with("7: `network`: unknown variant `pigeon`"), "{found:#?}");
        assert!(found[2].starts_with("11: `hold` is none of"), "{found:#?}");
        assert_eq!(found[3], "14: unknown key `teir`; did you mean `tier`?");
    }

    #[test]
    fn a_mutant_that_violates_nothing_is_refused() {
        let found = mistakes(&ROW.replace("tier", "mutant = 'no_promise'\ntier"));
        assert_eq!(found, ["14: a mutant must be expected to violate a property"]);
    }

    #[test]
    fn walks_show_nothing_and_say_so() {
        let walks = "walks = { seed = 1, walks = 9, steps = 50, states = 400 }";
        let walked = ROW.replace("unique_states = 4624", walks);
        assert_eq!(mistakes(&walked), ["12: walks never show that anything holds: they find nothing"]);
        let nothing = ROW.replace("'holds'", "'finds nothing'");
        assert_eq!(mistakes(&nothing), ["2: `walks` is missing: only walks find nothing"]);
        let rows = read("paxos", Path::new("paxos.toml"), &walked.replace("'holds'", "'finds nothing'"));
        let [row] = &rows.unwrap()[..] else { panic!("one row") };
        assert_eq!(row.walks.unwrap().how(), Walk { seed: 1, walks: 9, steps: 50 });
        assert!(row.world().ends_with("9 random walks of at most 50 steps from seed 1"), "{}", row.world());
    }

    #[test]
    fn a_name_twice_is_refused() {
        let found = mistakes(&format!("{ROW}{ROW}"));
        assert_eq!(found, ["17: a second row with the name `agreement`"]);
    }
}
