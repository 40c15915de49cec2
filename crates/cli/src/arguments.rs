//! What can be said on the command line.
//!
//! What must stay true: the flags of `serve` come from the declarations of the settings, so that a
//! setting is declared once.

mod backups;
mod curation;
mod embed;

use std::path::PathBuf;

use clap::{ArgMatches, Args, Parser, Subcommand, ValueEnum};
use vermilion_engine::model::{DEFAULT_DATABASE, DEFAULT_TENANT, Space};
use vermilion_server::settings::DECLARATIONS;

pub(crate) use backups::{Backup, Backups, Restore};
pub(crate) use curation::{
    Claim, Curation, CurationCommand, CurationExport, CurationMap, Drift, Head, NewTrigger,
    Recommend, RetrainCommand, RetrainList, RetrainStart, ShouldUpload, TriggerCommand, Upload,
};
pub(crate) use embed::{Embed, ModelFlags};

/// The database for embeddings: one program, one data folder, every Chroma client.
#[derive(Debug, Parser)]
#[command(
    name = "vermilion",
    about = "An embedding database: one program, one data folder, and every Chroma client works with it.",
    disable_version_flag = true,
    after_help = "Five minutes:\n  \
        vermilion demo                          load 3,000 real records, search them, keep serving\n  \
        vermilion serve --path ./data           serve a folder of your own on port 8000\n  \
        vermilion import FILE --collection my   load JSONL, CSV or Parquet into ./vermilion-data\n  \
        vermilion inspect --path ./data         see what a folder holds\n\n\
        From Python: pip install chromadb, then chromadb.HttpClient(port=8000)."
)]
pub(crate) struct Arguments {
    /// Print the version; with -v also what was built in.
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
    /// Say more.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a data folder over HTTP until SIGINT or SIGTERM.
    #[command(after_help = "Examples:\n  \
            vermilion serve --path ./data\n  \
            vermilion serve --config vermilion.yaml --port 9000\n  \
            VERMILION_LOG_LEVEL=debug vermilion serve\n\n\
            A flag wins over an environment variable, and that over the configuration file.")]
    Serve(Serve),
    /// Serve with the flags and the configuration file of `chroma run`.
    #[command(
        after_help = "Example:\n  vermilion run --path ./chroma-data --host localhost --port 8000"
    )]
    Run(Run),
    /// Load 3,000 real records, search them, show the write path, and keep serving.
    Demo(Demo),
    /// Make vectors of texts by the model all-MiniLM-L6-v2.
    #[command(after_help = embed::EXAMPLES)]
    Embed(Embed),
    /// Load records from a JSONL, CSV or Parquet file; a rerun goes on after the last batch.
    #[command(
        after_help = "A record has an id and an embedding, and may have a document, metadata and a uri.\n\
            JSONL: {\"id\": \"a\", \"embedding\": [0.1, 0.2], \"document\": \"text\", \"metadata\": {\"k\": 1}, \"uri\": \"u\"}\n\
            (also base64 of little-endian f32 in `embedding`, or of f16 in `embedding_f16`; .json, .ndjson and .jsonl.zst are read too).\n\
            Parquet: columns id, embedding (list of floats), document, metadata (JSON text), uri.\n\
            CSV: the same columns, vectors as JSON lists.\n\
            Whatever else a line or a row has is metadata under its name.\n\
            With --embed, records without a vector get that of their document by the model all-MiniLM-L6-v2.\n\n\
            Examples:\n  \
            vermilion import records.jsonl --collection my --path ./data\n  \
            vermilion import records.parquet --collection my --url http://localhost:8000\n  \
            vermilion import articles.csv --collection my --embed --space cosine"
    )]
    Import(Import),
    /// Import every collection of a data folder or a server of Chroma, with its settings; a rerun goes on.
    #[command(after_help = "Examples:\n  \
            vermilion import-chroma ./chroma --path ./data\n  \
            vermilion import-chroma http://localhost:8000 --url http://localhost:9000\n  \
            vermilion import-chroma ./chroma --collection my\n\n\
            A folder must be one of Chroma 0.6 or 1.x that no program has open; it is only read. At the end\n\
            counts, ids and samples are compared.")]
    ImportChroma(ImportChroma),
    /// Write the records of a collection to a JSONL or Parquet file.
    #[command(after_help = "Examples:\n  \
            vermilion export records.jsonl --collection my --path ./data\n  \
            vermilion export - --collection my --url http://localhost:8000 | head\n\n\
            A JSONL export that was cut off goes on where it stopped when it is run again.")]
    Export(Export),
    /// Back up a data folder, or have a server back itself up: in full at first, then what is new.
    #[command(after_help = "Examples:\n  \
            vermilion backup ./backups --path ./data\n  \
            vermilion backup ./backups --path ./data --full\n  \
            vermilion backup nightly --url http://localhost:8000\n\n\
            A server needs the setting backup_folder, and DEST is the name of a folder in it.\n\
            An incremental backup becomes a full one, and says so, where it cannot carry on the one before.")]
    Backup(Backup),
    /// Build a data folder from backups: the newest state, a SeqId of a collection, or a time.
    #[command(after_help = "Examples:\n  \
            vermilion restore ./backups ./restored\n  \
            vermilion restore ./backups ./restored --to-seq notes=1200\n  \
            vermilion restore ./backups ./restored --to-time 2026-11-21T03:55:00Z\n  \
            vermilion restore nightly --url http://localhost:8000 --collection notes --as notes-before\n\n\
            The folder must not be there yet. Every file is checked; nothing damaged is restored. A server\n\
            brings one collection back beside what it has; SRC is then the name of a folder of its backups.")]
    Restore(Restore),
    /// List the backups in a folder; the exit status is 1 where any is damaged.
    Backups(Backups),
    /// Show what a data folder holds, without a lock and without changing a byte.
    Inspect(Look),
    /// Check every checksum in a data folder; the exit status is 1 where anything is damaged.
    Verify(Look),
    /// See and switch the parts of a running server, and run its jobs.
    #[command(after_help = "Examples:\n  \
            vermilion ctl status\n  \
            vermilion ctl run scrub --dry-run\n  \
            vermilion ctl pause maintenance --url http://localhost:9000\n  \
            vermilion ctl top\n\n\
            A server whose `scheduler_class` is `external` runs jobs only when asked: `vermilion ctl run --due`.")]
    Ctl(Ctl),
    /// Log what a model sees, and ask a server what to label and retrain on next.
    #[command(after_help = curation::EXAMPLES)]
    Curation(Curation),
    /// Make, list and revoke the API keys of a server.
    #[command(after_help = "Examples:\n  \
            vermilion key create admin --role admin --file keys.json\n  \
            vermilion key create app --role write --tenant default_tenant --file keys.json\n  \
            vermilion key revoke app --file keys.json\n\n\
            A server started with --access-file keys.json asks for a key with every request, and reads the\n\
            file again when it changes. Commands send the key in the variable VERMILION_API_KEY.")]
    Key(KeyRequest),
    /// Give the space of deleted rows in the catalogue back to the disk.
    #[command(
        after_help = "Examples:\n  vermilion vacuum --path ./data\n  vermilion vacuum --dry-run --url http://localhost:8000"
    )]
    Vacuum(Upkeep),
    /// Write segments and their indexes anew, without deleted rows.
    #[command(
        after_help = "Examples:\n  vermilion rebuild --path ./data\n  vermilion rebuild --collection my --url http://localhost:8000"
    )]
    Rebuild(Rebuild),
    /// Write what the log holds to segments, and let go of its files.
    #[command(
        after_help = "Examples:\n  vermilion prune --path ./data\n  vermilion prune --dry-run --url http://localhost:8000"
    )]
    Prune(Upkeep),
    /// Print the completion script of a shell.
    #[command(
        after_help = "Example:\n  vermilion completions bash > ~/.local/share/bash-completion/completions/vermilion"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// A configuration file: YAML, each setting by its name [env: VERMILION_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: SettingFlags,
}

/// What the flags of the settings said: name and text.
#[derive(Debug, Default)]
pub(crate) struct SettingFlags(pub(crate) Vec<(&'static str, String)>);

impl Args for SettingFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        DECLARATIONS.iter().fold(command, |command, one| {
            let default = one.default_shown();
            let help = format!(
                "{} [default: {default}] [env: {}]",
                one.summary(),
                one.variable()
            );
            let mut arg = clap::Arg::new(one.name)
                .long(one.flag())
                .value_name("VALUE")
                .allow_hyphen_values(false)
                .help(help);
            if one.is_switch {
                arg = arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let said = DECLARATIONS.iter().filter_map(|one| {
            let text = matches.get_one::<String>(one.name)?;
            Some((one.name, text.clone()))
        });
        Ok(Self(said.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A configuration file of Chroma (YAML).
    #[arg(value_name = "CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The data folder [default: ./chroma].
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// The address to listen on [default: localhost].
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// The port to listen on [default: 8000].
    #[arg(long)]
    pub(crate) port: Option<String>,
    /// Allow a public address although no API keys are asked for.
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The data folder.
    #[arg(long, default_value = "./vermilion-demo")]
    pub(crate) path: PathBuf,
    /// The port to serve on; where it is taken, the next free one.
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// End after the searches instead of serving.
    #[arg(long)]
    pub(crate) no_serve: bool,
}

/// Where the records are: in a folder or behind a server.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The data folder, which no server may have open.
    #[arg(long, default_value = "./vermilion-data", conflicts_with = "url")]
    pub(crate) path: PathBuf,
    /// A running server, such as http://localhost:8000.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The collection.
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: String,
    /// The tenant of the collection.
    #[arg(long, default_value = DEFAULT_TENANT)]
    pub(crate) tenant: String,
    /// The database of the collection.
    #[arg(long, default_value = DEFAULT_DATABASE)]
    pub(crate) database: String,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file: .jsonl, .jsonl.zst, .csv or .parquet.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Make vectors of the documents of records that have none.
    #[arg(long)]
    pub(crate) embed: bool,
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    /// How vectors are compared, where the collection is made.
    #[arg(long, value_enum, default_value_t = SpaceName::L2)]
    pub(crate) space: SpaceName,
    /// Records in one batch, which is written whole or not at all.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// Begin at the first record even where an earlier run was cut off.
    #[arg(long)]
    pub(crate) restart: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportChroma {
    /// The data folder of Chroma, or the address of a running server.
    pub(crate) from: String,
    /// The data folder to import into, which no server may have open.
    #[arg(long, default_value = "./vermilion-data", conflicts_with = "url")]
    pub(crate) path: PathBuf,
    /// A running server to import into, such as http://localhost:8000.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Only this tenant [default: all of a folder, default_tenant of a server].
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Only this database [default: all].
    #[arg(long)]
    pub(crate) database: Option<String>,
    /// Only the collections of this name [default: all].
    #[arg(long)]
    pub(crate) collection: Option<String>,
    /// Records in one batch, which is written whole or not at all.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// Records of each collection that are compared in full at the end.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) samples: u32,
    /// Leave out records whose vector the source has lost, and say how many.
    #[arg(long)]
    pub(crate) skip_incomplete: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file: .jsonl or .parquet, or - for JSONL on standard output.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Records fetched at once.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// Write the file anew where there is one.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// What is done with the keys of a file.
#[derive(Debug, Args)]
pub(crate) struct KeyRequest {
    #[command(subcommand)]
    pub(crate) what: KeyCommand,
    /// The file of keys.
    #[arg(
        long,
        global = true,
        env = "VERMILION_ACCESS_FILE",
        default_value = "./vermilion-keys.json"
    )]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print its secret, which is kept nowhere.
    Create {
        /// Its name: the user of basic authentication, and what the audit log shows.
        name: String,
        /// What it may do.
        #[arg(long, value_enum)]
        role: RoleName,
        /// The only tenant it reaches [default: the whole server].
        #[arg(long)]
        tenant: Option<String>,
        /// The only database of the tenant it reaches; may be said several times [default: all].
        #[arg(long, requires = "tenant")]
        database: Vec<String>,
    },
    /// Show all keys, without their secrets.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a key; a running server notices within a second or two.
    Revoke {
        /// Its name.
        name: String,
    },
}

/// What a key may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleName {
    /// Look at collections and records.
    Read,
    /// And change them, make and delete collections.
    Write,
    /// And make and delete databases; on the whole server also tenants, control and metrics.
    Admin,
}

/// What is seen and switched.
#[derive(Debug, Args)]
pub(crate) struct Ctl {
    #[command(subcommand)]
    pub(crate) what: CtlCommand,
    /// The server.
    #[arg(long, global = true, default_value = "http://127.0.0.1:8000")]
    pub(crate) url: String,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CtlCommand {
    /// State, queue and lag of every component.
    Status,
    /// Keep a component or a job from working.
    Pause {
        /// A component (see `status`) or a job (see `jobs`).
        name: String,
    },
    /// Let a component or a job work again.
    Resume {
        /// A component or a job.
        name: String,
    },
    /// Let a component work again: the same as `resume`.
    Start {
        /// A component.
        component: String,
    },
    /// Pause a component and wait until what it has begun has ended.
    Stop {
        /// A component.
        component: String,
        /// Seconds that it may take.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
        limit: u64,
    },
    /// Have a component finish what it has begun and what waits for it, then pause it.
    Drain {
        /// A component.
        component: String,
        /// Seconds that it may take.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
        limit: u64,
    },
    /// Run a job now, or have a component do what waits for it, and wait for the end.
    Run(CtlRun),
    /// Ask the run of a job to end.
    Cancel {
        /// The job.
        job: String,
    },
    /// Every job, with its next and last run.
    Jobs,
    /// The newest runs, newest first.
    History {
        /// The job; all where none is named.
        job: Option<String>,
        /// How many runs.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Components and jobs, looked at again and again until Ctrl-C.
    Top {
        /// Seconds between two looks.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
        every: u64,
        /// End after so many looks.
        #[arg(long)]
        looks: Option<u64>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CtlRun {
    /// The job, or a component.
    #[arg(required_unless_present = "due")]
    pub(crate) job: Option<String>,
    /// Run every job that is due.
    #[arg(long, conflicts_with_all = ["job", "dry_run", "no_wait", "collection"])]
    pub(crate) due: bool,
    /// Only tell what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not wait for the end of the run.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// The id of a collection, for jobs that can work on one.
    #[arg(long, value_name = "ID")]
    pub(crate) collection: Option<String>,
}

/// A task, on a folder or behind a server.
#[derive(Debug, Args)]
pub(crate) struct Upkeep {
    /// The data folder, which no server may have open.
    #[arg(long, default_value = "./vermilion-data", conflicts_with = "url")]
    pub(crate) path: PathBuf,
    /// A running server, such as http://localhost:8000.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Only tell what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    #[command(flatten)]
    pub(crate) upkeep: Upkeep,
    /// The collection; all where none is named.
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: Option<String>,
    /// The tenant of the collection.
    #[arg(long, default_value = DEFAULT_TENANT)]
    pub(crate) tenant: String,
    /// The database of the collection.
    #[arg(long, default_value = DEFAULT_DATABASE)]
    pub(crate) database: String,
}

/// A folder that is looked at.
#[derive(Debug, Args)]
pub(crate) struct Look {
    /// The data folder.
    #[arg(long, default_value = "./vermilion-data")]
    pub(crate) path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How vectors are compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SpaceName {
    /// Squared Euclidean distance.
    L2,
    /// 1 - cosine of the angle.
    Cosine,
    /// 1 - inner product.
    Ip,
}

impl From<SpaceName> for Space {
    fn from(name: SpaceName) -> Self {
        match name {
            SpaceName::L2 => Self::L2,
            SpaceName::Cosine => Self::Cosine,
            SpaceName::Ip => Self::Ip,
        }
    }
}

impl SpaceName {
    /// The name as requests write it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Cosine => "cosine",
            Self::Ip => "ip",
        }
    }
}
