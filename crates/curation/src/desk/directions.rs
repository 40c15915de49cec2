//! The directions of vectors, of spaces that compare vectors by more than that: what is near there is not what
//! curation calls near, which is between vectors of length 1, so that the index of the space cannot be asked.
//!
//! What must stay true: whatever is found is found by comparing all records of a context, so that it does not
//! depend on how they came; each context has a shelf of its own, since training is asked for most often. A shelf
//! takes so many numbers at most; with more it is given up until the desk is made anew, and whoever searches
//! asks the index of the space for candidates. A space that compares directions has no shelves: its index tells.

use std::collections::HashMap;

use vermilion_scores::{Matrix, UnitRows};

use super::neighbours::{Among, Near, Neighbour};
use super::state::Names;
use crate::fields::Context;

/// Numbers of the vectors of a shelf at most: 131,072 vectors of 128. They take 8 bytes each.
const NUMBERS_MAX: usize = 1 << 24;

/// The records of one context, or of none.
#[derive(Debug, Default)]
struct Shelf {
    ids: Vec<String>,
    /// The dataset of each, a number of [`Directions::names`].
    datasets: Vec<u32>,
    places: HashMap<String, u32>,
    rows: Option<UnitRows>,
    is_given_up: bool,
}

impl Shelf {
    fn put(&mut self, id: &str, dataset: u32, vector: &[f32], numbers_max: usize) {
        if self.is_given_up || vector.is_empty() {
            return;
        }
        if (self.ids.len() + 1) * vector.len() > numbers_max {
            *self = Self {
                is_given_up: true,
                ..Self::default()
            };
            return;
        }
        let rows = self.rows.get_or_insert_with(|| UnitRows::new(vector.len()));
        if let Some(&place) = self.places.get(id) {
            self.datasets[place as usize] = dataset;
            rows.set(place as usize, vector);
            return;
        }
        self.places.insert(id.to_owned(), self.ids.len() as u32);
        self.ids.push(id.to_owned());
        self.datasets.push(dataset);
        rows.push(vector);
    }

    fn remove(&mut self, id: &str) {
        let (Some(place), Some(rows)) = (self.places.remove(id), &mut self.rows) else {
            return;
        };
        let at = place as usize;
        rows.swap_remove(at);
        self.ids.swap_remove(at);
        self.datasets.swap_remove(at);
        if let Some(moved) = self.ids.get(at) {
            self.places.insert(moved.clone(), place);
        }
    }

    /// The records of these rows.
    fn named(&self, found: Vec<(u32, f32)>) -> impl Iterator<Item = Neighbour> {
        found.into_iter().map(|(row, distance)| Neighbour {
            id: self.ids[row as usize].clone(),
            distance,
        })
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Directions {
    /// By context, and at the end what has none.
    shelves: Vec<Shelf>,
    /// Datasets.
    names: Names,
    /// On which shelf a record stands.
    standing: HashMap<String, u8>,
    numbers_max: usize,
}

impl Default for Directions {
    fn default() -> Self {
        Self::of_at_most(NUMBERS_MAX)
    }
}

impl Directions {
    fn of_at_most(numbers_max: usize) -> Self {
        let shelves = 0..=Context::ALL.len();
        Self {
            shelves: shelves.map(|_| Shelf::default()).collect(),
            names: Names::default(),
            standing: HashMap::new(),
            numbers_max,
        }
    }

    /// Takes a record in, or as it is now.
    pub(super) fn put(
        &mut self,
        id: &str,
        (context, dataset): (Option<Context>, &str),
        vector: &[f32],
    ) {
        let shelf = context.map_or(Context::ALL.len(), |context| context as usize);
        if self
            .standing
            .get(id)
            .is_some_and(|&known| usize::from(known) != shelf)
        {
            self.remove(id);
        }
        let dataset = self.names.number(dataset);
        self.shelves[shelf].put(id, dataset, vector, self.numbers_max);
        if self.shelves[shelf].is_given_up {
            // What is looked for on it is asked for elsewhere, so that nobody need know what stood there.
            self.standing.remove(id);
        } else {
            self.standing.insert(id.to_owned(), shelf as u8);
        }
    }

    /// Takes a record away.
    pub(super) fn remove(&mut self, id: &str) {
        if let Some(shelf) = self.standing.remove(id) {
            self.shelves[usize::from(shelf)].remove(id);
        }
    }

    /// Makes what changed ready to be searched.
    pub(super) fn settle(&mut self) {
        let rows = self
            .shelves
            .iter_mut()
            .filter_map(|shelf| shelf.rows.as_mut());
        rows.for_each(UnitRows::settle);
    }

    /// The nearest `count` records, of those that are meant, to each of `vectors`; `None` where a shelf that
    /// they may stand on was given up.
    pub(super) fn nearest(
        &self,
        vectors: Matrix<'_>,
        among: Among<'_>,
        count: usize,
    ) -> Option<Vec<Near>> {
        let shelves = match among {
            Among::Context(context) => &self.shelves[context as usize..=context as usize],
            Among::All | Among::Dataset(_) => &self.shelves[..],
        };
        if shelves.iter().any(|shelf| shelf.is_given_up) {
            return None;
        }
        let dataset = match among {
            Among::Dataset(name) => Some(self.names.known(name)),
            Among::All | Among::Context(_) => None,
        };
        let mut all: Vec<Near> = vec![Near::new(); vectors.len()];
        for shelf in shelves {
            let Some(rows) = &shelf.rows else {
                continue;
            };
            let admits = |_: usize, row: u32| {
                dataset.is_none_or(|dataset| dataset == Some(shelf.datasets[row as usize]))
            };
            for (near, found) in all.iter_mut().zip(rows.nearest(vectors, count, admits)) {
                near.extend(shelf.named(found));
            }
        }
        for near in &mut all {
            near.sort_by(Neighbour::order);
            near.truncate(count);
        }
        Some(all)
    }

    /// The nearest `count` training records to each of `vectors`, by direction and by how far they are as they are;
    /// `None` where their shelf was given up.
    pub(super) fn nearest_training(
        &self,
        vectors: Matrix<'_>,
        count: usize,
    ) -> Option<Vec<[Near; 2]>> {
        let shelf = &self.shelves[Context::Training as usize];
        if shelf.is_given_up {
            return None;
        }
        let Some(rows) = &shelf.rows else {
            return Some(vec![[Near::new(), Near::new()]; vectors.len()]);
        };
        let in_order = |found| {
            let mut near: Near = shelf.named(found).collect();
            near.sort_by(Neighbour::order);
            near
        };
        let found = rows.nearest_both(vectors, count, |_, _| true).into_iter();
        Some(found.map(|both| both.map(in_order)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAINING: Option<Context> = Some(Context::Training);
    const PRODUCTION: Option<Context> = Some(Context::Production);

    fn found(directions: &mut Directions, among: Among<'_>) -> Option<Vec<String>> {
        directions.settle();
        let near = directions.nearest(Matrix::new(&[1.0, 0.0], 2), among, 2)?;
        Some(near[0].iter().map(|one| one.id.clone()).collect())
    }

    #[test]
    fn the_nearest_lie_in_the_same_direction_however_long_they_are() {
        let mut all = Directions::default();
        all.put("long", (TRAINING, "a"), &[900.0, 800.0]);
        all.put("short", (TRAINING, "a"), &[0.001, 0.0]);
        all.put("near", (PRODUCTION, "b"), &[5.0, 0.1]);
        let training = Among::Context(Context::Training);
        assert_eq!(found(&mut all, training).unwrap(), ["short", "long"]);
        assert_eq!(found(&mut all, Among::All).unwrap(), ["short", "near"]);
        assert_eq!(found(&mut all, Among::Dataset("b")).unwrap(), ["near"]);
        assert!(found(&mut all, Among::Dataset("c")).unwrap().is_empty());
        let both = all
            .nearest_training(Matrix::new(&[1.0, 0.0], 2), 2)
            .unwrap();
        let ids = |near: &Near| near.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&both[0][0]), ["short", "long"]);
        assert_eq!(ids(&both[0][1]), ["short", "long"]);
        let both = all
            .nearest_training(Matrix::new(&[600.0, 0.0], 2), 1)
            .unwrap();
        assert_eq!(
            (ids(&both[0][0]), ids(&both[0][1])),
            (vec!["short".into()], vec!["short".into()])
        );
        let both = all
            .nearest_training(Matrix::new(&[850.0, 0.0], 2), 1)
            .unwrap();
        assert_eq!(
            (ids(&both[0][0]), ids(&both[0][1])),
            (vec!["short".into()], vec!["long".into()])
        );
        // What is promoted stands among training from then on, and what is gone nowhere.
        all.put("near", (TRAINING, "b"), &[5.0, 0.1]);
        assert_eq!(found(&mut all, training).unwrap(), ["short", "near"]);
        all.remove("short");
        assert_eq!(found(&mut all, training).unwrap(), ["near", "long"]);
        let production = Among::Context(Context::Production);
        assert!(found(&mut all, production).unwrap().is_empty());
    }

    #[test]
    fn a_shelf_that_is_too_large_is_given_up_and_the_others_stay() {
        let mut all = Directions::of_at_most(4);
        for id in ["p1", "p2", "p3"] {
            all.put(id, (PRODUCTION, "p"), &[1.0, 1.0]);
        }
        all.put("t1", (TRAINING, "t"), &[1.0, 1.0]);
        all.remove("p1");
        assert!(found(&mut all, Among::Context(Context::Production)).is_none());
        assert!(found(&mut all, Among::All).is_none());
        assert_eq!(
            found(&mut all, Among::Context(Context::Training)).unwrap(),
            ["t1"]
        );
    }
}
