//! How long texts take to become vectors, one text a line of standard input, and how their tokens are cut.
//!
//!     cargo run --release -p vermilion-embed --example embed -- FOLDER THREADS < TEXTS
//!
//! With `--show` it writes, for each text, the ids of its tokens and its vector, a line each.

#![expect(clippy::print_stdout, reason = "an example tells what it found")]

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use vermilion_embed::{DIMENSION, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, threads, ..] = &words[..] else {
        return Err("FOLDER and THREADS are needed".into());
    };
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let texts: Vec<&str> = input.split('\n').filter(|text| !text.is_empty()).collect();
    let begun = Instant::now();
    let model = Model::open(Path::new(folder))?;
    let opened = begun.elapsed();
    let begun = Instant::now();
    let block = model.embed(&texts, threads.parse()?);
    let seconds = begun.elapsed().as_secs_f64();
    if words.iter().any(|word| word == "--show") {
        for (text, vector) in texts.iter().zip(block.chunks_exact(DIMENSION)) {
            let ids: Vec<String> = model.tokens(text).iter().map(u32::to_string).collect();
            let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
            println!("{}\n{}", ids.join(" "), numbers.join(" "));
        }
    } else {
        println!(
            "opened in {opened:.2?}; {} texts in {seconds:.4} seconds",
            texts.len()
        );
    }
    Ok(())
}
