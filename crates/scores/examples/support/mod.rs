//! Arrays in files for the programs that measure: `.npy` of `float32` and `int64` with one or two dimensions.
//!
//! What must stay true: a file that cannot be read or has another type stops the program and says which it was.

use std::path::Path;

/// An array: its columns (1 where it has one dimension), and its numbers.
pub(crate) struct Array<T> {
    pub(crate) columns: usize,
    pub(crate) numbers: Vec<T>,
}

fn table(path: &Path, kind: &str) -> Option<(usize, Vec<u8>)> {
    let file = std::fs::read(path).ok()?;
    let head = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let text = String::from_utf8_lossy(&file[10..head]).into_owned();
    assert!(
        text.contains(kind) && text.contains("'fortran_order': False"),
        "{}: {text} is not in C order of {kind}",
        path.display()
    );
    let shape = text.split("'shape': (").nth(1).expect("a shape");
    let shape = shape.split(')').next().expect("an end of the shape");
    let columns = shape.split(',').nth(1).map_or("", str::trim);
    let columns = if columns.is_empty() {
        1
    } else {
        columns.parse().expect("a number of columns")
    };
    Some((columns, file[head..].to_vec()))
}

/// Numbers of `float32`, if the file is there.
pub(crate) fn floats(folder: &Path, name: &str) -> Option<Array<f32>> {
    let (columns, bytes) = table(&folder.join(name), "<f4")?;
    let numbers = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&four| f32::from_le_bytes(four));
    Some(Array {
        columns,
        numbers: numbers.collect(),
    })
}

/// Numbers of `int64` that are not negative and small, if the file is there.
pub(crate) fn counts(folder: &Path, name: &str) -> Option<Array<u32>> {
    let (columns, bytes) = table(&folder.join(name), "<i8")?;
    let number =
        |&eight: &[u8; 8]| u32::try_from(i64::from_le_bytes(eight)).expect("a small number");
    Some(Array {
        columns,
        numbers: bytes.as_chunks::<8>().0.iter().map(number).collect(),
    })
}

/// Writes `float64` with `columns` columns.
pub(crate) fn write(folder: &Path, name: &str, columns: usize, numbers: &[f64]) {
    let rows = numbers.len() / columns;
    let mut head =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length = (10 + head.len() + 1).next_multiple_of(64) - 10;
    head = format!("{head:<width$}\n", width = length - 1);
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((length as u16).to_le_bytes());
    file.extend(head.as_bytes());
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    let path = folder.join(name);
    std::fs::write(&path, file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
