//! Groups that are there are found, and edges are no trouble.

use super::weighted_clusters;
use crate::Matrix;
use crate::random::Dice;

#[test]
fn groups_that_lie_apart_are_found() {
    let mut dice = Dice::new(2);
    let mut rows = Vec::new();
    for at in 0..300 {
        rows.extend([f64::from(at % 3) * 10.0 + dice.normal(), dice.normal()].map(|v| v as f32));
    }
    let groups = weighted_clusters(Matrix::new(&rows, 2), &[1.0; 300], 3, 5);
    assert_eq!(groups.len(), 3);
    for group in &groups {
        assert_eq!(group.len(), 100);
        assert!(group.iter().all(|row| row % 3 == group[0] % 3));
        assert!(group.is_sorted());
    }
    assert_eq!(
        groups,
        weighted_clusters(Matrix::new(&rows, 2), &[1.0; 300], 3, 5)
    );
}

#[test]
fn equal_few_and_weightless_rows_are_no_trouble() {
    let equal = weighted_clusters(Matrix::new(&[3.0; 10], 2), &[1.0; 5], 4, 1);
    assert_eq!(equal, [[0, 1, 2, 3, 4]]);
    assert!(weighted_clusters(Matrix::new(&[], 2), &[], 4, 1).is_empty());
    assert!(weighted_clusters(Matrix::new(&[1.0], 1), &[1.0], 0, 1).is_empty());
    let weightless = weighted_clusters(Matrix::new(&[1.0, 2.0], 1), &[0.0; 2], 2, 1);
    assert_eq!(weightless.iter().map(Vec::len).sum::<usize>(), 2);
    let two = weighted_clusters(Matrix::new(&[1.0, 2.0], 1), &[1.0; 2], 9, 1);
    assert_eq!(two.len(), 2);
}
