//! Layouts keep groups together, and are the same however the work is cut.

use super::edges::edges;
use super::{Layout, LayoutOptions, place, principal_start};
use crate::random::Dice;
use crate::{Graph, Matrix, nearest};

const DIMENSION: usize = 12;

/// Five groups in many dimensions.
fn rows(count: usize) -> Vec<f32> {
    let mut dice = Dice::new(3);
    let mut rows = Vec::new();
    for at in 0..count {
        let centre = |axis: usize| if axis == at % 5 { 4.0 } else { 0.5 };
        rows.extend((0..DIMENSION).map(|axis| (centre(axis) + 0.7 * dice.normal()) as f32));
    }
    rows
}

/// The share of the ten nearest points that are of the same group.
fn purity(points: &[[f32; 2]]) -> f64 {
    let mut same = 0;
    for (row, point) in points.iter().enumerate() {
        let apart =
            |other: &[f32; 2]| (other[0] - point[0]).powi(2) + (other[1] - point[1]).powi(2);
        let mut order: Vec<usize> = (0..points.len()).filter(|&other| other != row).collect();
        order.sort_by(|&a, &b| apart(&points[a]).total_cmp(&apart(&points[b])));
        same += order[..10]
            .iter()
            .filter(|&&other| other % 5 == row % 5)
            .count();
    }
    same as f64 / (10 * points.len()) as f64
}

#[test]
fn rows_of_a_group_are_neighbours_on_the_plane_and_new_ones_join_them() {
    let numbers = rows(250);
    let all = Matrix::new(&numbers, DIMENSION);
    let old = all.slice(0, 200);
    let start = principal_start(old, 1);
    let before = purity(&start);
    let points = Layout::new(
        &nearest(old, old, 15, true),
        start,
        LayoutOptions::default(),
    )
    .finish();
    assert!(points.iter().flatten().all(|value| value.is_finite()));
    let after = purity(&points);
    assert!(
        after > 0.98 && after > before,
        "{before} before, {after} after"
    );
    let placed = place(&points, &nearest(old, all.slice(200, 50), 15, false));
    let mut together = points.clone();
    together.extend(placed);
    assert!(purity(&together) > 0.97);
    // A refit from there keeps old places.
    let options = LayoutOptions {
        learning_rate: 0.1,
        epochs: Some(50),
        ..LayoutOptions::default()
    };
    let again = Layout::new(&nearest(all, all, 15, true), together, options).finish();
    assert!(purity(&again) > 0.97);
    let moved = points
        .iter()
        .zip(&again)
        .map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
    let width = points
        .iter()
        .flatten()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(moved.sum::<f32>() / 200.0 < 0.2 * width);
}

#[test]
fn a_new_row_is_placed_among_most_of_its_neighbours_not_between_them_and_the_rest() {
    // Three rows of one group and two of another, all as near.
    let rows = [0.0, 1.0, 2.0, 1.0, 1.0].map(|shift| [1.0_f32, shift / 1e6]);
    let rows = rows.as_flattened();
    let points = [[0.0, 0.0], [0.2, 0.0], [0.0, 0.2], [9.0, 9.0], [9.1, 9.0]];
    let old = Matrix::new(rows, 2);
    let new = [1.0, 0.0];
    let placed = place(&points, &nearest(old, Matrix::new(&new, 2), 5, false))[0];
    assert!(placed[0].hypot(placed[1]) < 0.6, "{placed:?}");
    // One neighbour alone gives its own place.
    let alone = place(
        &points,
        &nearest(old.slice(3, 1), Matrix::new(&new, 2), 1, false),
    )[0];
    assert!(alone[0].abs() < 0.01 && alone[1].abs() < 0.01, "{alone:?}");
}

#[test]
fn a_layout_does_not_depend_on_how_its_work_is_cut() {
    let numbers = rows(60);
    let all = Matrix::new(&numbers, DIMENSION);
    let graph = nearest(all, all, 8, true);
    let options = LayoutOptions {
        epochs: Some(20),
        ..LayoutOptions::default()
    };
    let whole = Layout::new(&graph, principal_start(all, 1), options).finish();
    let mut parts = Layout::new(&graph, principal_start(all, 1), options);
    let mut steps = 0;
    while parts.advance(37) {
        steps += 1;
        assert!(parts.progress() < 1.0);
    }
    assert!(steps > 10 && (parts.progress() - 1.0).abs() < 1e-12);
    assert_eq!(parts.points(), whole);
}

#[test]
fn edges_join_what_both_sides_say() {
    let graph = Graph::new(vec![0, 2, 3, 4], vec![1, 2, 0, 0], vec![0.2, 0.5, 0.2, 0.5]);
    let found = edges(&graph);
    assert_eq!(
        found.iter().map(|edge| edge.rows).collect::<Vec<_>>(),
        [[0, 1], [0, 2]]
    );
    assert!((found[0].strength - 1.0).abs() < 1e-6);
    // From row 0 the second of two: strengths 1 and x with 1 + x = log2 2, so none; from row 2 it is the nearest.
    assert!((found[1].strength - 1.0).abs() < 1e-3);
    let numbers = rows(80);
    let all = Matrix::new(&numbers, DIMENSION);
    let graph = nearest(all, all, 10, true);
    let strengths = edges(&graph);
    assert!(
        strengths
            .iter()
            .all(|edge| edge.strength > 0.0 && edge.strength <= 1.0)
    );
    let mut pairs: Vec<[u32; 2]> = strengths
        .iter()
        .map(|edge| {
            [
                edge.rows[0].min(edge.rows[1]),
                edge.rows[0].max(edge.rows[1]),
            ]
        })
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    assert_eq!(pairs.len(), strengths.len());
}

#[test]
fn equal_single_and_lonely_rows_have_places() {
    for count in [0, 1, 2, 9] {
        let numbers = vec![2.0; count * DIMENSION];
        let all = Matrix::new(&numbers, DIMENSION);
        let points = Layout::new(
            &nearest(all, all, 5, true),
            principal_start(all, 1),
            LayoutOptions::default(),
        )
        .finish();
        assert!(points.len() == count && points.iter().flatten().all(|value| value.is_finite()));
    }
    let one = principal_start(Matrix::new(&[1.0, 5.0, 3.0], 1), 1);
    assert!(one.iter().all(|point| point[1].abs() < 0.01) && one[1][0] > one[2][0]);
    let lonely = place(
        &[[1.0, 2.0], [3.0, 4.0]],
        &Graph::new(vec![0, 0], vec![], vec![]),
    );
    assert_eq!(lonely, [[2.0, 3.0]]);
    assert_eq!(
        place(&[], &Graph::new(vec![0], vec![], vec![])),
        [[0.0; 2]; 0]
    );
}
