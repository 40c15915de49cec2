//! Filters brought to fewer tests that mean the same, cheap ones first.
//!
//! What must stay true: the normal form of a filter passes exactly the records that the filter
//! passes. It is made for filters that programs write: thousands of `$or`ed equalities, lists
//! within lists.

use std::cmp::Ordering;
use std::mem::{Discriminant, discriminant};

use hashbrown::HashMap;

use crate::model::{Comparison, DocumentTest, Filter, Scalar};

/// Tests of one key that become one: the key, and the type of the operands, which are not mixed.
type Group = (String, Discriminant<Scalar>);

/// The normal form of `filter`: no list directly in a list of its kind, equalities on one key
/// joined, the tests of a list from cheap to dear.
pub(super) fn normal(filter: &Filter) -> Filter {
    match filter {
        Filter::And(members) => {
            let mut flat = Vec::with_capacity(members.len());
            for member in members {
                match normal(member) {
                    Filter::And(inner) => flat.extend(inner),
                    other => flat.push(other),
                }
            }
            list(joined(flat, false), Filter::And)
        }
        Filter::Or(members) => {
            let mut flat = Vec::with_capacity(members.len());
            for member in members {
                match normal(member) {
                    Filter::Or(inner) => flat.extend(inner),
                    other => flat.push(other),
                }
            }
            list(joined(flat, true), Filter::Or)
        }
        Filter::Metadata { key, comparison } => Filter::Metadata {
            key: key.clone(),
            comparison: match comparison.clone() {
                Comparison::In(operands) => Comparison::In(ascending(operands)),
                Comparison::NotIn(operands) => Comparison::NotIn(ascending(operands)),
                other => other,
            },
        },
        test => test.clone(),
    }
}

/// `operands` in order, if they are texts, whose comparing is dear: each segment needs them so, and
/// finds that they are at once.
fn ascending(mut operands: Vec<Scalar>) -> Vec<Scalar> {
    if operands.iter().all(|one| matches!(one, Scalar::Str(_))) {
        operands.sort_unstable_by(|left, right| match (left, right) {
            (Scalar::Str(left), Scalar::Str(right)) => left.cmp(right),
            _ => Ordering::Equal,
        });
    }
    operands
}

fn list(mut members: Vec<Filter>, make: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    if members.len() == 1 {
        return members.swap_remove(0);
    }
    members.sort_by_key(cost);
    make(members)
}

/// What a test costs, roughly: ids are looked up, metadata is read in columns, documents are read
/// whole.
fn cost(filter: &Filter) -> u32 {
    match filter {
        Filter::Id { .. } => 0,
        Filter::Metadata { .. } => 1,
        Filter::Document(DocumentTest::Contains(_) | DocumentTest::NotContains(_)) => 100,
        Filter::Document(DocumentTest::Regex(_) | DocumentTest::NotRegex(_)) => 200,
        Filter::And(members) | Filter::Or(members) => {
            members.iter().map(cost).fold(1, u32::saturating_add)
        }
    }
}

/// Joins the members that one test can stand for: under "or" equalities, under "and" inequalities.
fn joined(members: Vec<Filter>, any: bool) -> Vec<Filter> {
    let mut left = Vec::with_capacity(members.len());
    let mut groups: HashMap<Group, Vec<Scalar>> = HashMap::new();
    let mut order = Vec::new();
    let mut ids: Option<Vec<String>> = None;
    for member in members {
        match member {
            Filter::Metadata { key, comparison } => match operands(comparison, any) {
                Ok(operands) => {
                    let kind = discriminant(&operands[0]);
                    let group = groups.entry((key.clone(), kind)).or_insert_with(|| {
                        order.push((key, kind));
                        Vec::new()
                    });
                    group.extend(operands);
                }
                Err(comparison) => left.push(Filter::Metadata { key, comparison }),
            },
            // "One of these or one of those", "none of these and none of those".
            Filter::Id { ids: more, negated } if negated != any => {
                ids.get_or_insert_default().extend(more);
            }
            other => left.push(other),
        }
    }
    for group in order {
        let operands = groups.remove(&group).expect("each group was put in once");
        let comparison = match (any, <[Scalar; 1]>::try_from(operands)) {
            (true, Ok([one])) => Comparison::Equal(one),
            (true, Err(many)) => Comparison::In(ascending(many)),
            (false, Ok([one])) => Comparison::NotEqual(one),
            (false, Err(many)) => Comparison::NotIn(ascending(many)),
        };
        left.push(Filter::Metadata {
            key: group.0,
            comparison,
        });
    }
    if let Some(ids) = ids {
        left.push(Filter::Id { ids, negated: !any });
    }
    left
}

/// The operands of a test that can be joined with others; at least one, all of one type.
fn operands(comparison: Comparison, any: bool) -> Result<Vec<Scalar>, Comparison> {
    match comparison {
        Comparison::Equal(scalar) if any => Ok(vec![scalar]),
        Comparison::NotEqual(scalar) if !any => Ok(vec![scalar]),
        Comparison::In(scalars) if any && of_one_type(&scalars) => Ok(scalars),
        Comparison::NotIn(scalars) if !any && of_one_type(&scalars) => Ok(scalars),
        other => Err(other),
    }
}

fn of_one_type(scalars: &[Scalar]) -> bool {
    scalars.first().is_some_and(|first| {
        scalars
            .iter()
            .all(|other| discriminant(other) == discriminant(first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(key: &str, comparison: Comparison) -> Filter {
        Filter::Metadata {
            key: key.into(),
            comparison,
        }
    }

    fn equal(key: &str, value: i64) -> Filter {
        test(key, Comparison::Equal(Scalar::Int(value)))
    }

    fn check(filter: &Filter, expected: &str) {
        assert_eq!(format!("{:?}", normal(filter)), expected);
    }

    #[test]
    fn texts_are_put_in_order_and_others_stay() {
        let text = |text: &str| Scalar::Str(text.into());
        let given = vec![text("b"), text("a"), text("ab"), text("a")];
        let ordered = vec![text("a"), text("a"), text("ab"), text("b")];
        for make in [Comparison::In, Comparison::NotIn] {
            let found = normal(&test("k", make(given.clone())));
            assert_eq!(found, test("k", make(ordered.clone())));
            let mixed = test("k", make(vec![text("b"), Scalar::Int(1), text("a")]));
            assert_eq!(normal(&mixed), mixed);
        }
        let either = given
            .iter()
            .map(|one| test("k", Comparison::Equal(one.clone())));
        let found = normal(&Filter::Or(either.collect()));
        assert_eq!(found, test("k", Comparison::In(ordered)));
    }

    #[test]
    fn equalities_under_or_become_one_test_for_each_key_and_type() {
        let text = test("a", Comparison::Equal(Scalar::Str("x".into())));
        let nested = Filter::Or(vec![equal("a", 2), equal("b", 3)]);
        let list = test("a", Comparison::In(vec![Scalar::Int(4), Scalar::Int(5)]));
        check(
            &Filter::Or(vec![equal("a", 1), text, nested, list]),
            "Or([Metadata { key: \"a\", comparison: In([Int(1), Int(2), Int(4), Int(5)]) }, \
             Metadata { key: \"a\", comparison: Equal(Str(\"x\")) }, \
             Metadata { key: \"b\", comparison: Equal(Int(3)) }])",
        );
    }

    #[test]
    fn inequalities_under_and_become_one_test_and_equalities_do_not() {
        let not = |value| test("a", Comparison::NotEqual(Scalar::Int(value)));
        check(
            &Filter::And(vec![not(1), not(2)]),
            "Metadata { key: \"a\", comparison: NotIn([Int(1), Int(2)]) }",
        );
        check(
            &Filter::And(vec![equal("a", 1), equal("a", 2)]),
            "And([Metadata { key: \"a\", comparison: Equal(Int(1)) }, \
             Metadata { key: \"a\", comparison: Equal(Int(2)) }])",
        );
        check(
            &Filter::Or(vec![not(1), not(2)]),
            "Or([Metadata { key: \"a\", comparison: NotEqual(Int(1)) }, \
             Metadata { key: \"a\", comparison: NotEqual(Int(2)) }])",
        );
    }

    #[test]
    fn empty_lists_stay_and_mean_all_and_none() {
        check(&Filter::And(vec![]), "And([])");
        check(&Filter::Or(vec![]), "Or([])");
        check(&Filter::And(vec![Filter::And(vec![])]), "And([])");
        check(&Filter::Or(vec![Filter::And(vec![])]), "And([])");
        check(&Filter::And(vec![Filter::Or(vec![])]), "Or([])");
    }

    #[test]
    fn dear_tests_come_last() {
        let document = Filter::Document(DocumentTest::Contains("x".into()));
        let ids = Filter::Id {
            ids: vec!["a".into()],
            negated: false,
        };
        let filter = Filter::And(vec![document, equal("a", 1), ids]);
        check(
            &filter,
            "And([Id { ids: [\"a\"], negated: false }, \
             Metadata { key: \"a\", comparison: Equal(Int(1)) }, Document(Contains(\"x\"))])",
        );
    }

    #[test]
    fn ids_are_joined_where_that_means_the_same() {
        let ids = |id: &str, negated| Filter::Id {
            ids: vec![id.into()],
            negated,
        };
        check(
            &Filter::Or(vec![ids("a", false), ids("b", false)]),
            "Id { ids: [\"a\", \"b\"], negated: false }",
        );
        check(
            &Filter::And(vec![ids("a", true), ids("b", true)]),
            "Id { ids: [\"a\", \"b\"], negated: true }",
        );
        check(
            &Filter::And(vec![ids("a", false), ids("b", false)]),
            "And([Id { ids: [\"a\"], negated: false }, Id { ids: [\"b\"], negated: false }])",
        );
    }
}
