//! Files that commands read and write by name.
//!
//! What must stay true: a failure says which file it was; a file that is written has its name only when it is
//! whole, and replaces another only where that is asked for.

use std::fs::File;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Opens a file to read it.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let doing = || format!("cannot open {}", path.display());
    File::open(path).map_err(|error| Failure::from(error).context(doing()))
}

/// Appends the next line of `input`, which messages call `name`, with its end; 0 bytes at the end.
pub(crate) fn read_line(
    input: &mut impl BufRead,
    name: &str,
    line: &mut Vec<u8>,
) -> Result<usize, Failure> {
    let doing = || format!("cannot read {name}");
    let read = input.read_until(b'\n', line);
    read.map_err(|error| Failure::from(error).context(doing()))
}

/// A file holds fewer records than an earlier run read of it.
pub(crate) fn too_short(name: &str) -> Failure {
    Failure::new(format!("{name} has become shorter")).hint("run it with --restart")
}

/// Refuses a file that is there, unless it is to be replaced.
pub(crate) fn check_free(path: &Path, overwrite: bool) -> Result<(), Failure> {
    if overwrite || !path.exists() {
        return Ok(());
    }
    Err(Failure::new(format!("{} is there already", path.display()))
        .hint("choose another name, or add --overwrite"))
}

/// The name of a file that is not whole yet.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut partial = path.to_owned();
    partial.add_extension("partial");
    partial
}

/// Why a file cannot be written.
pub(crate) fn cannot_write(path: &Path, error: io::Error) -> Failure {
    Failure::from(error).context(format!("cannot write {}", path.display()))
}
