//! Folders that commands are given by name.
//!
//! What must stay true: a folder that a command reads is never made by it; a command that is no
//! server does no work of its own accord.

use std::path::Path;

use vermilion_engine::{Config, Database, ErrorKind};

use crate::failure::Failure;

/// Fails where there is no folder `path`; `hint` says what to name instead.
pub(crate) fn must_be_there(path: &Path, hint: &str) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    Err(Failure::new(format!("there is no folder {}", path.display())).hint(hint))
}

/// Opens the data folder `path`, which must be there, without threads that look after it.
pub(crate) fn open_quietly(path: &Path) -> Result<Database, Failure> {
    must_be_there(
        path,
        "name the data folder with --path, or a running server with --url",
    )?;
    let open = || {
        let mut config = Config::at(path)?;
        config.upkeep.background = false;
        Database::open(config)
    };
    open().map_err(|error| {
        let damaged = error.kind() == ErrorKind::Corrupted;
        let failure = Failure::from(error).context(format!("cannot open {}", path.display()));
        if damaged {
            return failure;
        }
        failure.hint("if a server has the folder open, name the server with --url instead")
    })
}
