//! The search against comparing pair by pair in `f64`.

use proptest::prelude::*;

use super::{Graph, nearest};
use crate::Matrix;
use crate::random::Dice;

fn unit(row: &[f32]) -> Vec<f64> {
    let norm = row
        .iter()
        .map(|&v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    row.iter().map(|&v| f64::from(v) / norm).collect()
}

fn naive(reference: Matrix<'_>, query: &[f32], out: Option<usize>) -> Vec<(f64, usize)> {
    let query = unit(query);
    let apart = |row: &[f32]| {
        unit(row)
            .iter()
            .zip(&query)
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f64>()
            .sqrt()
    };
    let rows = reference
        .rows()
        .enumerate()
        .filter(|(at, _)| Some(*at) != out);
    let mut found: Vec<(f64, usize)> = rows.map(|(at, row)| (apart(row), at)).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

fn check(numbers: &[f32], queries: &[f32], dimension: usize, count: usize, same: bool) {
    let (rows, asked) = (
        Matrix::new(numbers, dimension),
        Matrix::new(queries, dimension),
    );
    let graph = nearest(rows, asked, count, same);
    assert_eq!(graph.len(), asked.len());
    for (at, query) in asked.rows().enumerate() {
        let truth = naive(rows, query, same.then_some(at));
        assert_eq!(graph.neighbours(at).len(), count.min(truth.len()));
        assert!(graph.distances(at).is_sorted());
        for ((row, distance), (wanted, _)) in graph.edges(at).zip(&truth) {
            assert!(
                (f64::from(distance) - wanted).abs() < 1e-5,
                "{distance} is not {wanted}"
            );
            let own = truth.iter().find(|found| found.1 == row).unwrap().0;
            assert!((f64::from(distance) - own).abs() < 1e-5);
        }
    }
}

#[test]
fn the_nearest_of_many_tiles_are_found_and_near_duplicates_told_apart() {
    let mut dice = Dice::new(5);
    let mut numbers: Vec<f32> = (0..2500 * 8).map(|_| dice.normal() as f32).collect();
    // Duplicates, a hair's breadth apart, and a row of zeros.
    for at in 0..8 {
        numbers[1500 * 8 + at] = numbers[at] * 3.0;
        numbers[2100 * 8 + at] = numbers[at] + if at == 2 { 1e-4 } else { 0.0 };
        numbers[900 * 8 + at] = 0.0;
    }
    check(&numbers, &numbers, 8, 15, true);
    let graph = nearest(Matrix::new(&numbers, 8), Matrix::new(&numbers, 8), 3, true);
    assert_eq!(graph.neighbours(0)[..2], [1500, 2100]);
}

#[test]
fn searches_of_nothing_find_nothing() {
    let rows = [1.0, 2.0];
    assert_eq!(
        nearest(Matrix::new(&rows, 2), Matrix::new(&rows, 2), 5, true).neighbours(0),
        [0_u32; 0]
    );
    assert_eq!(
        nearest(Matrix::new(&[], 2), Matrix::new(&rows, 2), 5, false).len(),
        1
    );
    assert!(nearest(Matrix::new(&rows, 2), Matrix::new(&[], 2), 5, false).is_empty());
}

#[test]
#[should_panic(expected = "do not divide")]
fn offsets_that_do_not_fit_are_refused() {
    Graph::new(vec![0, 2, 1], vec![0], vec![0.5]);
}

proptest! {
    #[test]
    fn the_search_agrees_with_comparing_pair_by_pair(
        seed in 0_u64..1000, rows in 1_usize..60, asked in 1_usize..20, dimension in 1_usize..9, count in 1_usize..20,
    ) {
        let mut dice = Dice::new(seed);
        let mut make = |count: usize| -> Vec<f32> {
            (0..count * dimension).map(|_| dice.normal() as f32).collect()
        };
        let (numbers, queries) = (make(rows), make(asked));
        check(&numbers, &queries, dimension, count, false);
        check(&numbers, &numbers, dimension, count, true);
    }
}

#[test]
fn the_fuller_of_two_graphs_is_taken_row_by_row() {
    let few = Graph::new(vec![0, 1, 3], vec![1, 0, 1], vec![0.5, 0.1, 0.2]);
    let other = Graph::new(vec![0, 2, 2], vec![0, 1], vec![0.3, 0.4]);
    let both = Graph::new(vec![0, 2, 4], vec![0, 1, 0, 1], vec![0.3, 0.4, 0.1, 0.2]);
    assert_eq!(few.or_fuller(&other), both);
    assert_eq!(few.or_fuller(&few), few);
}
