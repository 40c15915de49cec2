//! The little linear algebra that class statistics and reductions need: symmetric matrices of at most some hundred
//! rows, as their lower triangles row after row.
//!
//! What must stay true: everything is of `f64`. A factorisation of a matrix that is positive definite on paper never
//! fails: what rounding took from its diagonal is given back.

/// Where element (`row`, `column`) of a lower triangle stands; `column` is at most `row`.
pub(crate) fn place(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// How many numbers the lower triangle of `rows` rows has.
pub(crate) fn triangle(rows: usize) -> usize {
    rows * (rows + 1) / 2
}

/// The sum of the diagonal.
pub(crate) fn trace(matrix: &[f64], rows: usize) -> f64 {
    (0..rows).map(|row| matrix[place(row, row)]).sum()
}

/// The sum of the squares of all elements, both triangles.
pub(crate) fn squared_sum(matrix: &[f64], rows: usize) -> f64 {
    let both: f64 = matrix.iter().map(|value| 2.0 * value * value).sum();
    let diagonal = (0..rows).map(|row| matrix[place(row, row)].powi(2));
    both - diagonal.sum::<f64>()
}

/// Adds `weight` times the product of `vector` with itself.
pub(crate) fn add_outer(matrix: &mut [f64], vector: &[f64], weight: f64) {
    let mut rest = matrix;
    for (row, &value) in vector.iter().enumerate() {
        let (line, below) = rest.split_at_mut(row + 1);
        let scaled = weight * value;
        for (element, other) in line.iter_mut().zip(vector) {
            *element += scaled * other;
        }
        rest = below;
    }
}

/// The sum of the products of two vectors.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_parts, a_rest) = a.as_chunks::<4>();
    let (b_parts, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a_parts.iter().zip(b_parts) {
        for at in 0..4 {
            sums[at] += a[at] * b[at];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// `a` less `b`, of numbers of any width.
pub(crate) fn difference(a: &[f32], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) - b).collect()
}

/// Where the highest of `values` is, the first of equals; `None` where there is none above minus infinity.
pub(crate) fn highest(values: &[f64]) -> Option<usize> {
    let mut best = (None, f64::NEG_INFINITY);
    for (at, &value) in values.iter().enumerate() {
        if value > best.1 {
            best = (Some(at), value);
        }
    }
    best.0
}

/// Probabilities in proportion to the exponentials of `logs`; zeros where none is above minus infinity.
pub(crate) fn softmax(mut logs: Vec<f64>) -> Vec<f64> {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        logs.fill(0.0);
        return logs;
    }
    let mut sum = 0.0;
    for log in &mut logs {
        *log = (*log - most).exp();
        sum += *log;
    }
    logs.iter_mut().for_each(|value| *value /= sum);
    logs
}

/// The lower triangle L of a positive definite matrix L L'.
#[derive(Clone, Debug)]
pub(crate) struct Cholesky {
    rows: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factorises `matrix`, which is positive definite but for rounding: where a pivot is not positive, the diagonal
    /// is raised by the least power of ten, relative to its mean, that makes every pivot positive.
    pub(crate) fn of_definite(matrix: &[f64], rows: usize) -> Self {
        let mean = (trace(matrix, rows) / rows as f64).max(f64::MIN_POSITIVE);
        let mut raised = 0.0;
        loop {
            if let Some(lower) = factorise(matrix, rows, raised) {
                return Self { rows, lower };
            }
            raised = if raised == 0.0 {
                1e-14 * mean
            } else {
                raised * 10.0
            };
        }
    }

    /// Solves L y = `vector` in place, after which the squared length is `vector`' M^-1 `vector`.
    pub(crate) fn solve_lower(&self, vector: &mut [f64]) {
        for row in 0..self.rows {
            let line = &self.lower[place(row, 0)..=place(row, row)];
            let known = dot(&line[..row], &vector[..row]);
            vector[row] = (vector[row] - known) / line[row];
        }
    }

    /// Solves L' x = `vector` in place.
    pub(crate) fn solve_upper(&self, vector: &mut [f64]) {
        for row in (0..self.rows).rev() {
            let line = &self.lower[place(row, 0)..=place(row, row)];
            vector[row] /= line[row];
            let (above, value) = (&line[..row], vector[row]);
            vector
                .iter_mut()
                .zip(above)
                .for_each(|(left, element)| *left -= element * value);
        }
    }

    /// The logarithm of the determinant of the matrix.
    pub(crate) fn log_determinant(&self) -> f64 {
        let logs = (0..self.rows).map(|row| self.lower[place(row, row)].ln());
        2.0 * logs.sum::<f64>()
    }
}

fn factorise(matrix: &[f64], rows: usize, raised: f64) -> Option<Vec<f64>> {
    let mut lower = matrix.to_vec();
    for row in 0..rows {
        let (above, line) = lower.split_at_mut(place(row, 0));
        for column in 0..row {
            let other = &above[place(column, 0)..=place(column, column)];
            let known = dot(&line[..column], &other[..column]);
            line[column] = (line[column] - known) / other[column];
        }
        let pivot = line[row] + raised - dot(&line[..row], &line[..row]);
        // Also where it is not a number, so that the caller raises the diagonal.
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        line[row] = pivot.sqrt();
    }
    Some(lower)
}

/// The eigenvalues of a symmetric matrix given whole, highest first, and for each its vector, by rotations of Jacobi
/// in cyclic order (Golub and Van Loan, Matrix Computations, section 8.5).
pub(crate) fn eigen(mut matrix: Vec<f64>, rows: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut vectors = vec![0.0; rows * rows];
    (0..rows).for_each(|row| vectors[row * rows + row] = 1.0);
    for _ in 0..30 {
        let size: f64 = matrix.iter().map(|value| value * value).sum();
        let diagonal: f64 = (0..rows).map(|row| matrix[row * rows + row].powi(2)).sum();
        if size - diagonal <= 1e-24 * size {
            break;
        }
        for row in 0..rows {
            for column in row + 1..rows {
                rotate(&mut matrix, &mut vectors, rows, row, column);
            }
        }
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|&a, &b| matrix[b * rows + b].total_cmp(&matrix[a * rows + a]));
    let values = order.iter().map(|&at| matrix[at * rows + at]).collect();
    let vectors = order
        .iter()
        .map(|&at| vectors[at * rows..(at + 1) * rows].to_vec())
        .collect();
    (values, vectors)
}

/// Makes element (`p`, `q`) of `matrix` 0 by a rotation, which `vectors`, in rows, go along with.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], rows: usize, p: usize, q: usize) {
    let off = matrix[p * rows + q];
    if off == 0.0 {
        return;
    }
    let theta = (matrix[q * rows + q] - matrix[p * rows + p]) / (2.0 * off);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    let turn = |a: f64, b: f64| (cosine * a - sine * b, sine * a + cosine * b);
    for row in 0..rows {
        let (left, right) = turn(matrix[row * rows + p], matrix[row * rows + q]);
        matrix[row * rows + p] = left;
        matrix[row * rows + q] = right;
    }
    for numbers in [matrix, vectors] {
        let (above, below) = numbers.split_at_mut(q * rows);
        let upper = &mut above[p * rows..(p + 1) * rows];
        for (a, b) in upper.iter_mut().zip(below) {
            (*a, *b) = turn(*a, *b);
        }
    }
}
