//! What can be said of curation on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use vermilion_engine::model::{DEFAULT_DATABASE, DEFAULT_TENANT};

/// Shown behind the help of `vermilion curation`.
pub(super) const EXAMPLES: &str = "Examples:\n  \
    vermilion curation log seen.jsonl --space digits --context production\n  \
    vermilion curation upload --pending\n  \
    vermilion curation recommend digits -n 200 --per-group-cap 5\n  \
    vermilion curation drift digits --window 1d\n  \
    vermilion curation should-upload new.jsonl --space digits --json\n\n\
    A line has an embedding (numbers, or base64 of little-endian f32) and an input_uri, and may have what\n\
    docs/guide/curation.md names: label_class, inference_class, probabilities, dataset, group, metadata.\n\
    SPACE is the name of a space or its key.";

#[derive(Debug, Args)]
pub(crate) struct Curation {
    #[command(subcommand)]
    pub(crate) what: CurationCommand,
    /// The server.
    #[arg(long, global = true, default_value = "http://127.0.0.1:8000")]
    pub(crate) url: String,
    /// The tenant.
    #[arg(long, global = true, default_value = DEFAULT_TENANT)]
    pub(crate) tenant: String,
    /// The database.
    #[arg(long, global = true, default_value = DEFAULT_DATABASE)]
    pub(crate) database: String,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CurationCommand {
    /// Log lines of JSON; logging them again changes nothing.
    Log {
        /// The file, or - for standard input.
        file: PathBuf,
        #[command(flatten)]
        head: Head,
    },
    /// Send files that sessions of Python left behind; sending them again changes nothing.
    Upload(Upload),
    /// Tell of each line whether to upload its input, without storing anything.
    ShouldUpload(ShouldUpload),
    /// Every space, by name.
    Spaces,
    /// All that is known of a space.
    Inspect {
        /// The space.
        space: String,
    },
    /// What to label next, most useful first.
    Recommend(Recommend),
    /// What is wrong with the data, worst first.
    Issues {
        /// The space.
        space: String,
        /// label, leak, near_duplicate, outlier and so on [default: all].
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// How much each signal counts in trouble, and why.
    Signals {
        /// The space.
        space: String,
    },
    /// All that is known of one record, in numbers and words.
    Explain {
        /// The space.
        space: String,
        /// The id of the record.
        id: String,
    },
    /// Whether production has moved, since when and where to.
    Drift(Drift),
    /// State, queue and lag of what works for curation.
    Status,
    /// Let a component do nothing by itself from now on.
    Pause {
        /// A component, see `status`.
        component: String,
    },
    /// Let a component work again.
    Resume {
        /// A component.
        component: String,
    },
    /// Everything that is told of a space, on one page.
    Report {
        /// The space.
        space: String,
        /// The file to write [default: standard output].
        file: Option<PathBuf>,
        /// html (opens offline), md or json [default: as the file ends, else md].
        #[arg(long)]
        format: Option<String>,
    },
    /// Export the list, issues or training data to a file.
    Export(CurationExport),
    /// Every record as a point of a plane, as a stream of Arrow.
    Map(CurationMap),
    /// When a space is retrained by itself.
    Trigger {
        #[command(subcommand)]
        what: TriggerCommand,
    },
    /// Take, begin and see retrainings.
    Retrain {
        #[command(subcommand)]
        what: RetrainCommand,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Drift {
    /// The space.
    pub(crate) space: String,
    /// How long the window is, such as 1d, 6h or 2w [default: all of production].
    #[arg(long, conflicts_with = "from")]
    pub(crate) window: Option<String>,
    /// When it begins: seconds since 1970, or 2026-01-31T12:00:00Z.
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// When it ends.
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// What it is compared with: a context, a dataset, previous, or a stretch A..B [default: training].
    #[arg(long)]
    pub(crate) reference: Option<String>,
    /// How long a bucket of the timeline is.
    #[arg(long)]
    pub(crate) bucket: Option<String>,
    /// The chance below which production counts as moved [default: 0.05].
    #[arg(long)]
    pub(crate) alpha: Option<f64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RetrainCommand {
    /// Take the retraining that has waited longest and have a command do it.
    #[command(
        after_help = "The command gets the event as JSON on standard input and in VERMILION_RETRAINING_EVENT. It may write\n\
        {\"embedding_set\": {...}, \"metrics\": {\"accuracy\": 0.94}, \"consumed_ids\": [...]} to the file that\n\
        VERMILION_RETRAINING_RESULT names. The lease is kept while it runs; status 0 completes the retraining, any\n\
        other fails it.\n\n\
        Example:\n  vermilion curation retrain claim digits --exec 'python train.py'"
    )]
    Claim(Claim),
    /// Begin one now.
    Start(RetrainStart),
    /// Those of a space, newest first.
    List(RetrainList),
    /// Call one off.
    Cancel {
        /// The retraining.
        retraining: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RetrainStart {
    /// The space.
    pub(crate) space: String,
    /// The trigger whose receiver is told.
    #[arg(long)]
    pub(crate) trigger: Option<String>,
    /// Why, in words.
    #[arg(long)]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RetrainList {
    /// The space.
    pub(crate) space: String,
    /// pending, delivered, running, succeeded, failed, expired or cancelled [default: all].
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TriggerCommand {
    /// Make a trigger.
    #[command(
        after_help = "Example:\n  vermilion curation trigger add digits --policy '{\"type\": \"amount\", \"labels\": 200}' \\\n    \
        --webhook https://trainer.example.com/retrain\n\ndocs/guide/curation.md has the table of policies."
    )]
    Add(NewTrigger),
    /// Those of a space.
    List {
        /// The space.
        space: String,
    },
    /// End a trigger; its retrainings stay.
    Remove {
        /// The space.
        space: String,
        /// The trigger.
        trigger: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewTrigger {
    /// The space.
    pub(crate) space: String,
    /// When it fires.
    #[arg(long, value_name = "JSON")]
    pub(crate) policy: String,
    /// What people call it.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Who is told: an address of http or https.
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// How far apart its firings are at least.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) min_interval_seconds: Option<f64>,
    /// How long its retrainings wait to be taken.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) expires_after_seconds: Option<f64>,
    /// Only note when it would fire.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CurationExport {
    /// The space.
    pub(crate) space: String,
    /// The file to write.
    pub(crate) file: PathBuf,
    /// recommendations, issues, training or records.
    #[arg(long, default_value = "recommendations")]
    pub(crate) what: String,
    /// Only records of this context.
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Only records of this dataset.
    #[arg(long)]
    pub(crate) dataset: Option<String>,
    /// Only records that this filter means, as JSON.
    #[arg(long = "where", value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// jsonl, csv or parquet [default: as the file ends].
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Replace a file that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CurationMap {
    /// The space.
    pub(crate) space: String,
    /// The file to write.
    pub(crate) file: PathBuf,
    /// What is told of each record, with commas between [default: context,label_class,inference_class,trouble].
    #[arg(long)]
    pub(crate) fields: Option<String>,
    /// Only points of a part of the plane: X0,Y0,X1,Y1.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) bounds: Option<String>,
    /// So many points at most, drawn evenly [default: 1000000].
    #[arg(long)]
    pub(crate) points: Option<usize>,
    /// Replace a file that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Claim {
    /// The space.
    pub(crate) space: String,
    /// The command, for the shell.
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: String,
    /// A name for who does it.
    #[arg(long)]
    pub(crate) worker: Option<String>,
    /// Only a retraining that this trigger began.
    #[arg(long)]
    pub(crate) trigger: Option<String>,
    /// Seconds that it stays taken without a sign of life [default: 600].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lease_seconds: Option<f64>,
}

/// What holds for all lines of a file whose first line does not say it.
#[derive(Debug, Args)]
pub(crate) struct Head {
    /// The space, which is made where it is not there.
    #[arg(long)]
    pub(crate) space: Option<String>,
    /// What the vectors are of: a JSON object that names the model, its version and layer.
    #[arg(long, value_name = "JSON")]
    pub(crate) embedding_set: Option<String>,
    /// training, production, triage or test.
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// The bag of records [default: named as the context].
    #[arg(long)]
    pub(crate) dataset: Option<String>,
    /// How a new space compares vectors: cosine, l2 or ip [default: cosine].
    #[arg(long)]
    pub(crate) metric: Option<String>,
    /// A class of the probabilities; said once for each, in their order.
    #[arg(long = "class-name", value_name = "CLASS")]
    pub(crate) class_names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// The files.
    #[arg(required_unless_present = "pending")]
    pub(crate) files: Vec<PathBuf>,
    /// Every file of a session that is over and has not sent it all.
    #[arg(long, conflicts_with = "files")]
    pub(crate) pending: bool,
    /// Where sessions keep their files [default: as they do].
    #[arg(long, env = "VERMILION_SESSIONS", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Remove each file once all of it is sent; those of --pending are always removed.
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShouldUpload {
    /// The file, or - for standard input.
    pub(crate) file: PathBuf,
    /// The space.
    #[arg(long)]
    pub(crate) space: String,
    /// A class of the probabilities; said once for each, in their order.
    #[arg(long = "class-name", value_name = "CLASS")]
    pub(crate) class_names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Recommend {
    /// The space.
    pub(crate) space: String,
    /// How many.
    #[arg(short, long, default_value_t = 20)]
    pub(crate) n: usize,
    /// retrain, explore (what is new), verify (most trouble first) or random.
    #[arg(long)]
    pub(crate) objective: Option<String>,
    /// Only records that this filter means.
    #[arg(long = "where", value_name = "JSON")]
    pub(crate) filter: Option<String>,
    /// Only records of this dataset; may be said several times.
    #[arg(long = "dataset", value_name = "NAME")]
    pub(crate) datasets: Vec<String>,
    /// The share of undecided records, the most uncertain, that may be on the list [default: 0.3].
    #[arg(long, value_name = "SHARE")]
    pub(crate) candidates: Option<f64>,
    /// Entries of one class at most.
    #[arg(long, value_name = "N")]
    pub(crate) per_class_cap: Option<usize>,
    /// Entries of one group at most.
    #[arg(long, value_name = "N")]
    pub(crate) per_group_cap: Option<usize>,
    /// The share that is drawn evenly.
    #[arg(long, value_name = "SHARE")]
    pub(crate) random_share: Option<f64>,
    /// Where draws begin.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Make a list even without training data.
    #[arg(long)]
    pub(crate) allow_degraded: bool,
}
