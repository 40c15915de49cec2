//! The types of issues, and pages of them.
//!
//! What must stay true: without a type all types are told one after the other, each worst first, so that
//! pages lead through all of them; what cannot be told of this space says why.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::counts;
use super::labels::Labels;
use super::near::NearRecords;
use super::shape::Shape;
use super::study::{Study, Version};
use crate::assess::{InStep, no_reference};
use crate::desk::Desk;
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Issues of a page, unless more or fewer are asked for, and at most.
const PAGE: usize = 100;
/// See [`PAGE`].
pub const PAGE_MAX: usize = 10_000;
/// Records of a cluster that are named, unless more or fewer are asked for.
const NAMED: usize = 20;
/// The largest distance of vectors of length 1.
const DISTANCE_MAX: f32 = 2.0;

/// The types of issues, in the order in which they are told.
pub const TYPES: [&str; 10] = [
    "leak",
    "label",
    "unknown_class",
    "underperforming_cluster",
    "near_duplicate",
    "outlier",
    "imbalance",
    "norm_shift",
    "dead_dimension",
    "missing_probabilities",
];

/// Which issues are asked for.
#[derive(Clone, Debug, Default)]
pub struct AskedIssues {
    /// Only those of this type.
    pub kind: Option<String>,
    /// Issues to pass over.
    pub offset: usize,
    /// Issues of the page.
    pub limit: Option<usize>,
    /// Whether labels that are probably right are told too.
    pub all: bool,
    /// How near duplicates are at most, between vectors of length 1.
    pub threshold: Option<f32>,
    /// Records that are named of each cluster of near ones: 20 unless said.
    pub ids_limit: Option<usize>,
    /// Records of a cluster to pass over.
    pub ids_offset: usize,
}

impl AskedIssues {
    /// The places of the records of a cluster that are named.
    fn named(&self) -> Range<usize> {
        let count = self.ids_limit.unwrap_or(NAMED);
        self.ids_offset..self.ids_offset.saturating_add(count)
    }
}

/// A page that is filled type by type.
struct Page {
    skip: usize,
    left: usize,
    issues: Vec<Json>,
    totals: BTreeMap<&'static str, usize>,
    /// The oldest state of the records that something in it is of.
    version: Version,
    /// Types that the job has not told yet, or not of the records as they are.
    not_ready: Vec<&'static str>,
}

impl Page {
    /// Takes of the issues of a type those that are on the page.
    fn offer(&mut self, kind: &'static str, total: usize, tell: impl FnMut(usize) -> Json) {
        let from = self.skip.min(total);
        let to = (from + self.left).min(total);
        self.skip -= from;
        self.left -= to - from;
        self.issues.extend((from..to).map(tell));
        self.totals.insert(kind, total);
    }

    fn offer_all(&mut self, kind: &'static str, all: &[Json]) {
        self.offer(kind, all.len(), |at| all[at].clone());
    }
}

/// The studies that a page needs.
#[derive(Default)]
struct Found {
    labels: Option<Arc<Labels>>,
    near: Option<Arc<NearRecords>>,
    shape: Option<Arc<Shape>>,
}

impl Curation {
    /// A page of issues of a space.
    pub fn issues(&self, place: &Place, name: &str, asked: &AskedIssues) -> Result<Json> {
        check(asked)?;
        self.issues_unchecked(place, name, asked)
    }

    /// The same however long the page and its clusters are.
    pub(crate) fn issues_unchecked(
        &self,
        place: &Place,
        name: &str,
        asked: &AskedIssues,
    ) -> Result<Json> {
        let kinds = kinds(asked.kind.as_deref())?;
        let space = self.space(place, name)?;
        let ready = self.ready_desk(&space)?;
        let desk = &*ready.desk;
        let has_reference = desk.state.lock().reference.is_some();
        if kinds == ["label"] && !has_reference {
            return Err(no_reference());
        }
        let mut page = Page {
            skip: asked.offset,
            left: asked.limit.unwrap_or(PAGE),
            issues: Vec::new(),
            totals: BTreeMap::new(),
            version: Version::of(&desk.state.lock()),
            not_ready: not_ready(&ready),
        };
        let wants = |names: &[&str]| kinds.iter().any(|kind| names.contains(kind));
        let mut found = Found::default();
        if has_reference && wants(&["label"]) {
            found.labels = self.look(&space, &ready, &mut page, &["label"])?;
        }
        let near = ["leak", "near_duplicate", "outlier"];
        if wants(&near) {
            found.near = self.look(&space, &ready, &mut page, &near)?;
        }
        let shape = ["underperforming_cluster", "norm_shift", "dead_dimension"];
        if wants(&shape) {
            found.shape = self.look(&space, &ready, &mut page, &shape)?;
        }
        for kind in &kinds {
            tell(kind, &found, asked, desk, &mut page);
        }
        let not_ready = TYPES
            .into_iter()
            .filter(|kind| page.not_ready.contains(kind));
        page.not_ready = not_ready.filter(|kind| kinds.contains(kind)).collect();
        let missing = !has_reference && wants(&["label", "underperforming_cluster"]);
        let labels = found.labels.filter(|_| wants(&["label"]));
        let state = desk.state.lock();
        Ok(json!({
            "issues": page.issues,
            "total": page.totals.values().sum::<usize>(),
            "totals": page.totals,
            "ready": page.not_ready.is_empty(),
            "not_ready": page.not_ready,
            "no_reference": missing,
            "estimated_errors": labels.as_ref().map(|labels| labels.estimated_errors(&state)),
            "experts": labels.as_ref().map(|labels| labels.experts()),
            "client_by_heart": labels.as_ref().map(|labels| labels.is_by_heart()),
            "epoch": page.version.epoch,
            "as_of_seq": page.version.as_of,
            "stale_records": state.stale(),
        }))
    }

    /// A study, whose state the page notes.
    fn look<T: Study>(
        &self,
        space: &Space,
        ready: &InStep,
        page: &mut Page,
        kinds: &[&'static str],
    ) -> Result<Option<Arc<T>>> {
        let studied = self.study::<T>(space, ready)?;
        if !studied.is_ready {
            page.not_ready.extend(kinds);
            if let Some((then, _)) = &studied.found {
                page.version.epoch = page.version.epoch.min(then.epoch);
                page.version.as_of = page.version.as_of.min(then.as_of);
            }
        }
        Ok(studied.found.map(|(_, found)| found))
    }
}

fn tell(kind: &'static str, found: &Found, asked: &AskedIssues, desk: &Desk, page: &mut Page) {
    match (kind, &found.labels, &found.near, &found.shape) {
        ("label", Some(labels), ..) => {
            let state = desk.state.lock();
            page.offer(kind, labels.count(asked.all), |at| labels.tell(at, &state));
        }
        ("leak", _, Some(near), _) => {
            let clusters = near.leaks(asked.threshold);
            page.offer(kind, clusters.len(), |at| {
                near.tell_cluster(&clusters, at, asked.named())
            });
        }
        ("near_duplicate", _, Some(near), _) => {
            let clusters = near.duplicates(asked.threshold);
            page.offer(kind, clusters.len(), |at| {
                near.tell_cluster(&clusters, at, asked.named())
            });
        }
        ("outlier", _, Some(near), _) => {
            page.offer(kind, near.outliers(), |at| near.tell_outlier(at));
        }
        ("underperforming_cluster", .., Some(shape)) => page.offer_all(kind, &shape.clusters),
        ("norm_shift", .., Some(shape)) => page.offer_all(kind, &shape.norms),
        ("dead_dimension", .., Some(shape)) => page.offer_all(kind, &shape.dead),
        ("unknown_class", ..) => page.offer_all(kind, &counts::unknown(&desk.state.lock())),
        ("imbalance", ..) => page.offer_all(kind, &counts::rare(&desk.state.lock())),
        ("missing_probabilities", ..) => {
            page.offer_all(kind, &counts::without_probabilities(&desk.state.lock()));
        }
        _ => {}
    }
}

/// The types that cannot be told of the records as they are, whatever was found: where records are not read yet all of
/// them, where some are not scored those that need scores.
fn not_ready(ready: &InStep) -> Vec<&'static str> {
    match (ready.is_read, ready.is_scored) {
        (false, _) => TYPES.to_vec(),
        (true, false) => vec!["underperforming_cluster"],
        (true, true) => Vec::new(),
    }
}

/// The types that are asked for.
fn kinds(asked: Option<&str>) -> Result<Vec<&'static str>> {
    let Some(asked) = asked else {
        return Ok(TYPES.to_vec());
    };
    let known = TYPES.into_iter().find(|kind| *kind == asked);
    let known = known.map(|kind| vec![kind]);
    known.ok_or_else(|| {
        Refusal::wrong("unknown_type", format!("`{asked}` is no type of issue."))
            .field("type")
            .hint(TYPES.join(", "))
    })
}

/// Refuses a page that is too long; `next` is what leads on.
pub(super) fn check_limit(field: &str, limit: Option<usize>, next: &str) -> Result<()> {
    if limit.is_none_or(|limit| limit <= PAGE_MAX) {
        return Ok(());
    }
    let message = "The page is too long.";
    Err(Refusal::wrong("too_many_records", message)
        .field(field)
        .hint(format!("{PAGE_MAX} at most; {next} leads on")))
}

fn check(asked: &AskedIssues) -> Result<()> {
    let pages = [
        ("limit", asked.limit, "`offset`"),
        ("ids_limit", asked.ids_limit, "`ids_offset`"),
    ];
    for (field, limit, next) in pages {
        check_limit(field, limit, next)?;
    }
    let sound = |threshold: f32| (0.0..=DISTANCE_MAX).contains(&threshold);
    if asked.threshold.is_some_and(|threshold| !sound(threshold)) {
        let message = "The threshold is no distance of vectors of length 1.";
        return Err(Refusal::wrong("out_of_range", message)
            .field("threshold")
            .hint(format!("0 to {DISTANCE_MAX}")));
    }
    Ok(())
}
