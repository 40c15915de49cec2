//! What a rank expression means: scores of some records, and a default for all others.
//!
//! What must stay true: entries ascend by location, each record once; of two expressions that are
//! combined, one without a default decides which records stay, so that nothing is scored that an
//! expression says nothing about.

use super::Location;
use super::top::Candidate;
use crate::model::{Knn, Rank};

/// Scores of records.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scores {
    /// The support: records with their scores, by location.
    pub(super) entries: Vec<(Location, f64)>,
    /// The score of every other record.
    pub(super) default: Option<f64>,
}

/// The `$knn` expressions of `rank`, in the order in which [`evaluate`] needs them.
pub(crate) fn knns(rank: &Rank) -> Vec<&Knn> {
    let (mut found, mut open) = (Vec::new(), vec![rank]);
    while let Some(rank) = open.pop() {
        match rank {
            Rank::Value(_) => {}
            Rank::Knn(knn) => found.push(knn),
            Rank::Sum(members)
            | Rank::Product(members)
            | Rank::Max(members)
            | Rank::Min(members) => open.extend(members.iter().rev()),
            Rank::Difference(pair) | Rank::Quotient(pair) => open.extend(pair.iter().rev()),
            Rank::Absolute(inner) | Rank::Exponential(inner) | Rank::Logarithm(inner) => {
                open.push(inner);
            }
        }
    }
    found
}

/// The scores that `rank` gives; `nearest` has what each of its [`knns`] found, nearest first.
pub(super) fn evaluate(rank: &Rank, nearest: &mut impl Iterator<Item = Vec<Candidate>>) -> Scores {
    let mut each = |inner: &Rank, of: fn(f64) -> f64| evaluate(inner, nearest).map(of);
    match rank {
        Rank::Value(value) => Scores {
            entries: Vec::new(),
            default: Some(*value),
        },
        Rank::Knn(knn) => of_knn(knn, nearest.next().unwrap_or_default()),
        Rank::Sum(members) => fold(members, nearest, |a, b| a + b),
        Rank::Product(members) => fold(members, nearest, |a, b| a * b),
        Rank::Max(members) => fold(members, nearest, f64::max),
        Rank::Min(members) => fold(members, nearest, f64::min),
        Rank::Difference(pair) => fold(&**pair, nearest, |a, b| a - b),
        Rank::Quotient(pair) => fold(&**pair, nearest, |a, b| a / b),
        Rank::Absolute(inner) => each(inner, f64::abs),
        Rank::Exponential(inner) => each(inner, f64::exp),
        Rank::Logarithm(inner) => each(inner, f64::ln),
    }
}

fn of_knn(knn: &Knn, nearest: Vec<Candidate>) -> Scores {
    let places = nearest.into_iter().take(knn.limit as usize).enumerate();
    let mut entries: Vec<(Location, f64)> = places
        .map(|(place, candidate)| {
            let score = if knn.by_place {
                place as f64
            } else {
                f64::from(candidate.distance)
            };
            (candidate.location, score)
        })
        .collect();
    entries.sort_unstable_by_key(|(location, _)| *location);
    Scores {
        entries,
        default: knn.default,
    }
}

fn fold(
    members: &[Rank],
    nearest: &mut impl Iterator<Item = Vec<Candidate>>,
    of: fn(f64, f64) -> f64,
) -> Scores {
    let Some((first, rest)) = members.split_first() else {
        return Scores::default();
    };
    let first = evaluate(first, nearest);
    rest.iter().fold(first, |scores, member| {
        scores.combine(&evaluate(member, nearest), of)
    })
}

impl Scores {
    fn map(mut self, of: fn(f64) -> f64) -> Self {
        self.entries
            .iter_mut()
            .for_each(|(_, score)| *score = of(*score));
        self.default = self.default.map(of);
        self
    }

    /// The scores of `self` and `other` put together record by record.
    fn combine(self, other: &Self, of: fn(f64, f64) -> f64) -> Self {
        let both = self.default.zip(other.default);
        let default = both.map(|(ours, theirs)| of(ours, theirs));
        if other.entries.is_empty()
            && let Some(theirs) = other.default
        {
            let mut scores = self;
            let entries = scores.entries.iter_mut();
            entries.for_each(|(_, score)| *score = of(*score, theirs));
            return Self { default, ..scores };
        }
        let mut entries = Vec::with_capacity(self.entries.len().max(other.entries.len()));
        let (mut ours, mut theirs) = (
            self.entries.iter().peekable(),
            other.entries.iter().peekable(),
        );
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(ours), None) => ours.0,
                (None, Some(theirs)) => theirs.0,
                (Some(ours), Some(theirs)) => ours.0.min(theirs.0),
            };
            let mine = ours.next_if(|entry| entry.0 == next).map(|entry| entry.1);
            let other_score = theirs.next_if(|entry| entry.0 == next).map(|entry| entry.1);
            // Without a score and without a default a record is out.
            if let (Some(mine), Some(other_score)) =
                (mine.or(self.default), other_score.or(other.default))
            {
                entries.push((next, of(mine, other_score)));
            }
        }
        Self { entries, default }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KnnQuery;

    fn knn(default: Option<f64>, by_place: bool) -> Rank {
        Rank::Knn(Knn {
            query: KnnQuery::Dense(vec![1.0]),
            key: "#embedding".to_owned(),
            limit: 3,
            default,
            by_place,
        })
    }

    fn nearest(rows: &[(u32, f32)]) -> Vec<Candidate> {
        rows.iter()
            .map(|&(row, distance)| Candidate {
                distance,
                birth: row.into(),
                location: Location { part: 0, row },
            })
            .collect()
    }

    #[track_caller]
    fn check(rank: &Rank, found: &[&[(u32, f32)]], expected: &[(u32, f64)], default: Option<f64>) {
        let scores = evaluate(rank, &mut found.iter().map(|rows| nearest(rows)));
        let entries = scores.entries.iter();
        let entries: Vec<_> = entries.map(|(at, score)| (at.row, *score)).collect();
        assert_eq!(entries, expected);
        assert_eq!(scores.default, default);
    }

    #[test]
    fn constant_alone_supports_nothing_and_scales_what_it_meets() {
        check(&Rank::Value(2.0), &[], &[], Some(2.0));
        let rank = Rank::Product(vec![Rank::Value(2.0), knn(None, false)]);
        check(&rank, &[&[(7, 1.0), (3, 4.0)]], &[(3, 8.0), (7, 2.0)], None);
    }

    #[test]
    fn defaults_decide_between_union_one_side_and_intersection() {
        let (a, b): (&[_], &[_]) = (&[(1, 1.0), (2, 2.0)], &[(2, 10.0), (3, 20.0)]);
        let sum = |left, right| Rank::Sum(vec![knn(left, false), knn(right, false)]);
        check(&sum(None, None), &[a, b], &[(2, 12.0)], None);
        check(
            &sum(Some(5.0), None),
            &[a, b],
            &[(2, 12.0), (3, 25.0)],
            None,
        );
        check(&sum(None, Some(5.0)), &[a, b], &[(1, 6.0), (2, 12.0)], None);
        check(
            &sum(Some(5.0), Some(7.0)),
            &[a, b],
            &[(1, 8.0), (2, 12.0), (3, 25.0)],
            Some(12.0),
        );
    }

    #[test]
    fn places_are_scores_from_zero_up_to_the_limit() {
        let found: &[(u32, f32)] = &[(9, 0.5), (4, 0.5), (6, 0.7), (5, 0.8)];
        check(
            &knn(None, true),
            &[found],
            &[(4, 1.0), (6, 2.0), (9, 0.0)],
            None,
        );
    }

    #[test]
    fn operators_keep_the_order_of_their_sides_and_reach_the_default() {
        let one = || Box::new(Rank::Value(8.0));
        let pair = |left| Box::new([Rank::Value(left), knn(Some(2.0), false)]);
        check(
            &Rank::Difference(pair(1.0)),
            &[&[(1, 4.0)]],
            &[(1, -3.0)],
            Some(-1.0),
        );
        check(
            &Rank::Quotient(pair(1.0)),
            &[&[(1, 4.0)]],
            &[(1, 0.25)],
            Some(0.5),
        );
        check(&Rank::Logarithm(one()), &[], &[], Some(8f64.ln()));
        check(&Rank::Exponential(one()), &[], &[], Some(8f64.exp()));
        let negative = Box::new(Rank::Difference(pair(0.0)));
        check(
            &Rank::Absolute(negative),
            &[&[(1, 4.0)]],
            &[(1, 4.0)],
            Some(2.0),
        );
        let many = |of: fn(Vec<Rank>) -> Rank| of(vec![Rank::Value(3.0), knn(Some(9.0), false)]);
        check(&many(Rank::Max), &[&[(1, 1.0)]], &[(1, 3.0)], Some(9.0));
        check(&many(Rank::Min), &[&[(1, 1.0)]], &[(1, 1.0)], Some(3.0));
    }
}
