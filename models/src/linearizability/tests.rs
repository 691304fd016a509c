use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Put(u16, u32),
    Get(u16),
    Cas(u16, u32, u32),
    Increment(u16),
}

/// Registers; the flags switch the two hints off, to compare.
struct Registers {
    hints: bool,
}

impl SequentialSpec for Registers {
    type Key = u16;
    type State = u32;
    type Op = Op;
    type Output = u32;

    fn key(&self, op: &Op) -> u16 {
        match *op {
            Op::Put(key, _) | Op::Get(key) | Op::Cas(key, ..) | Op::Increment(key) => key,
        }
    }

    fn initial(&self, _: &u16) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &Op, output: Option<&u32>) -> Option<u32> {
        let (after, right) = match *op {
            Op::Put(_, value) => (value, 0),
            Op::Get(_) => (*state, *state),
            Op::Cas(_, old, new) if *state == old => (new, 1),
            Op::Cas(..) => (*state, 0),
            Op::Increment(_) => (*state + 1, *state + 1),
        };
        output.is_none_or(|output| *output == right).then_some(after)
    }

    fn preserves(&self, op: &Op, output: &u32) -> bool {
        self.hints && (matches!(op, Op::Get(_)) || matches!(op, Op::Cas(..) if *output == 0))
    }

    fn overwrites(&self, op: &Op, output: &u32) -> bool {
        self.hints && matches!(op, Op::Put(..)) && *output == 0
    }
}

type History = Vec<Operation<Op, u32>>;

fn operation(client: u64, op: Op, invoked: u64, returned: Option<(u64, u32)>) -> Operation<Op, u32> {
    Operation { client, op, invoked, returned: returned.map(|(at, output)| Return { at, output }) }
}

fn decide(history: &History) -> Linearizability<u16> {
    check(&Registers { hints: true }, history, StepLimit::default())
}

/// Tries all orders of one key: the definition, in as many words.
fn by_brute_force(history: &[&Operation<Op, u32>], state: u32) -> bool {
    let must = history.iter().filter_map(|operation| operation.returned.as_ref());
    let Some(first_end) = must.map(|end| end.at).min() else { return true };
    (0..history.len()).any(|next| {
        let operation = history[next];
        let mut rest = history.to_vec();
        rest.remove(next);
        operation.invoked <= first_end
            && Registers { hints: false }
                .step(&state, &operation.op, operation.returned.as_ref().map(|end| &end.output))
                .is_some_and(|state| by_brute_force(&rest, state))
    })
}

fn is_linearizable_by_brute_force(history: &History) -> bool {
    (0..4).all(|key| {
        let part: Vec<_> =
            history.iter().filter(|operation| Registers { hints: true }.key(&operation.op) == key).collect();
        by_brute_force(&part, 0)
    })
}

/// A witness proves itself: every answer is right in its order, and no operation stands after one that began later
/// than it ended.
fn assert_witness(history: &History, witness: &BTreeMap<u16, Vec<usize>>) {
    let answered = history.iter().enumerate().filter(|(_, operation)| operation.returned.is_some());
    for (index, operation) in answered {
        let key = Registers { hints: true }.key(&operation.op);
        assert_eq!(
            witness[&key].iter().filter(|&&other| other == index).count(),
            1,
            "{index} stands once in the order"
        );
    }
    for order in witness.values() {
        let (mut state, mut latest_call) = (0, 0);
        for &index in order {
            let operation = &history[index];
            let end = operation.returned.as_ref();
            state = Registers { hints: true }
                .step(&state, &operation.op, end.map(|end| &end.output))
                .unwrap_or_else(|| panic!("operation {index} cannot answer so after {order:?}"));
            latest_call = latest_call.max(operation.invoked);
            assert!(
                end.is_none_or(|end| end.at >= latest_call),
                "operation {index} ended before one that precedes it began"
            );
        }
    }
}

/// A small generator that needs no crate: the tests must be the same on every machine.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Closed-loop clients on correct registers: each operation takes effect somewhere between its call and its return.
fn linearizable_history(operations: u64, keys: u64, clients: u64, lost: u64, seed: u64) -> History {
    let mut random = Lcg(seed);
    let mut registers: BTreeMap<u16, u32> = BTreeMap::new();
    let mut history = History::new();
    let mut busy: Vec<Option<(usize, bool)>> = vec![None; usize::try_from(clients).unwrap()];
    let mut now = 0;
    let mut started = 0;
    while started < operations || busy.iter().any(Option::is_some) {
        now += 1;
        let client = usize::try_from(random.below(clients)).unwrap();
        match busy[client] {
            None if started < operations => {
                let key = u16::try_from(random.below(keys)).unwrap();
                let value = u32::try_from(started).unwrap() + 1;
                let op = match random.below(10) {
                    0..5 => Op::Get(key),
                    5..8 => Op::Put(key, value),
                    8 => Op::Increment(key),
                    _ => Op::Cas(key, registers.get(&key).copied().unwrap_or(0), value),
                };
                started += 1;
                history.push(operation(client as u64, op, now, None));
                busy[client] = Some((history.len() - 1, false));
            }
            None => {}
            Some((index, false)) => {
                let op = history[index].op;
                let state = registers.entry(Registers { hints: true }.key(&op)).or_default();
                let output = match op {
                    Op::Put(..) => 0,
                    Op::Get(_) => *state,
                    Op::Cas(_, old, _) => u32::from(*state == old),
                    Op::Increment(_) => *state + 1,
                };
                *state = Registers { hints: true }.step(state, &op, None).unwrap();
                history[index].returned = Some(Return { at: u64::MAX, output });
                busy[client] = Some((index, true));
            }
            Some((index, true)) => {
                busy[client] = None;
                if lost > 0 && random.below(lost) == 0 {
                    history[index].returned = None;
                } else if let Some(end) = &mut history[index].returned {
                    end.at = now;
                }
            }
        }
    }
    history
}

#[test]
fn a_stale_read_is_found_and_named() {
    let history = vec![
        operation(0, Op::Put(7, 1), 0, Some((10, 0))),
        operation(1, Op::Get(7), 5, Some((20, 1))),
        operation(2, Op::Get(7), 30, Some((40, 0))),
    ];
    let Linearizability::NotLinearizable(violation) = decide(&history) else {
        panic!("the read at 30 is stale")
    };
    assert_eq!((violation.key, violation.operation), (7, 2));
    let text = violation.explain(&history);
    assert!(text.contains("Get(7) -> 0   <- fits nowhere"), "{text}");
    assert!(text.contains("Put(7, 1) -> 0"), "{text}");
}

#[test]
fn two_reads_may_not_see_two_concurrent_writes_in_two_orders() {
    let reads = |first, second| {
        vec![
            operation(0, Op::Put(0, 1), 0, Some((100, 0))),
            operation(1, Op::Put(0, 2), 0, Some((100, 0))),
            operation(2, Op::Get(0), 10, Some((20, first))),
            operation(2, Op::Get(0), 30, Some((40, second))),
            operation(2, Op::Get(0), 50, Some((60, first))),
        ]
    };
    assert!(!decide(&reads(1, 2)).is_linearizable());
    assert!(decide(&reads(1, 1)).is_linearizable());
}

#[test]
fn an_operation_without_answer_may_take_effect_late_or_never_but_only_once() {
    let history = |reads: &[u32]| -> History {
        let lost = operation(0, Op::Put(0, 1), 0, None);
        let read =
            |(at, value): (u64, &u32)| operation(1, Op::Get(0), 10 * at + 10, Some((10 * at + 15, *value)));
        std::iter::once(lost).chain((0..).zip(reads).map(read)).collect()
    };
    assert!(decide(&history(&[0, 0])).is_linearizable(), "never");
    assert!(decide(&history(&[0, 1, 1])).is_linearizable(), "late");
    assert!(!decide(&history(&[1, 0, 1])).is_linearizable(), "not twice");
}

#[test]
fn an_answer_at_the_instant_of_a_call_is_concurrent_with_it() {
    let history = |call| {
        vec![operation(0, Op::Put(0, 1), 0, Some((10, 0))), operation(1, Op::Get(0), call, Some((20, 0)))]
    };
    assert!(decide(&history(10)).is_linearizable());
    assert!(!decide(&history(11)).is_linearizable());
}

#[test]
fn a_limit_that_is_reached_is_said() {
    let puts =
        (0..40).map(|value| operation(u64::from(value), Op::Increment(0), 0, Some((100, value + 100))));
    let history: History = puts.collect();
    let verdict = check(&Registers { hints: true }, &history, StepLimit(0));
    assert!(
        matches!(verdict, Linearizability::NotLinearizable(_)),
        "no placement is possible, so none is tried"
    );
    let history = linearizable_history(100, 1, 8, 0, 1);
    let verdict = check(&Registers { hints: true }, &history, StepLimit(1));
    assert_eq!(verdict, Linearizability::Inconclusive { key: 0, limit: StepLimit(1) });
}

#[test]
fn one_changed_answer_in_a_long_history_is_found() {
    let history = linearizable_history(20_000, 200, 32, 500, 3);
    let Linearizability::Linearizable { witness, .. } = decide(&history) else {
        panic!("it is linearizable")
    };
    assert_witness(&history, &witness);
    let increments = (0..history.len()).filter(|&index| matches!(history[index].op, Op::Increment(_)));
    for index in increments.filter(|&index| history[index].returned.is_some()).step_by(211) {
        let mut changed = history.clone();
        changed[index].returned.as_mut().unwrap().output += 1_000_000;
        let Linearizability::NotLinearizable(violation) = decide(&changed) else {
            panic!("{index} was changed")
        };
        assert_eq!(violation.operation, index);
    }
}

#[test]
fn a_hundred_thousand_operations_take_no_more_placements_than_there_are() {
    let history = linearizable_history(100_000, 1_000, 64, 1_000, 1);
    let Linearizability::Linearizable { witness, steps } = decide(&history) else {
        panic!("it is linearizable")
    };
    assert_witness(&history, &witness);
    assert!(steps < 100_000, "{steps} placements");
}

#[test]
fn many_clients_on_few_keys_are_decided() {
    let history = linearizable_history(20_000, 10, 64, 1_000, 1);
    let Linearizability::Linearizable { witness, steps } = decide(&history) else {
        panic!("it is linearizable")
    };
    assert_witness(&history, &witness);
    assert!(steps < 1_000_000, "{steps} placements");
}

fn any_op() -> impl Strategy<Value = Op> {
    let key = 0..2_u16;
    prop_oneof![
        (key.clone(), 1..3_u32).prop_map(|(key, value)| Op::Put(key, value)),
        key.clone().prop_map(Op::Get),
        (key.clone(), 0..3_u32, 1..3_u32).prop_map(|(key, old, new)| Op::Cas(key, old, new)),
        key.prop_map(Op::Increment),
    ]
}

fn any_history() -> impl Strategy<Value = History> {
    let operation = (any_op(), 0..12_u64, 0..8_u64, prop::option::weighted(0.8, 0..4_u32)).prop_map(
        |(op, invoked, takes, output)| {
            operation(0, op, invoked, output.map(|output| (invoked + takes, output)))
        },
    );
    prop::collection::vec(operation, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_answer_is_that_of_the_definition(history in any_history()) {
        let expected = is_linearizable_by_brute_force(&history);
        for hints in [true, false] {
            let verdict = check(&Registers { hints }, &history, StepLimit::default());
            prop_assert_eq!(verdict.is_linearizable(), expected, "hints {}: {:?}", hints, verdict);
            if let Linearizability::Linearizable { witness, .. } = verdict {
                assert_witness(&history, &witness);
            }
        }
    }

    #[test]
    fn what_correct_registers_answer_is_linearizable(seed: u64, clients in 1..6_u64, lost in 0..6_u64) {
        let history = linearizable_history(8, 2, clients, lost, seed);
        prop_assert!(decide(&history).is_linearizable());
        prop_assert!(is_linearizable_by_brute_force(&history));
    }

    #[test]
    fn one_changed_answer_is_judged_as_by_the_definition(seed: u64, at in 0..8_usize, output in 0..9_u32) {
        let mut history = linearizable_history(8, 1, 3, 6, seed);
        if let Some(end) = &mut history[at].returned {
            end.output = output;
        }
        prop_assert_eq!(decide(&history).is_linearizable(), is_linearizable_by_brute_force(&history));
    }
}
