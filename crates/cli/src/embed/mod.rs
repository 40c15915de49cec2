//! `vermilion embed`: texts to vectors, a batch at a time.
//!
//! What must stay true: each text has one vector, in the order of the texts; the file has its name only when
//! it is whole.

mod input;
mod model;
mod output;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::arguments::Embed;
use crate::console::{grouped, note};
use crate::failure::Failure;
use crate::transfer::Progress;

use input::Input;
use output::Output;

pub(crate) use model::Embedder;

/// Runs the command.
pub(crate) fn embed(arguments: &Embed) -> Result<(), Failure> {
    let mut input = Input::open(arguments)?;
    let mut output = Output::create(&arguments.out, arguments.overwrite)?;
    let embedder = Embedder::open(&arguments.model)?;
    let written = embed_all(arguments, &mut input, &embedder, &mut output);
    let (texts, took) = written.and_then(|written| output.finish().map(|()| written))?;
    if arguments.out != Path::new("-") {
        note(&format!(
            "embedded {} texts in {:.1} s",
            grouped(texts),
            took.as_secs_f64()
        ));
    }
    Ok(())
}

/// Writes every text with its vector; answers how many there were, and how long it took.
fn embed_all(
    arguments: &Embed,
    input: &mut Input,
    embedder: &Embedder,
    output: &mut Output,
) -> Result<(u64, Duration), Failure> {
    let mut progress = Progress::start("embedding", input.bytes());
    let mut texts = 0;
    loop {
        let batch = input.batch(arguments.batch as usize)?;
        if batch.is_empty() {
            return Ok((texts, progress.finish()));
        }
        let documents: Vec<&str> = batch.iter().map(|one| one.document.as_str()).collect();
        let block = embedder.vectors(&documents);
        output.write(&batch, &block)?;
        texts += batch.len() as u64;
        progress.at(input.consumed(), texts);
    }
}
