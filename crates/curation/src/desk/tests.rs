//! Counts of rows, and ranks: what is kept as rows change is what looking at all of them tells.

use std::collections::BTreeMap;

use vermilion_engine::model::Value;
use vermilion_scores::{Signal, SignalPercentiles, Signals};

use super::state::Mark;
use super::tally::ByContext;
use super::{Rival, Row, Scored, State};
use crate::fields::{self, Context};

/// A seeded source of numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }

    /// A record of any context, with a label or without.
    fn row(&mut self, state: &mut State) -> Row {
        let text = |text: &str| Value::Str(text.into());
        let context = Context::ALL[self.below(4) as usize].name();
        let label = format!("c{}", self.below(3));
        let mut cells = vec![(fields::CONTEXT, text(context))];
        if self.below(2) == 0 {
            cells.push((fields::LABEL_CLASS, text(&label)));
        }
        match self.below(4) {
            0 => {}
            of => cells.push((fields::DATASET, text(&format!("d{of}")))),
        }
        match self.below(4) {
            0 => {}
            1 => cells.push((fields::OBSERVED_AT, Value::Int(self.below(20) as i64 - 9))),
            _ => cells.push((fields::OBSERVED_AT, Value::Float(self.below(20) as f64))),
        }
        if self.below(40) == 0 {
            cells.push((fields::DATASET, Value::Strs(vec!["d1".to_owned()].into())));
        }
        let cells = cells.iter().map(|(key, value)| (*key, value));
        let vector = [self.below(9) as f32, 1.0];
        Row::read(cells, &vector, &mut state.classes, &mut state.groups)
    }
}

/// A score of a record that is so new.
fn novel(novelty: f32) -> Scored {
    let signals = Signals {
        novelty: Some(novelty),
        ..Signals::default()
    };
    Scored {
        signals,
        ..Scored::default()
    }
}

/// What looking at all rows tells.
fn check(state: &State) {
    for context in Context::ALL {
        let of_it = |row: &&Row| row.context == Some(context);
        let counted = state.rows.values().filter(of_it).count();
        assert_eq!(state.count(context), counted, "{}", context.name());
    }
    let stale = state
        .rows
        .iter()
        .filter(|(_, row)| row.is_scored() && (row.signals.is_none() || row.scored != state.epoch));
    let stale: Vec<String> = stale.map(|(id, _)| id.clone()).collect();
    assert_eq!(state.stale(), stale.len());
    assert_eq!(state.stale_after(None, usize::MAX), stale);
    let is_odd = state.rows.values().any(|row| row.is_odd);
    assert_eq!(state.tally().datasets().is_none(), is_odd);
    let mut datasets: BTreeMap<String, ByContext> = BTreeMap::new();
    let mut labels: BTreeMap<u32, u64> = BTreeMap::new();
    for row in state.rows.values() {
        let of_it = datasets.entry(row.dataset.clone()).or_default();
        of_it[row.context.map_or(4, |context| context as usize)] += 1;
        if let Some(label) = row.label {
            *labels.entry(label).or_default() += 1;
        }
    }
    if let Some(counted) = state.tally().datasets() {
        assert_eq!(*counted, datasets);
    }
    assert_eq!(state.tally().labels().collect::<BTreeMap<_, _>>(), labels);
    for name in ["d1", "d2", "d3", "d4", ""] {
        assert_eq!(state.has_dataset(name), datasets.contains_key(name));
    }
}

/// The same of the times, which are looked for only when somebody asks.
fn check_observed(state: &mut State) {
    let dated = state.rows.values().filter(|row| row.is_dated);
    let mut times: Vec<f64> = dated.map(|row| row.observed_at).collect();
    times.sort_by(f64::total_cmp);
    let ends = times.first().copied().zip(times.last().copied());
    assert_eq!(state.observed(), ends);
}

#[test]
fn counts_and_what_is_stale_are_what_looking_at_all_rows_tells() {
    let mut state = State::default();
    for seed in 0..20 {
        let mut dice = Dice(seed);
        for step in 1..200 {
            let id = format!("r{:02}", dice.below(40));
            match dice.below(10) {
                0..5 => {
                    let row = dice.row(&mut state);
                    state.put(&id, row);
                }
                5 => state.remove(&id),
                6 => state.settle(seed * 1000 + step),
                _ => {
                    let print = state.rows.get(&id).map_or(0, |row| row.print);
                    let epoch = state.epoch;
                    state.score(&id, print, novel(dice.below(5) as f32), epoch);
                }
            }
            check(&state);
            if dice.below(3) == 0 {
                check_observed(&mut state);
            }
        }
    }
    assert!(state.epoch > 0 && state.stale() > 0);
}

#[test]
fn ranks_that_are_taken_about_miss_few_signals_and_exact_ones_none() {
    let mut state = State::default();
    for n in 0..1000_usize {
        let context = Value::Str("production".into());
        let cells = [(fields::CONTEXT, &context)];
        let row = Row::read(
            cells.into_iter(),
            &[n as f32, 1.0],
            &mut state.classes,
            &mut state.groups,
        );
        let (id, print) = (format!("r{n:04}"), row.print);
        state.put(&id, row);
        state.score(&id, print, novel(n as f32), 0);
        // Those of fewer records are ranks among training.
        if n < 200 {
            continue;
        }
        let known = |ranks: &SignalPercentiles| ranks.of(Signal::Novelty).count() as usize;
        let about = known(&state.percentiles_about());
        assert!((n - n / 200..=n + 1).contains(&about), "{about} of {n}");
        if n % 50 == 0 {
            assert_eq!(known(&state.percentiles()), n + 1);
        }
    }
}

/// A record of the reference or of production.
fn put(state: &mut State, id: &str, context: &str, label: &str, number: f32) {
    let cells = [
        (fields::CONTEXT, Value::Str(context.into())),
        (fields::LABEL_CLASS, Value::Str(label.into())),
        (fields::INFERENCE_CLASS, Value::Str("a".into())),
    ];
    let cells = cells.iter().map(|(key, value)| (*key, value));
    let vector = [number, 1.0];
    let row = Row::read(cells, &vector, &mut state.classes, &mut state.groups);
    state.put(id, row);
}

#[test]
fn a_reference_that_is_read_again_keeps_its_epoch_and_another_does_not() {
    let rows = [("t1", "a", 1.0), ("t2", "b", 2.0), ("t3", "a", 3.0)];
    let mut state = State::default();
    for (id, label, number) in rows {
        put(&mut state, id, "training", label, number);
    }
    state.settle(3);
    put(&mut state, "p1", "production", "b", 4.0);
    state.settle(4);
    let known = state.mark();
    assert_eq!((state.epoch, known.epoch), (3, 3));
    let again = |known: Mark, labels: [&str; 3], head: u64| {
        let mut state = State::default();
        state.remember(Some(known));
        // In another order, so that classes have other numbers.
        for ((id, _, number), label) in rows.iter().zip(labels).rev() {
            put(&mut state, id, "training", label, *number);
        }
        state.settle(head);
        assert_eq!(state.reference.as_ref().unwrap().epoch, state.epoch);
        let first = state.epoch;
        // From then on it moves as ever.
        put(&mut state, "t4", "training", "a", 5.0);
        state.settle(head + 1);
        assert_eq!(state.epoch, head + 1);
        first
    };
    assert_eq!(again(known, ["a", "b", "a"], 9), 3);
    assert_eq!(again(known, ["a", "b", "b"], 9), 9);
    // A log that is shorter than the epoch is another one.
    let later = Mark { epoch: 50, ..known };
    assert_eq!(again(later, ["a", "b", "a"], 9), 9);
    // Without a reference there is an epoch too: that at which the last record left it.
    for (id, ..) in rows {
        state.remove(id);
    }
    state.settle(7);
    let known = state.mark();
    let mut empty = State::default();
    empty.remember(Some(known));
    empty.settle(12);
    assert_eq!((empty.epoch, empty.as_of), (7, 12));
}

#[test]
fn labelled_records_besides_training_tell_how_often_the_model_is_wrong() {
    let mut state = State::default();
    for (id, context, label) in [
        ("r1", "test", "a"),
        ("r2", "test", "b"),
        ("r3", "production", "a"),
        ("r4", "training", "b"),
        ("r5", "triage", "b"),
    ] {
        put(&mut state, id, context, label, 1.0);
    }
    let counted = state.contradictions_elsewhere();
    assert_eq!((counted.count, counted.of), (1, 3));
}

#[test]
fn what_is_made_of_scores_waits_until_nearly_all_records_have_them() {
    let mut state = State::default();
    put(&mut state, "t", "training", "a", 1.0);
    for at in 0..100 {
        put(
            &mut state,
            &format!("p{at:03}"),
            "production",
            "a",
            at as f32,
        );
    }
    assert!(state.is_mostly_scored(), "there is no reference yet");
    state.settle(1);
    assert!(!state.is_mostly_scored());
    for at in 0..95 {
        let id = format!("p{at:03}");
        let print = state.rows[&id].print;
        state.score(&id, print, Scored::default(), 1);
        assert_eq!(state.is_mostly_scored(), at == 94, "{at}");
    }
}

#[test]
fn what_a_record_might_be_instead_is_what_most_say_that_do_not_say_its_class() {
    let of = |labels: &[u32]| Rival::of(Some(1), labels.iter().copied());
    let most = of(&[1, 3, 2, 1, 3, 1]);
    assert_eq!((most.label, most.voters), (Some((3, 2)), 6));
    // The first of equals.
    assert_eq!(of(&[3, 2, 1]).label, Some((2, 1)));
    assert_eq!(
        of(&[1, 1]),
        Rival {
            label: None,
            voters: 2
        }
    );
    assert_eq!(of(&[]), Rival::default());
}
