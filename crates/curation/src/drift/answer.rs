//! The answer: statistic and chance, timeline, what moved, and how accurate the model is thought to be.
//!
//! What must stay true: the same records and question give the same answer, chance included; a side with too few
//! records is refused, and a bucket with too few is told as such and never called moved.

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use vermilion_scores::{
    Drift, DriftBucket, RandomFeatures, Signals, Witness, counted_interval, drift, witness_clusters,
};

use super::ask::{Against, AskedDrift, Question};
use super::known::KnownDrift;
use super::shares;
use super::side::Side;
use crate::accuracy::Correctness;
use crate::assess::{AsOf, InStep, being_read, no_dataset};
use crate::desk::{Desk, Names, Row, State, most_frequent};
use crate::fields::Context;
use crate::spaces::Place;
use crate::{Curation, Refusal, Result};

/// Records of a side whose vectors are read.
const READ_MAX: usize = 10_000;
/// Records of a side from which on it is compared.
const RECORDS_MIN: usize = 20;
/// Deals by which chance is judged, for the window and for each bucket of the timeline, unless `alpha` asks
/// for more.
const DEALS: [usize; 2] = [199, 99];
/// Records that are dealt, for the window and for each bucket.
const DEALT: [usize; 2] = [1000, 500];
/// Clusters of witnesses, and records that are named of each and of all.
const CLUSTERS: usize = 5;
/// See [`CLUSTERS`].
const NAMED: usize = 10;
/// What an estimated accuracy takes for granted.
const ASSUMES: &str = "what production has of new records beyond training is unknown to the model, which is wrong \
     about it; other records with equal signals are as often right in production as in training";
/// What a counted accuracy takes for granted.
const COUNTED_ASSUMES: &str = "the labelled records of the window were drawn evenly";

/// Both sides, and what stands for their vectors.
struct Compared {
    reference: Side,
    window: Side,
    /// Features of the window's members.
    own: Vec<f32>,
    /// Features of the reference's members.
    others: Vec<f32>,
    correctness: Option<Arc<Correctness>>,
}

impl Curation {
    /// How production of a window differs from a reference.
    pub fn drift(&self, place: &Place, name: &str, asked: &AskedDrift) -> Result<Json> {
        let space = self.space(place, name)?;
        let ready = self.ready_desk(&space)?;
        let desk = &*ready.desk;
        let question = self.question(asked, &ready)?;
        let (mut reference, mut window) = {
            let mut state = desk.state.lock();
            known_dataset(&state, &question.against)?;
            let against = |row: &Row| is_reference(row, &question);
            let reference = Side::of(&mut state, READ_MAX, against);
            let window = Side::of(&mut state, READ_MAX, |row| {
                row.is_production() && question.window.contains(&row.observed_at)
            });
            (reference, window)
        };
        enough(&reference, "The reference", "reference")?;
        let begins = asked.from.is_some() || asked.to.is_none();
        let named = if begins { "from" } else { "to" };
        enough(&window, "The window", named)?;
        self.read_side(&space, &mut reference)?;
        self.read_side(&space, &mut window)?;
        enough(&reference, "The reference", "reference")?;
        enough(&window, "The window", named)?;
        let features = RandomFeatures::fit(reference.rows(), 0);
        let compared = Compared {
            own: window.features(&features),
            others: reference.features(&features),
            correctness: self.correctness(&space, desk, &|| true)?,
            reference,
            window,
        };
        let (classes, as_of) = {
            let state = desk.state.lock();
            (state.classes.clone(), AsOf::of(&state))
        };
        let (mut told, witness) = compared.tell(&question, &classes, &as_of);
        *desk.drift.lock() = Some(Arc::new(KnownDrift::new(features, witness, &told)));
        told["ready"] = json!(ready.is_whole());
        Ok(told)
    }

    /// What is asked, understood. What is wrong with it is told before what the space lacks.
    fn question(&self, asked: &AskedDrift, ready: &InStep) -> Result<Question> {
        let seen = match observed(&ready.desk) {
            Ok(seen) => seen,
            Err(few) => {
                let now = self.now();
                let question = Question::of(asked, now..now)?;
                let state = ready.desk.state.lock();
                if !ready.is_read {
                    return Err(being_read(state.rows.len()));
                }
                known_dataset(&state, &question.against)?;
                return Err(few);
            }
        };
        Question::of(asked, seen)
    }
}

impl Compared {
    fn tell(&self, question: &Question, names: &Names, as_of: &AsOf) -> (Json, Witness) {
        let [before, now] = self.buckets(DEALT[0]);
        let found = drift(&before, &now, deals(DEALS[0], question.alpha), 0);
        let witness = Witness::between(&before, &now);
        let values = witness.values(&self.own);
        let by = question.by;
        let classes = by
            .class
            .then(|| shares::by_class(&self.reference, &self.window, names));
        let metadata = by
            .metadata
            .then(|| shares::by_metadata(&self.reference, &self.window));
        let clusters = by.cluster.then(|| self.clusters(&values, names));
        let is_moved = found.p.is_some_and(|p| p <= question.alpha);
        let told = json!({
            "from": question.window.start,
            "to": question.window.end,
            "records": self.window.records,
            "reference": {
                "name": reference_name(&question.against),
                "records": self.reference.records,
            },
            "sampled": {
                "records": self.window.members.len(),
                "reference": self.reference.members.len(),
            },
            "statistic": found.statistic,
            "p": found.p,
            "alpha": question.alpha,
            "drifted": is_moved,
            "blocks": found.blocks,
            "share_new": now.share_new(),
            "explanation": words(&found, is_moved, &now, question),
            "timeline": self.timeline(question),
            "witnesses": self.witnesses(&values),
            "class": classes,
            "cluster": clusters,
            "metadata": metadata,
            "estimated_accuracy": self.accuracy(0..self.window.members.len()),
            "epoch": as_of.epoch,
            "as_of_seq": as_of.as_of_seq,
            "stale_records": as_of.stale_records,
        });
        (told, witness)
    }

    /// Summaries of both sides.
    fn buckets(&self, capacity: usize) -> [DriftBucket; 2] {
        let known = self.correctness.as_deref();
        let each =
            |side: &Side, own: &[f32]| side.bucket(0..side.members.len(), own, known, capacity);
        [
            each(&self.reference, &self.others),
            each(&self.window, &self.own),
        ]
    }

    /// The window bucket by bucket.
    fn timeline(&self, question: &Question) -> Vec<Json> {
        let Range { start, end } = question.window;
        let members = self.window.members.iter();
        let times: Vec<f64> = members.map(|member| member.observed_at).collect();
        let step = question.bucket_of(&times, RECORDS_MIN);
        let first = (start / step).floor();
        let count = ((end / step).ceil() - first).max(1.0) as usize;
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (at, member) in self.window.members.iter().enumerate() {
            let bucket = ((member.observed_at / step).floor() - first) as usize;
            places[bucket.min(count - 1)].push(at);
        }
        let [reference, _] = self.buckets(DEALT[1]);
        let known = self.correctness.as_deref();
        let buckets = places
            .into_iter()
            .enumerate()
            .filter(|(_, places)| !places.is_empty());
        let told = buckets.map(|(at, places)| {
            let from = ((first + at as f64) * step).max(start);
            let to = ((first + at as f64 + 1.0) * step).min(end);
            let all = places.iter().copied();
            let bucket = self.window.bucket(all, &self.own, known, DEALT[1]);
            let is_enough = places.len() >= RECORDS_MIN;
            let found = is_enough.then(|| {
                let deals = deals(DEALS[1], question.alpha);
                drift(&reference, &bucket, deals, 0)
            });
            let p = found.as_ref().and_then(|found| found.p);
            json!({
                "from": from,
                "to": to,
                "sampled": places.len(),
                "statistic": found.as_ref().map(|found| found.statistic),
                "class_shift": found.as_ref().map(|found| found.class_shift),
                "p": p,
                "drifted": p.map(|p| p <= question.alpha),
                "too_few": !is_enough,
                "share_new": bucket.share_new(),
                "median_trouble": bucket.trouble().percentiles().value(0.5),
                "estimated_accuracy": self.accuracy(places.into_iter()),
            })
        });
        told.collect()
    }

    /// The records that are most like what is new in the window.
    fn witnesses(&self, values: &[f64]) -> Vec<Json> {
        let mut order: Vec<usize> = (0..values.len()).filter(|&at| values[at] > 0.0).collect();
        let members = &self.window.members;
        order.sort_by(|&a, &b| {
            values[b]
                .total_cmp(&values[a])
                .then(members[a].id.cmp(&members[b].id))
        });
        let told = order.into_iter().take(NAMED);
        told.map(|at| json!({"id": members[at].id, "witness": values[at]}))
            .collect()
    }

    /// Groups of records that moved together, the one that tells most first.
    fn clusters(&self, values: &[f64], names: &Names) -> Vec<Json> {
        let clusters = witness_clusters(self.window.rows(), values, CLUSTERS, 0);
        let told = clusters.into_iter().map(|cluster| {
            let members = cluster
                .rows
                .iter()
                .map(|&row| &self.window.members[row as usize]);
            let class = most_frequent(members.clone().filter_map(|member| member.class));
            let troubles: Vec<f64> = members
                .clone()
                .filter_map(|member| member.trouble)
                .collect();
            let trouble = troubles.iter().sum::<f64>() / troubles.len().max(1) as f64;
            json!({
                "share": cluster.share,
                "sampled": cluster.rows.len(),
                "inferred_class": class.map(|class| names.name(class)),
                "mean_trouble": (!troubles.is_empty()).then_some(trouble),
                "ids": members.take(NAMED).map(|member| &member.id).collect::<Vec<_>>(),
            })
        });
        told.collect()
    }

    /// How accurate the model is thought to be on some members of the window; null where nothing tells.
    fn accuracy(&self, places: impl Iterator<Item = usize>) -> Json {
        let Some(known) = &self.correctness else {
            return Json::Null;
        };
        let (mut signals, mut right, mut labelled): (Vec<Signals>, u64, u64) = (Vec::new(), 0, 0);
        for member in places.map(|at| &self.window.members[at]) {
            signals.extend(member.signals);
            right += u64::from(member.is_right == Some(true));
            labelled += u64::from(member.is_right.is_some());
        }
        let Some(estimate) = known.model().estimate(&signals) else {
            return Json::Null;
        };
        let (low, high) = counted_interval(right, labelled);
        json!({
            "accuracy": estimate.accuracy,
            "standard_error": estimate.standard_error,
            "unlike_training": estimate.unlike_training,
            "bounds": estimate.bounds,
            "records": estimate.records,
            "accuracy_of_training": known.accuracy_of_training(),
            "training_by_heart": known.is_by_heart(),
            "assumes": ASSUMES,
            "counted": (labelled != 0).then(|| json!({
                "accuracy": right as f64 / labelled as f64,
                "interval": [low, high],
                "records": labelled,
                "assumes": COUNTED_ASSUMES,
            })),
        })
    }
}

/// As many deals as tell whether chance is below `alpha`, at least so many: of n deals no p is below 1 in n + 1.
fn deals(least: usize, alpha: f64) -> usize {
    least.max((1.0 / alpha).ceil() as usize)
}

/// When production was observed first and last.
fn observed(desk: &Desk) -> Result<Range<f64>> {
    let state = desk.state.lock();
    let rows = state.rows.values().filter(|row| row.is_production());
    let times = rows.map(|row| row.observed_at);
    let range = times.fold(f64::INFINITY..f64::NEG_INFINITY, |range, at| {
        range.start.min(at)..range.end.max(at)
    });
    if range.start <= range.end {
        return Ok(range);
    }
    Err(few("The space has no records of production.", "context"))
}

fn is_reference(row: &Row, question: &Question) -> bool {
    match &question.against {
        Against::Context(Context::Production) => {
            row.is_production() && row.observed_at < question.window.start
        }
        Against::Context(context) => row.context == Some(*context),
        Against::Dataset(name) => row.dataset == *name,
        Against::Time(range) => row.is_production() && range.contains(&row.observed_at),
    }
}

fn reference_name(against: &Against) -> String {
    match against {
        Against::Context(context) => context.name().to_owned(),
        Against::Dataset(name) => name.clone(),
        Against::Time(range) => format!("{}..{}", range.start, range.end),
    }
}

fn known_dataset(state: &State, against: &Against) -> Result<()> {
    let Against::Dataset(name) = against else {
        return Ok(());
    };
    if state.has_dataset(name) {
        return Ok(());
    }
    Err(no_dataset(name, "reference")
        .hint("a context, a dataset, `previous`, or a stretch of production such as A..B"))
}

fn enough(side: &Side, what: &str, field: &str) -> Result<()> {
    if side.members.len() >= RECORDS_MIN {
        return Ok(());
    }
    let count = side.members.len();
    Err(few(&format!("{what} has {count} records."), field))
}

fn few(message: &str, field: &str) -> Refusal {
    Refusal::new(422, "too_few_records", message)
        .field(field)
        .hint(format!(
            "{RECORDS_MIN} records on either side are the least that is compared"
        ))
}

fn words(found: &Drift, is_moved: bool, window: &DriftBucket, question: &Question) -> String {
    let name = reference_name(&question.against);
    let Some(p) = found.p else {
        return "nothing could be compared".to_owned();
    };
    if !is_moved {
        return format!(
            "production differs from `{name}` no more than chance would make it (p = {p:.3})"
        );
    }
    format!(
        "production differs from `{name}` more than chance would make it (p = {p:.3}); {:.0} % of its \
         records are newer than 99 % of training",
        window.share_new() * 100.0
    )
}
