//! The forward pass of the model: BERT with six layers (Devlin et al., 2018), the mean of its last states,
//! of length 1 (Reimers and Gurevych, "Sentence-BERT", 2019).
//!
//! What must stay true: each text goes through alone, so that none is padded and none depends on another;
//! matrices are multiplied by the tile kernels, whose sums are those of `f32`.

use std::f32::consts::FRAC_1_SQRT_2;

use vermilion_kernels::tiles::{Packed, products};

use crate::DIMENSION;
use crate::files::{ModelError, Tensors};

const LAYERS: usize = 6;
const HEADS: usize = 12;
const HEAD: usize = DIMENSION / HEADS;
const INNER: usize = 4 * DIMENSION;
const WORDS: usize = 30_522;
const PLACES: usize = 512;
const EPSILON: f32 = 1e-12;

/// A linear map: rows of weights, one for each number that comes out, and what is added.
#[derive(Debug)]
struct Linear {
    weights: Packed,
    bias: Vec<f32>,
}

impl Linear {
    /// Of one or several maps of `from` numbers to `to` each, side by side.
    fn new(
        tensors: &Tensors,
        names: &[String],
        from: usize,
        to: usize,
    ) -> Result<Self, ModelError> {
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            weights.extend(tensors.get(&format!("{name}.weight"), &[to, from])?);
            bias.extend(tensors.get(&format!("{name}.bias"), &[to])?);
        }
        Ok(Self {
            weights: Packed::new(&weights, from),
            bias,
        })
    }

    /// What it makes of each of `rows`.
    fn apply(&self, rows: &[f32], dimension: usize) -> Vec<f32> {
        let mut made = vec![0.0; rows.len() / dimension * self.bias.len()];
        products(rows, &self.weights, &mut made);
        for row in made.chunks_exact_mut(self.bias.len()) {
            for (number, bias) in row.iter_mut().zip(&self.bias) {
                *number += bias;
            }
        }
        made
    }
}

/// Layer normalisation: mean 0 and variance 1, then scaled and moved.
#[derive(Debug)]
struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Norm {
    fn new(tensors: &Tensors, name: &str) -> Result<Self, ModelError> {
        Ok(Self {
            scale: tensors.get(&format!("{name}.weight"), &[DIMENSION])?,
            shift: tensors.get(&format!("{name}.bias"), &[DIMENSION])?,
        })
    }

    fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(DIMENSION) {
            let mean = row.iter().sum::<f32>() / DIMENSION as f32;
            let squares = row
                .iter()
                .map(|number| (number - mean).powi(2))
                .sum::<f32>();
            let factor = 1.0 / (squares / DIMENSION as f32 + EPSILON).sqrt();
            for ((number, scale), shift) in row.iter_mut().zip(&self.scale).zip(&self.shift) {
                *number = (*number - mean) * factor * scale + shift;
            }
        }
    }
}

/// One layer.
#[derive(Debug)]
struct Layer {
    /// Queries, keys and values.
    attention: Linear,
    attended: Linear,
    after_attention: Norm,
    widen: Linear,
    narrow: Linear,
    after_all: Norm,
}

impl Layer {
    fn new(tensors: &Tensors, number: usize) -> Result<Self, ModelError> {
        let name = |rest: &str| format!("encoder.layer.{number}.{rest}");
        let linear = |rest: &str, from, to| Linear::new(tensors, &[name(rest)], from, to);
        let parts = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
        Ok(Self {
            attention: Linear::new(tensors, &parts, DIMENSION, DIMENSION)?,
            attended: linear("attention.output.dense", DIMENSION, DIMENSION)?,
            after_attention: Norm::new(tensors, &name("attention.output.LayerNorm"))?,
            widen: linear("intermediate.dense", DIMENSION, INNER)?,
            narrow: linear("output.dense", INNER, DIMENSION)?,
            after_all: Norm::new(tensors, &name("output.LayerNorm"))?,
        })
    }

    /// The states of the next layer.
    fn apply(&self, states: &[f32]) -> Vec<f32> {
        let seen = attend(&self.attention.apply(states, DIMENSION));
        let mut attended = self.attended.apply(&seen, DIMENSION);
        add(&mut attended, states);
        self.after_attention.apply(&mut attended);
        let mut wide = self.widen.apply(&attended, DIMENSION);
        for number in &mut wide {
            *number = gelu(*number);
        }
        let mut next = self.narrow.apply(&wide, INNER);
        add(&mut next, &attended);
        self.after_all.apply(&mut next);
        next
    }
}

fn add(rows: &mut [f32], others: &[f32]) {
    for (number, other) in rows.iter_mut().zip(others) {
        *number += other;
    }
}

/// What each token sees of the others, all heads side by side; `parts` are the queries, keys and values of
/// each token one after the other.
fn attend(parts: &[f32]) -> Vec<f32> {
    let tokens = parts.len() / (3 * DIMENSION);
    let mut seen = vec![0.0; tokens * DIMENSION];
    let of_head = |part: usize, head: usize| {
        let from = part * DIMENSION + head * HEAD;
        let rows = parts.chunks_exact(3 * DIMENSION);
        rows.flat_map(move |row| row[from..from + HEAD].iter().copied())
            .collect::<Vec<f32>>()
    };
    let mut weights = vec![0.0; tokens * tokens];
    let mut made = vec![0.0; tokens * HEAD];
    let mut by_number = vec![0.0; tokens * HEAD];
    for head in 0..HEADS {
        let keys = Packed::new(&of_head(1, head), HEAD);
        products(&of_head(0, head), &keys, &mut weights);
        for row in weights.chunks_exact_mut(tokens) {
            soften(row);
        }
        let values = of_head(2, head);
        for (token, value) in values.chunks_exact(HEAD).enumerate() {
            for (number, &value) in value.iter().enumerate() {
                by_number[number * tokens + token] = value;
            }
        }
        products(&weights, &Packed::new(&by_number, tokens), &mut made);
        for (row, made) in seen
            .chunks_exact_mut(DIMENSION)
            .zip(made.chunks_exact(HEAD))
        {
            row[head * HEAD..][..HEAD].copy_from_slice(made);
        }
    }
    seen
}

/// Products of a query with keys to shares that sum to 1.
fn soften(row: &mut [f32]) {
    let scale = 1.0 / (HEAD as f32).sqrt();
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for number in row.iter_mut() {
        *number = ((*number - highest) * scale).exp();
        sum += *number;
    }
    for number in row {
        *number /= sum;
    }
}

fn gelu(number: f32) -> f32 {
    0.5 * number * (1.0 + error_function(number * FRAC_1_SQRT_2))
}

/// The error function to 5e-7: a rational approximation on [-4, 4], beyond which it is 1 in `f32`, as the
/// libraries of neural networks have it.
pub(crate) fn error_function(number: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_5e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] = [
        -1.456_607_2e-5,
        -2.133_740_5e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ];
    let number = number.clamp(-4.0, 4.0);
    let square = number * number;
    let sum = |factors: &[f32]| {
        factors
            .iter()
            .fold(0.0, |sum, factor| sum * square + factor)
    };
    number * sum(&ABOVE) / sum(&BELOW)
}

/// The model behind the tokens.
#[derive(Debug)]
pub(crate) struct Network {
    words: Vec<f32>,
    /// What is added to a word by its place in the text.
    places: Vec<f32>,
    after_words: Norm,
    layers: Vec<Layer>,
}

impl Network {
    pub(crate) fn new(tensors: &Tensors) -> Result<Self, ModelError> {
        let name = |rest: &str| format!("embeddings.{rest}");
        let kinds = tensors.get(&name("token_type_embeddings.weight"), &[2, DIMENSION])?;
        let mut places = tensors.get(&name("position_embeddings.weight"), &[PLACES, DIMENSION])?;
        // All tokens are of the first kind.
        for row in places.chunks_exact_mut(DIMENSION) {
            add(row, &kinds[..DIMENSION]);
        }
        Ok(Self {
            words: tensors.get(&name("word_embeddings.weight"), &[WORDS, DIMENSION])?,
            places,
            after_words: Norm::new(tensors, &name("LayerNorm"))?,
            layers: (0..LAYERS)
                .map(|number| Layer::new(tensors, number))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The vector of a text of these tokens, which are [`PLACES`] at most.
    pub(crate) fn vector(&self, ids: &[u32]) -> Vec<f32> {
        let mut states = Vec::with_capacity(ids.len() * DIMENSION);
        for &id in ids {
            let from = id as usize * DIMENSION;
            states.extend_from_slice(&self.words[from..from + DIMENSION]);
        }
        add(&mut states, &self.places);
        self.after_words.apply(&mut states);
        for layer in &self.layers {
            states = layer.apply(&states);
        }
        let mut mean = vec![0.0; DIMENSION];
        for state in states.chunks_exact(DIMENSION) {
            add(&mut mean, state);
        }
        // The length of the mean is the same whatever it is divided by.
        let length = mean
            .iter()
            .map(|number| number * number)
            .sum::<f32>()
            .sqrt();
        for number in &mut mean {
            *number /= length.max(f32::MIN_POSITIVE);
        }
        mean
    }
}
