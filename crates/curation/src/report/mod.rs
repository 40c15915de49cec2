//! The report of a space: what curation tells of it, on one page.
//!
//! What must stay true: the page is a picture of the report as JSON and of nothing else; what cannot be
//! told of a space is named with the reason, and the rest is told; whatever users logged is text on the
//! page, never markup.
//!
//! | file | what |
//! |---|---|
//! | `html` | the page: one file, without scripts, that loads nothing |
//! | `plots` | its pictures, as SVG |
//! | `markdown` | the same as Markdown |
//! | `cells` | values as text, escaped |

mod cells;
mod html;
mod markdown;
mod plots;

#[cfg(test)]
mod tests;

use std::panic::resume_unwind;
use std::thread;

use serde_json::{Map, Value as Json, json};

use crate::drift::AskedDrift;
use crate::issues::AskedIssues;
use crate::recommend::Asked;
use crate::retrain::Which;
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Entries of the list that are told with their reasons.
const TOLD_ENTRIES: usize = 25;
/// Entries of the list whose coverage is told.
const COVERED_ENTRIES: usize = 1000;
/// Labels that are told.
const TOLD_ISSUES: usize = 50;
/// Issues of each other type that are told.
const TOLD_OF_A_TYPE: usize = 10;
/// Retrainings that are told.
const TOLD_RUNS: u32 = 20;
/// The status of a refusal that says what is missing, such as training data.
const CANNOT_BE_TOLD: u16 = 422;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// All of it, for programs.
    Json,
    /// A page that opens offline.
    Html,
    /// Tables for a repository or a chat.
    Markdown,
}

impl ReportFormat {
    /// The format of that name; JSON where none is named.
    pub fn named(name: Option<&str>) -> Result<Self> {
        match name {
            None | Some("json") => Ok(Self::Json),
            Some("html") => Ok(Self::Html),
            Some("md") => Ok(Self::Markdown),
            Some(other) => {
                let message = format!("`{other}` is no format of a report.");
                Err(Refusal::wrong("unknown_format", message)
                    .field("format")
                    .hint("json, md, html"))
            }
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
        }
    }

    /// Writes a report.
    pub fn write(self, report: &Json) -> String {
        match self {
            Self::Json => report.to_string(),
            Self::Html => html::page(report),
            Self::Markdown => markdown::page(report),
        }
    }
}

impl Curation {
    /// Everything that is told of a space. A section that cannot be told is null, and `unavailable` says why.
    pub fn report(&self, place: &Place, name: &str) -> Result<Json> {
        let space = self.space(place, name)?;
        // Drift takes about as long as all the rest, and needs nothing of it.
        let (drift, sections) = thread::scope(|scope| {
            let drift = thread::Builder::new()
                .name("curation-drift".to_owned())
                .spawn_scoped(scope, || self.whole_drift(place, name));
            let sections = self.sections(place, name, &space);
            let drift = match drift {
                Ok(drift) => drift.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => self.whole_drift(place, name),
            };
            (drift, sections)
        });
        let mut report = sections?;
        report.put("drift", drift)?;
        Ok(report.finish(self.now()))
    }

    /// Drift of all of production from training.
    fn whole_drift(&self, place: &Place, name: &str) -> Result<Json> {
        let drift = self.drift(place, name, &AskedDrift::default());
        drift.map_err(|refusal| Refusal {
            // The rest is told meanwhile.
            status: if refusal.code == "not_ready" {
                CANNOT_BE_TOLD
            } else {
                refusal.status
            },
            ..refusal
        })
    }

    /// The report but for drift.
    fn sections(&self, place: &Place, name: &str, space: &Space) -> Result<Sections> {
        let mut report = Sections::default();
        report.put("space", self.summary(space).map(|told| json!(told)))?;
        let list = |n: usize, explain: bool| {
            let asked = Asked {
                n: Some(n),
                explain: Some(explain),
                ..Asked::default()
            };
            let told = self.recommend(place, name, &asked)?;
            if told.is_made {
                return Ok(told.page);
            }
            let message = "The list is being made.";
            Err(Refusal::new(CANNOT_BE_TOLD, "not_ready", message).hint("retry in a while"))
        };
        let told = list(TOLD_ENTRIES, true).and_then(|told| self.with_thumbnails(space, told));
        report.put("recommendations", told)?;
        let curve = list(COVERED_ENTRIES, false).map(|told| {
            let entries = told["recommendations"].as_array();
            let entries = entries.into_iter().flatten();
            entries.map(|one| one["coverage"].clone()).collect()
        });
        report.put("coverage_curve", curve)?;
        report.put("signals", self.signals(place, name))?;
        let issues = |kind: Option<&str>, limit: usize| {
            let asked = AskedIssues {
                kind: kind.map(str::to_owned),
                limit: Some(limit),
                ..AskedIssues::default()
            };
            self.issues(place, name, &asked)
        };
        report.put("label_issues", issues(Some("label"), TOLD_ISSUES))?;
        report.put(
            "issues",
            issues(None, 0).and_then(|all| worst(all, &issues)),
        )?;
        let confusions = self.confusions(space);
        report.put("confusion", confusions.map(Json::Object))?;
        let runs = Which {
            limit: Some(TOLD_RUNS),
            ..Which::default()
        };
        report.put("retrainings", self.retrainings(place, name, &runs))?;
        Ok(report)
    }

    /// A page of the list whose entries have their pictures, as data URLs, where there are any.
    fn with_thumbnails(&self, space: &Space, mut page: Json) -> Result<Json> {
        let Some(entries) = page["recommendations"].as_array_mut() else {
            return Ok(page);
        };
        let ids = entries.iter().filter_map(|one| one["id"].as_str());
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        let found = self.thumbnails(space, &ids)?;
        for entry in entries {
            let found = entry["id"].as_str().and_then(|id| found.get(id)?.as_ref());
            if let Some(found) = found.filter(|found| found.is_picture()) {
                entry["thumbnail"] = found.document().into();
            }
        }
        Ok(page)
    }
}

/// All issues but labels, with the worst of each type.
fn worst(mut all: Json, issues: &impl Fn(Option<&str>, usize) -> Result<Json>) -> Result<Json> {
    let kinds: Vec<String> = all["totals"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(kind, count)| *kind != "label" && count.as_u64() > Some(0))
        .map(|(kind, _)| kind.clone())
        .collect();
    let mut told = Vec::new();
    for kind in kinds {
        let found = issues(Some(&kind), TOLD_OF_A_TYPE)?;
        told.extend(found["issues"].as_array().cloned().unwrap_or_default());
    }
    all["issues"] = Json::Array(told);
    if let Some(totals) = all["totals"].as_object_mut() {
        totals.remove("label");
    }
    Ok(all)
}

/// A report that grows by sections.
#[derive(Default)]
struct Sections {
    told: Map<String, Json>,
    unavailable: Map<String, Json>,
}

impl Sections {
    /// Takes a section, or why it cannot be told.
    fn put(&mut self, name: &str, section: Result<Json>) -> Result<()> {
        let section = match section {
            Ok(section) => section,
            Err(refusal) if refusal.status == CANNOT_BE_TOLD => {
                let why = json!({
                    "error": refusal.code,
                    "message": refusal.message,
                    "hint": refusal.hint,
                });
                self.unavailable.insert(name.to_owned(), why);
                Json::Null
            }
            Err(refusal) => return Err(refusal),
        };
        self.told.insert(name.to_owned(), section);
        Ok(())
    }

    fn finish(mut self, now: f64) -> Json {
        self.told.insert("made_at".to_owned(), json!(now));
        let unavailable = Json::Object(self.unavailable);
        self.told.insert("unavailable".to_owned(), unavailable);
        Json::Object(self.told)
    }
}
