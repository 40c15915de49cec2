//! The forward pass of the model: BERT with six layers (Devlin et al., 2018), the mean of its last states,
//! of length 1 (Reimers and Gurevych, "Sentence-BERT", 2019).
//!
//! What must stay true: the tokens of several texts go through the matrix products together, so that
//! weights are read once for all of them, but nothing is padded and no text sees another, so that
//! a vector is the same whatever stands beside it; products and what is between them are the kernels', whose
//! sums are those of `f32`.

use std::ops::Range;

use vermilion_kernels::layers::{Norm, gelu_rows, normalise_rows, soften_rows};
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

/// A linear map: rows of weights, one for each number that comes out, and what is to be added.
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

    /// What the weights make of each of `rows`, of `dimension` numbers; the bias is left to who reads it.
    fn apply(&self, rows: &[f32], dimension: usize, made: &mut Vec<f32>) {
        made.resize(rows.len() / dimension * self.bias.len(), 0.0);
        products(rows, &self.weights, made);
    }
}

fn norm(tensors: &Tensors, name: &str) -> Result<Norm, ModelError> {
    Ok(Norm {
        scale: tensors.get(&format!("{name}.weight"), &[DIMENSION])?,
        shift: tensors.get(&format!("{name}.bias"), &[DIMENSION])?,
        epsilon: EPSILON,
    })
}

/// What a thread works in, kept from one group of texts to the next.
#[derive(Debug, Default)]
pub(crate) struct Room {
    states: Vec<f32>,
    parts: Vec<f32>,
    seen: Vec<f32>,
    attended: Vec<f32>,
    wide: Vec<f32>,
    /// Queries, keys and values of a head.
    head: [Vec<f32>; 3],
    shares: Vec<f32>,
    found: Vec<f32>,
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
            after_attention: norm(tensors, &name("attention.output.LayerNorm"))?,
            widen: linear("intermediate.dense", DIMENSION, INNER)?,
            narrow: linear("output.dense", INNER, DIMENSION)?,
            after_all: norm(tensors, &name("output.LayerNorm"))?,
        })
    }

    /// Makes the states of the next layer of those in `room`, whose texts have the tokens `texts`.
    fn apply(&self, room: &mut Room, texts: &[Range<usize>]) {
        self.attention
            .apply(&room.states, DIMENSION, &mut room.parts);
        room.seen.resize(room.states.len(), 0.0);
        for text in texts {
            for head in 0..HEADS {
                self.attend(room, text, head);
            }
        }
        let attended = &mut room.attended;
        self.attended.apply(&room.seen, DIMENSION, attended);
        normalise_rows(
            attended,
            &room.states,
            &self.attended.bias,
            &self.after_attention,
        );
        self.widen.apply(attended, DIMENSION, &mut room.wide);
        gelu_rows(&mut room.wide, &self.widen.bias);
        self.narrow.apply(&room.wide, INNER, &mut room.states);
        normalise_rows(
            &mut room.states,
            attended,
            &self.narrow.bias,
            &self.after_all,
        );
    }

    /// What each token of a text sees of the others by one head.
    fn attend(&self, room: &mut Room, text: &Range<usize>, head: usize) {
        let tokens = text.len();
        // Queries are divided by the root of their length.
        let scales = [1.0 / (HEAD as f32).sqrt(), 1.0, 1.0];
        for (part, (numbers, scale)) in room.head.iter_mut().zip(scales).enumerate() {
            numbers.clear();
            let from = part * DIMENSION + head * HEAD;
            let bias = &self.attention.bias[from..from + HEAD];
            let rows = &room.parts[text.start * 3 * DIMENSION..text.end * 3 * DIMENSION];
            for row in rows.chunks_exact(3 * DIMENSION) {
                let sums = row[from..from + HEAD].iter().zip(bias);
                numbers.extend(sums.map(|(number, bias)| (number + bias) * scale));
            }
        }
        let [queries, keys, values] = &room.head;
        room.shares.resize(tokens * tokens, 0.0);
        products(queries, &Packed::new(keys, HEAD), &mut room.shares);
        soften_rows(&mut room.shares, tokens);
        room.found.resize(tokens * HEAD, 0.0);
        products(
            &room.shares,
            &Packed::of_rows(values, HEAD),
            &mut room.found,
        );
        let seen = &mut room.seen[text.start * DIMENSION..text.end * DIMENSION];
        let rows = seen.chunks_exact_mut(DIMENSION);
        for (row, found) in rows.zip(room.found.chunks_exact(HEAD)) {
            row[head * HEAD..][..HEAD].copy_from_slice(found);
        }
    }
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
            after_words: norm(tensors, &name("LayerNorm"))?,
            layers: (0..LAYERS)
                .map(|number| Layer::new(tensors, number))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The vectors of texts of these tokens, one after the other; a text has [`PLACES`] at most.
    pub(crate) fn vectors(&self, texts: &[Vec<u32>], room: &mut Room) -> Vec<f32> {
        let mut spans = Vec::with_capacity(texts.len());
        let mut added = Vec::new();
        room.states.clear();
        for ids in texts {
            let start = room.states.len() / DIMENSION;
            spans.push(start..start + ids.len());
            for &id in ids {
                let from = id as usize * DIMENSION;
                room.states
                    .extend_from_slice(&self.words[from..from + DIMENSION]);
            }
            added.extend_from_slice(&self.places[..ids.len() * DIMENSION]);
        }
        normalise_rows(
            &mut room.states,
            &added,
            &[0.0; DIMENSION],
            &self.after_words,
        );
        for layer in &self.layers {
            layer.apply(room, &spans);
        }
        let mut vectors = vec![0.0; texts.len() * DIMENSION];
        for (vector, text) in vectors.chunks_exact_mut(DIMENSION).zip(spans) {
            let states = &room.states[text.start * DIMENSION..text.end * DIMENSION];
            for state in states.chunks_exact(DIMENSION) {
                add(vector, state);
            }
            shorten(vector);
        }
        vectors
    }
}

fn add(rows: &mut [f32], others: &[f32]) {
    for (number, other) in rows.iter_mut().zip(others) {
        *number += other;
    }
}

/// Makes a vector of length 1 of the sum of states: that of their mean, whatever it is divided by.
fn shorten(vector: &mut [f32]) {
    let squares = vector.iter().map(|number| number * number);
    let length = squares.sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    for number in vector {
        *number /= length;
    }
}
