//! Counts of rows, and ranks: what is kept as rows change is what looking at all of them tells.

use vermilion_engine::model::Value;
use vermilion_scores::{Signal, SignalPercentiles, Signals};

use super::{Row, State};
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
        let context = Context::ALL[self.below(4) as usize].name();
        let label = Value::Str(format!("c{}", self.below(3)).into());
        let mut cells = vec![(fields::CONTEXT, Value::Str(context.into()))];
        if self.below(2) == 0 {
            cells.push((fields::LABEL_CLASS, label));
        }
        let cells = cells.iter().map(|(key, value)| (*key, value));
        let vector = [self.below(9) as f32, 1.0];
        Row::read(cells, &vector, &mut state.classes, &mut state.groups)
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
                    let signals = Signals {
                        novelty: Some(dice.below(5) as f32),
                        ..Signals::default()
                    };
                    let epoch = state.epoch;
                    state.score(&id, print, signals, epoch);
                }
            }
            check(&state);
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
        let signals = Signals {
            novelty: Some(n as f32),
            ..Signals::default()
        };
        state.score(&id, print, signals, 0);
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
