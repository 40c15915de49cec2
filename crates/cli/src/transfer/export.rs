//! `vermilion export`: a collection into a file, batch by batch.
//!
//! What must stay true: the file has its name only when it is whole; until then it is `NAME.partial`.
//! A partial JSONL file is gone on with: the records it holds whole are not fetched again. (A Parquet
//! file cannot be gone on with, since its table of contents is written at its end; it begins anew.)

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use crate::arguments::Export;
use crate::console::{self, grouped, note};
use crate::failure::Failure;
use crate::files;

use super::jsonl::{id_of_line, write_line};
#[cfg(feature = "parquet")]
use super::parquet::ParquetWriter;
use super::place::Collection;
use super::{Format, Progress, Record, format_of};

/// A file that records are written to.
enum Writer {
    Standard,
    Jsonl(BufWriter<File>),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetWriter>),
}

impl Writer {
    fn write(&mut self, records: &[Record]) -> Result<(), Failure> {
        match self {
            Self::Standard => {
                let mut lines = Vec::new();
                for record in records {
                    write_line(&mut lines, record)?;
                }
                console::write(&lines)
            }
            Self::Jsonl(output) => {
                for record in records {
                    write_line(output, record)?;
                }
                // A batch is whole in the file before the next is fetched.
                Ok(output.flush()?)
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => writer.write(records),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Standard => Ok(()),
            Self::Jsonl(output) => {
                let file = output
                    .into_inner()
                    .map_err(std::io::IntoInnerError::into_error)?;
                Ok(file.sync_all()?)
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => writer.finish(),
        }
    }
}

/// Runs the command.
pub(crate) fn export(arguments: &Export) -> Result<(), Failure> {
    let standard = arguments.file == Path::new("-");
    let format = if standard {
        Format::Jsonl
    } else {
        format_of(&arguments.file)?
    };
    if format == Format::CompressedJsonl {
        return Err(Failure::usage("export does not compress")
            .hint("write to `-` and pipe it: vermilion export - ... | zstd > FILE"));
    }
    if format == Format::Csv {
        return Err(Failure::usage("export writes no CSV")
            .hint("name a file that ends in .jsonl or .parquet"));
    }
    files::check_free(&arguments.file, arguments.overwrite || standard)?;
    let collection = Collection::open(&arguments.place)?;
    let exported = if standard {
        export_from(arguments, &collection, Writer::Standard, &HashSet::new())
    } else {
        export_to_file(arguments, &collection, format)
    };
    let closed = collection.close();
    exported?;
    closed
}

fn export_to_file(
    arguments: &Export,
    collection: &Collection,
    format: Format,
) -> Result<(), Failure> {
    let partial = files::partial(&arguments.file);
    let doing = |error| files::cannot_write(&partial, error);
    let (writer, written) = match format {
        #[cfg(feature = "parquet")]
        Format::Parquet => {
            let file = File::create(&partial).map_err(doing)?;
            (
                Writer::Parquet(Box::new(ParquetWriter::over(file)?)),
                HashSet::new(),
            )
        }
        _ => {
            let (file, written) = reopen(&partial).map_err(doing)?;
            (Writer::Jsonl(BufWriter::new(file)), written)
        }
    };
    export_from(arguments, collection, writer, &written)?;
    fs::rename(&partial, &arguments.file).map_err(doing)
}

/// Opens a partial JSONL file for appending after its last whole record, and tells which records
/// it holds.
fn reopen(partial: &Path) -> std::io::Result<(File, HashSet<String>)> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(partial)?;
    let (mut ids, mut whole) = (HashSet::new(), 0);
    let mut input = BufReader::new(&file);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let Some(id) = line.strip_suffix(b"\n").and_then(id_of_line) else {
            break;
        };
        ids.insert(id);
        whole += line.len() as u64;
        line.clear();
    }
    file.set_len(whole)?;
    let file = OpenOptions::new().append(true).open(partial)?;
    Ok((file, ids))
}

fn export_from(
    arguments: &Export,
    collection: &Collection,
    mut writer: Writer,
    written: &HashSet<String>,
) -> Result<(), Failure> {
    let mut ids = collection.ids()?;
    let total = ids.len() as u64;
    ids.retain(|id| !written.contains(id));
    if !written.is_empty() {
        note(&format!(
            "going on after {} records of an earlier run",
            grouped(written.len() as u64)
        ));
    }
    let mut progress = Progress::start("exporting", total);
    let (mut position, mut records) = (total - ids.len() as u64, 0);
    for part in ids.chunks(arguments.batch as usize) {
        let fetched = collection.records(part)?;
        records += fetched.len() as u64;
        position += part.len() as u64;
        writer.write(&fetched)?;
        progress.at(position, records);
    }
    writer.finish()?;
    let took = progress.finish();
    note(&format!(
        "exported {} records of collection {} in {:.1} s",
        grouped(records),
        arguments.place.collection,
        took.as_secs_f64()
    ));
    Ok(())
}
