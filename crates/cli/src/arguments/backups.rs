//! What can be said of backups on the command line.

use std::path::PathBuf;

use clap::Args;
use vermilion_engine::model::{DEFAULT_DATABASE, DEFAULT_TENANT};

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The folder of the backups of this database; it is made if it is not there.
    #[arg(value_name = "DEST")]
    pub(crate) destination: PathBuf,
    /// The data folder, which no server may have open.
    #[arg(long, default_value = "./vermilion-data", conflicts_with = "url")]
    pub(crate) path: PathBuf,
    /// A running server, such as http://localhost:8000.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Make a full backup even where an incremental one would do.
    #[arg(long)]
    pub(crate) full: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder of the backups.
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// The data folder to build, which must not be there yet.
    #[arg(
        value_name = "DEST",
        required_unless_present = "url",
        conflicts_with = "url"
    )]
    pub(crate) destination: Option<PathBuf>,
    /// A running server that brings a collection back, such as http://localhost:8000.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The collection that the server brings back (its name or id in the backup).
    #[arg(long, value_name = "NAME", requires = "url")]
    pub(crate) collection: Option<String>,
    /// The name that it gets there, which must be free [default: the same].
    #[arg(long = "as", value_name = "NAME", requires = "collection")]
    pub(crate) name: Option<String>,
    /// The tenant of the collection.
    #[arg(long, default_value = DEFAULT_TENANT)]
    pub(crate) tenant: String,
    /// The database of the collection.
    #[arg(long, default_value = DEFAULT_DATABASE)]
    pub(crate) database: String,
    /// Up to and with this SeqId of a collection (by name or id); more than one may be given.
    #[arg(long, value_name = "COLLECTION=SEQID", conflicts_with = "to_time")]
    pub(crate) to_seq: Vec<String>,
    /// As of this time in UTC, such as 2026-11-21T03:55:00Z, or nanoseconds since 1970.
    #[arg(long, value_name = "TIME")]
    pub(crate) to_time: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backups {
    /// The folder of the backups.
    #[arg(value_name = "DEST")]
    pub(crate) destination: PathBuf,
    /// Read every file and check it.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
