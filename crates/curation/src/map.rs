//! The map: every record of a space as a point of a plane, near what is like it.
//!
//! What must stay true: a record keeps about its place while others come: new ones are placed by their
//! neighbours until a tenth of the map is new, and then all move on from where they are. A space that
//! is too large for one request is laid out by the job.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use vermilion_engine::model::Value;
use vermilion_protocol::arrow::{Cells, write_columns};
use vermilion_scores::layout::{Layout, LayoutOptions, Point, place, principal_start};
use vermilion_scores::{Graph, Matrix};

use crate::desk::{Among, By, Decision, Desk, Row, Sought, number_of, places};
use crate::fields::{self, Context};
use crate::issues::{Slot, Studies, Study, Version};
use crate::recommend::usual;
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Neighbours that hold a record in its place.
const NEIGHBOURS: usize = 15;
/// Records that are laid out; of more, an even part is, and the others are placed by their neighbours.
const LAID_OUT_MAX: usize = 50_000;
/// One record of so many may be new before all are laid out again.
const NEW_SHARE: usize = 10;
/// How far points of an old map move at first.
const GOES_ON: f32 = 0.1;
/// Edges of a step: some milliseconds.
const EDGES: usize = 100_000;
/// Records that are read at once.
const PAGE: usize = 1000;
/// Fields that are told where none are named.
const USUAL: &str = "context,label_class,inference_class,trouble";
/// Fields that are told at most.
const FIELDS_MAX: usize = 20;
/// Points that are told at most, and unless fewer are asked for.
pub const POINTS_MAX: usize = 1_000_000;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Map {
    ids: Vec<String>,
    points: Vec<Point>,
    /// Records that there were when all were laid out.
    laid_out: usize,
}

impl Study for Map {
    const AT_ONCE: usize = 2_000;

    fn slot(studies: &Studies) -> &Slot<Self> {
        &studies.map
    }

    fn holds(then: Version, now: Version) -> bool {
        then.as_of == now.as_of
    }

    fn make(
        curation: &Curation,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Self>> {
        let ids: Vec<String> = desk.state.lock().rows.keys().cloned().collect();
        let old = desk.studies.map.last();
        let mut laid_out = old.as_ref().map_or(0, |old| old.laid_out);
        let mut points = vec![None; ids.len()];
        if let Some(old) = &old {
            let known: HashMap<&str, Point> = old
                .ids
                .iter()
                .map(String::as_str)
                .zip(old.points.iter().copied())
                .collect();
            points = ids.iter().map(|id| known.get(&**id).copied()).collect();
        }
        let has_old = points.iter().any(Option::is_some);
        let new = points.iter().filter(|point| point.is_none()).count();
        let is_due = !has_old || new * NEW_SHARE > laid_out;
        if has_old && !curation.place_rest((space, desk), &ids, &mut points, go_on)? {
            return Ok(None);
        }
        if is_due && !ids.is_empty() {
            let whole = curation.lay_out((space, desk), &ids, &mut points, go_on)?
                && curation.place_rest((space, desk), &ids, &mut points, go_on)?;
            if !whole {
                return Ok(None);
            }
            laid_out = ids.len();
        }
        let points = points.into_iter().map(Option::unwrap_or_default).collect();
        Ok(Some(Self {
            ids,
            points,
            laid_out,
        }))
    }
}

impl Map {
    /// The points within a part of the plane, of more than `most` those whose ids have the lowest hashes, so that
    /// the same are told again; and how many there are within.
    fn part(self: Arc<Self>, part: &[RangeInclusive<f32>; 2], most: usize) -> (Arc<Self>, usize) {
        let is_within = |at: &usize| {
            let point = self.points[*at];
            part.iter()
                .zip(point)
                .all(|(range, place)| range.contains(&place))
        };
        let mut rows: Vec<usize> = (0..self.ids.len()).filter(is_within).collect();
        let within = rows.len();
        if within > most {
            rows.select_nth_unstable_by_key(most, |&at| (number_of(&self.ids[at]), at));
            rows.truncate(most);
            rows.sort_unstable();
        }
        if rows.len() == self.ids.len() {
            return (self, within);
        }
        let told = Self {
            ids: rows.iter().map(|&at| self.ids[at].clone()).collect(),
            points: rows.iter().map(|&at| self.points[at]).collect(),
            laid_out: self.laid_out,
        };
        (Arc::new(told), within)
    }

    /// Where a record is; `None` of one that came later.
    pub(crate) fn place_of(&self, id: &str) -> Option<Point> {
        let known = self.ids.binary_search_by(|known| known.as_str().cmp(id));
        known.ok().map(|at| self.points[at])
    }
}

/// What is asked of a map.
#[derive(Clone, Debug, Default)]
pub struct AskedMap {
    /// Fields of the records, by commas.
    pub fields: Option<String>,
    /// Only points of this part of the plane: the lowest x and y, then the highest, by commas.
    pub bounds: Option<String>,
    /// So many points at most, drawn evenly.
    pub points: Option<usize>,
}

impl AskedMap {
    /// The names of the fields.
    fn names(&self) -> Result<Vec<&str>> {
        let names = self.fields.as_deref().unwrap_or(USUAL).split(',');
        let names: Vec<&str> = names
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        if let Some(own) = names.iter().find(|name| ["id", "x", "y"].contains(name)) {
            let message = format!("`{own}` is told of every record of a map.");
            return Err(Refusal::wrong("unknown_field", message)
                .field("fields")
                .hint("leave it out; `id`, `x` and `y` are always there"));
        }
        if names.len() > FIELDS_MAX {
            let message = "The map is asked for too many fields.";
            return Err(Refusal::wrong("out_of_range", message)
                .field("fields")
                .hint(format!("{FIELDS_MAX} at most")));
        }
        Ok(names)
    }

    /// The part of the plane; all of it unless one is asked for.
    fn part(&self) -> Result<[RangeInclusive<f32>; 2]> {
        let Some(told) = &self.bounds else {
            return Ok([0, 1].map(|_| f32::NEG_INFINITY..=f32::INFINITY));
        };
        let numbers: Option<Vec<f32>> =
            told.split(',').map(|one| one.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some([left, low, right, high]) if left <= right && low <= high => {
                Ok([*left..=*right, *low..=*high])
            }
            _ => Err(
                Refusal::wrong("out_of_range", format!("`{told}` is no part of a plane."))
                    .field("bounds")
                    .hint("the lowest x and y, then the highest, such as -1.5,0,2,3.5"),
            ),
        }
    }

    fn points(&self) -> Result<usize> {
        let points = self.points.unwrap_or(POINTS_MAX);
        if (1..=POINTS_MAX).contains(&points) {
            return Ok(points);
        }
        let message = format!("`points` is {points}.");
        Err(Refusal::wrong("out_of_range", message)
            .field("points")
            .hint(format!("1 to {POINTS_MAX}")))
    }
}

/// A map as a stream of Arrow; none while there is none yet.
pub struct MapStream {
    /// The stream.
    pub stream: Option<Vec<u8>>,
}

impl Curation {
    /// The map of a space, with fields of its records: of the record itself, or of its metadata.
    pub fn map(&self, at: &Place, name: &str, asked: &AskedMap) -> Result<MapStream> {
        let (names, part, points) = (asked.names()?, asked.part()?, asked.points()?);
        let space = self.space(at, name)?;
        let ready = self.ready_desk(&space)?;
        let desk = &ready.desk;
        let studied = self.study::<Map>(&space, &ready)?;
        let Some((version, map)) = studied.found else {
            return Ok(MapStream { stream: None });
        };
        let (map, within) = map.part(&part, points);
        let mut columns = vec![
            (
                "id".to_owned(),
                Cells::Texts(map.ids.iter().cloned().map(Some).collect()),
            ),
            (
                "x".to_owned(),
                Cells::Floats(map.points.iter().map(|point| point[0]).collect()),
            ),
            (
                "y".to_owned(),
                Cells::Floats(map.points.iter().map(|point| point[1]).collect()),
            ),
        ];
        let mut own = Vec::new();
        for name in names {
            if name == "priority" {
                columns.push((name.to_owned(), priorities(desk, &map)?));
                continue;
            }
            match self.field(desk, &map, name) {
                Some(cells) => columns.push((name.to_owned(), cells)),
                None => own.push(name),
            }
        }
        columns.extend(self.own_fields(&space, &map, &own)?);
        let notes = [
            ("epoch", version.epoch.to_string()),
            ("as_of_seq", version.as_of.to_string()),
            ("ready", (studied.is_ready && ready.is_whole()).to_string()),
            ("records", within.to_string()),
        ];
        let stream = write_columns(columns, &notes)
            .map_err(|error| Refusal::new(error.status, "internal", error.message))?;
        Ok(MapStream {
            stream: Some(stream),
        })
    }

    /// A field that the desk knows.
    fn field(&self, desk: &Desk, map: &Map, name: &str) -> Option<Cells> {
        let now = self.now();
        let mut state = desk.state.lock();
        let percentiles = state.percentiles();
        let state = &*state;
        let rows = map.ids.iter().map(|id| state.rows.get(id));
        let text = |of: &dyn Fn(&Row) -> Option<String>| {
            Cells::Texts(rows.clone().map(|row| of(row?)).collect())
        };
        let class = |class: Option<u32>| class.map(|class| state.classes.name(class).to_owned());
        Some(match name {
            fields::CONTEXT => text(&|row| row.context.map(|one| Context::name(one).to_owned())),
            fields::DATASET => text(&|row| Some(row.dataset.clone())),
            fields::LABEL_CLASS => text(&|row| class(row.label)),
            fields::INFERENCE_CLASS => text(&|row| class(row.class())),
            fields::GROUP => text(&|row| row.group.map(|one| state.groups.name(one).to_owned())),
            fields::DECISION => text(&|row| row.decision.map(|one| Decision::name(one).to_owned())),
            fields::OBSERVED_AT => {
                Cells::Numbers(rows.map(|row| row.map(|row| row.observed_at)).collect())
            }
            "trouble" => Cells::Numbers(
                rows.map(|row| percentiles.trouble(&row?.signals?).value)
                    .collect(),
            ),
            "agreement" => Cells::Truths(
                rows.map(|row| row?.label.zip(row?.class()).map(|(a, b)| a == b))
                    .collect(),
            ),
            "decided" => {
                Cells::Truths(rows.map(|row| row.map(|row| row.is_decided(now))).collect())
            }
            _ => return None,
        })
    }

    /// Fields of the records' own metadata: numbers where all are, else texts.
    fn own_fields(&self, space: &Space, map: &Map, names: &[&str]) -> Result<Vec<(String, Cells)>> {
        let mut values: BTreeMap<&str, Vec<Option<Value>>> = names
            .iter()
            .map(|name| (*name, vec![None; map.ids.len()]))
            .collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        for (first, part) in (0..).step_by(PAGE).zip(map.ids.chunks(PAGE)) {
            let found = self.fetch(space, part)?;
            let Some(metadata) = &found.metadatas else {
                continue;
            };
            for (row, at) in (first..).zip(places(&found.ids, part)) {
                for (key, value) in at.into_iter().flat_map(|at| metadata.row(at)) {
                    if let Some(column) = values.get_mut(key) {
                        column[row] = Some(value.clone());
                    }
                }
            }
        }
        let told = values
            .into_iter()
            .map(|(name, column)| (name.to_owned(), cells(&column)));
        Ok(told.collect())
    }

    /// Lays records out; whether it came to the end. Those of which there are too many have no place then.
    fn lay_out(
        &self,
        (space, desk): (&Space, &Desk),
        ids: &[String],
        points: &mut [Option<Point>],
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let step = ids.len().div_ceil(LAID_OUT_MAX).max(1);
        let part: Vec<String> = ids.iter().step_by(step).cloned().collect();
        let rows: Vec<u32> = (0..part.len() as u32).collect();
        let sought = Sought {
            ids: &part,
            rows: &rows,
            among: Among::All,
            // Of the nearest of all, so many are in the part.
            count: NEIGHBOURS * step,
            by: By::Direction,
        };
        let Some(graph) = self.graph(space, desk, &sought, go_on)? else {
            return Ok(false);
        };
        let known: Option<Vec<Point>> = points.iter().copied().step_by(step).collect();
        let goes_on = known.is_some();
        let start = match known {
            Some(known) => known,
            None => match self.first_places(space, &part, go_on)? {
                Some(places) => places,
                None => return Ok(false),
            },
        };
        let mut options = LayoutOptions::default();
        if goes_on {
            options.learning_rate = GOES_ON;
        }
        let mut layout = Layout::new(&graph, start, options);
        while layout.advance(EDGES) {
            if !go_on() {
                return Ok(false);
            }
        }
        points.fill(None);
        for (place, point) in points.iter_mut().step_by(step).zip(layout.points()) {
            *place = Some(*point);
        }
        Ok(true)
    }

    /// Where a layout begins that has nothing to go on from.
    fn first_places(
        &self,
        space: &Space,
        ids: &[String],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Point>>> {
        let mut numbers: Vec<f32> = Vec::new();
        let mut dimension = 1;
        let mut rows = 0;
        for part in ids.chunks(PAGE) {
            if !go_on() {
                return Ok(None);
            }
            let found = self.fetch_vectors(space, part)?;
            let vectors = found.embeddings.unwrap_or_default();
            dimension = dimension.max(vectors.dimension());
            for at in places(&found.ids, part) {
                let vector = at.and_then(|at| vectors.get(at));
                rows += 1;
                numbers.extend_from_slice(vector.unwrap_or_default());
                // One that is gone meanwhile has a place all the same.
                numbers.resize(rows * dimension, 0.0);
            }
        }
        Ok(Some(principal_start(Matrix::new(&numbers, dimension), 0)))
    }

    /// Places records without a place by their neighbours that have one; whether it came to the end.
    fn place_rest(
        &self,
        (space, desk): (&Space, &Desk),
        ids: &[String],
        points: &mut [Option<Point>],
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let rows: Vec<u32> = (0..ids.len() as u32)
            .filter(|&row| points[row as usize].is_none())
            .collect();
        if rows.is_empty() {
            return Ok(true);
        }
        let sought = Sought {
            ids,
            rows: &rows,
            among: Among::All,
            count: NEIGHBOURS,
            by: By::Direction,
        };
        let Some(graph) = self.graph(space, desk, &sought, go_on)? else {
            return Ok(false);
        };
        let known: Vec<(usize, Point)> = points
            .iter()
            .enumerate()
            .filter_map(|(row, point)| Some((row, (*point)?)))
            .collect();
        let numbers: HashMap<usize, u32> = (0..).zip(&known).map(|(at, one)| (one.0, at)).collect();
        let (mut offsets, mut neighbours, mut distances) = (vec![0], Vec::new(), Vec::new());
        for &row in &rows {
            for (other, distance) in graph.edges(row as usize) {
                if let Some(&number) = numbers.get(&other) {
                    neighbours.push(number);
                    distances.push(distance);
                }
            }
            offsets.push(neighbours.len());
        }
        let known: Vec<Point> = known.into_iter().map(|one| one.1).collect();
        let placed = place(&known, &Graph::new(offsets, neighbours, distances));
        for (row, point) in rows.into_iter().zip(placed) {
            points[row as usize] = Some(point);
        }
        Ok(true)
    }
}

/// The priorities of the records that are on the list that was made last.
fn priorities(desk: &Desk, map: &Map) -> Result<Cells> {
    let list = desk.lists.lock().get(&usual()?.key);
    let entries = list.iter().flat_map(|list| &list.entries);
    let known: HashMap<&str, f64> = entries.map(|one| (&*one.id, one.priority)).collect();
    let told = map.ids.iter().map(|id| known.get(&**id).copied());
    Ok(Cells::Numbers(told.collect()))
}

fn cells(column: &[Option<Value>]) -> Cells {
    let number = |value: &Value| match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    };
    if column.iter().flatten().all(|value| number(value).is_some()) {
        return Cells::Numbers(column.iter().map(|value| number(value.as_ref()?)).collect());
    }
    let text = |value: &Value| match value {
        Value::Str(text) => Some(text.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        other => number(other).map(|number| number.to_string()),
    };
    Cells::Texts(column.iter().map(|value| text(value.as_ref()?)).collect())
}
