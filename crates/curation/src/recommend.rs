//! Recommendations: pages of the list, each entry with its reasons.
//!
//! What must stay true: a page behind a cursor is of the list that the cursor came from, whatever was logged since, or
//! refused; what is asked for a hundred is the head of what is asked for a thousand.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use vermilion_scores::{Objective, PriorityOptions};

use crate::assess::{AsOf, InStep, known_datasets, known_reasons, no_reference};
use crate::desk::{Decision, Desk};
use crate::key::{canonical, hexadecimal};
use crate::list::{ENTRIES_MAX, Entry, Found, List, NEIGHBOURS, Wanted, filter_told};
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Entries of a page, unless more or fewer are asked for.
const PAGE: usize = 100;
/// Entries of a page at most.
const PAGE_MAX: usize = 1000;
/// Bytes of the digests that tell lists apart.
pub(crate) const KEY_BYTES: usize = 8;

/// What is asked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Entries of the page.
    #[serde(skip_serializing)]
    pub n: Option<usize>,
    /// Entries to pass over.
    #[serde(skip_serializing)]
    pub skip: Option<usize>,
    /// Where the page before ended.
    #[serde(skip_serializing)]
    pub cursor: Option<String>,
    /// Whether each entry says why; it does unless this is false.
    #[serde(skip_serializing)]
    pub explain: Option<bool>,
    /// Whether the list of a large space is made again at once, where it is not of the records as they are.
    #[serde(skip_serializing)]
    pub refresh: Option<bool>,
    /// Whether a list is made without any training data.
    #[serde(skip_serializing)]
    pub allow_degraded: Option<bool>,
    /// `retrain`, `explore`, `verify` or `random`.
    pub objective: Option<String>,
    /// Only records that this filter means.
    #[serde(rename = "where")]
    pub filter: Option<Json>,
    /// Only records of these datasets.
    pub datasets: Option<Vec<String>>,
    /// The share of undecided records that may be picked.
    pub candidates: Option<f64>,
    /// Entries of one class at most.
    pub per_class_cap: Option<usize>,
    /// Entries of one group at most.
    pub per_group_cap: Option<usize>,
    /// The weight of a record's own mass.
    pub singletons: Option<f64>,
    /// The share of the list that is drawn evenly.
    pub random_share: Option<f64>,
    /// Where draws begin.
    pub seed: Option<u64>,
    /// Whether decided records are left out; they are unless this is false.
    pub exclude_decided: Option<bool>,
}

/// How much is told of the entries of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// What the list and the desk know.
    Entries,
    /// The same with reasons, as of when they were scored.
    Reasons,
    /// All of that with signals and neighbours, which are looked for anew.
    Everything,
}

/// A page of recommendations.
pub struct Recommendations {
    /// As it is told.
    pub page: Json,
    /// Whether there is a list; else the page is empty, and says how far the first one is.
    pub is_made: bool,
}

impl Curation {
    /// A page of recommendations of a space.
    pub fn recommend(&self, place: &Place, name: &str, asked: &Asked) -> Result<Recommendations> {
        let space = self.space(place, name)?;
        let wanted = wanted(asked)?;
        let n = asked.n.unwrap_or(PAGE);
        if n > PAGE_MAX {
            let message = format!("A page of {n} entries is too long.");
            return Err(Refusal::wrong("too_many_records", message)
                .field("n")
                .hint(format!("{PAGE_MAX} at most; `cursor` leads on")));
        }
        let ready = self.ready_desk(&space)?;
        let desk = &ready.desk;
        let degraded = desk.state.lock().reference.is_none();
        if degraded && asked.allow_degraded != Some(true) {
            let refusal = no_reference();
            let hint = "log labelled training records, or set `allow_degraded`";
            return Err(refusal.hint(hint));
        }
        if ready.is_read {
            let named = wanted.datasets.iter().flatten();
            known_datasets(&desk.state.lock(), named, "datasets")?;
        }
        let (found, from) = if let Some(cursor) = &asked.cursor {
            self.read_on(&space, &ready, &wanted, cursor)?
        } else {
            let insists = asked.refresh == Some(true);
            let found = self.list(&space, &ready, &wanted, insists)?;
            (found, asked.skip.unwrap_or(0))
        };
        let Some(list) = &found.list else {
            let as_of = AsOf::of(&desk.state.lock());
            return Ok(found.page(&as_of, (&[], None), 0, None));
        };
        let open = self.open_entries(desk, &found, &wanted);
        let first = open.partition_point(|at| *at < from);
        let rest = &open[first..];
        let page = &rest[..n.min(rest.len())];
        let telling = if asked.explain == Some(false) {
            Telling::Entries
        } else {
            Telling::Everything
        };
        let told = self.entries(&space, list, page, telling)?;
        let next = rest.get(page.len()).filter(|_| !page.is_empty());
        let next = next.map(|to| {
            let mark = list.mark(&wanted.key);
            let cursor = URL_SAFE_NO_PAD.encode(format!("{mark}.{to}"));
            desk.lists.lock().keep(mark, list);
            cursor
        });
        let coverage = page.last().map(|last| list.entries[*last].coverage);
        let as_of = AsOf::of(&desk.state.lock());
        let told = found.page(&as_of, (&told, coverage), open.len(), next.as_deref());
        Ok(told)
    }

    /// The list that a cursor leads on in, and where. Where it is kept no longer, as after a restart, it is made
    /// again: if it comes out as it was, the cursor leads on.
    fn read_on(
        &self,
        space: &Space,
        ready: &InStep,
        wanted: &Wanted,
        cursor: &str,
    ) -> Result<(Found, usize)> {
        let (mark, from) = place_of(cursor)?;
        let expired = |message: &str| Refusal::new(409, "cursor_expired", message).field("cursor");
        if mark.split('.').next() != Some(&*wanted.key) {
            let message = "The cursor is of a list with other options.";
            return Err(expired(message).hint("the same options on each page, or no cursor"));
        }
        let kept = ready.desk.lists.lock().kept(&mark);
        if let Some(list) = kept {
            let is_ready = ready.is_whole() && list.holds(&ready.desk, self.now());
            let found = Found {
                list: Some(list),
                is_ready,
                making: None,
            };
            return Ok((found, from));
        }
        let found = self.list(space, ready, wanted, false)?;
        let Some(list) = &found.list else {
            let message = "The list of the cursor is being made again.";
            return Err(Refusal::new(503, "not_ready", message)
                .field("cursor")
                .hint("retry in a second, with the same cursor"));
        };
        if list.mark(&wanted.key) != mark {
            let message = "The list of the cursor is kept no longer, and is another one now.";
            return Err(expired(message).hint(
                "begin again without a cursor; what was decided about meanwhile is not told again",
            ));
        }
        Ok((found, from))
    }

    /// The places of those entries of a list that are still to be told: one that is not of the records as
    /// they are may have some that were decided about or deleted since. The others keep their places, so
    /// that cursors and ranks mean what they meant.
    pub(crate) fn open_entries(&self, desk: &Desk, found: &Found, wanted: &Wanted) -> Vec<usize> {
        let entries = found.list.as_ref().map_or(&[][..], |list| &list.entries);
        let now = self.now();
        let state = desk.state.lock();
        let is_open = |entry: &Entry| {
            let row = state.rows.get(&entry.id);
            row.is_some_and(|row| wanted.with_decided || !row.is_decided(now))
        };
        let places = 0..entries.len();
        places
            .filter(|at| found.is_ready || is_open(&entries[*at]))
            .collect()
    }

    /// The entries at some places of a list as they are told.
    pub(crate) fn entries(
        &self,
        space: &Space,
        list: &List,
        places: &[usize],
        telling: Telling,
    ) -> Result<Vec<Json>> {
        let desk = self.desk(space);
        let entry = |at: &usize| &list.entries[*at];
        let ids: Vec<String> = places.iter().map(|at| entry(at).id.clone()).collect();
        let mut uris = std::collections::HashMap::new();
        let mut assessed = std::collections::HashMap::new();
        if !ids.is_empty() {
            let found = match telling {
                Telling::Everything => self.fetch(space, &ids)?,
                Telling::Entries | Telling::Reasons => self.fetch_uris(space, &ids)?,
            };
            for at in 0..found.ids.len() {
                let uri = found.uris.as_ref().and_then(|uris| uris.get(at));
                uris.insert(found.ids.get(at).to_owned(), uri.map(str::to_owned));
            }
            if telling == Telling::Everything {
                for one in self.assess_fetched(space, &desk, &found)? {
                    assessed.extend(one.id.clone().map(|id| (id, one)));
                }
            }
        }
        let mut state = desk.state.lock();
        let percentiles = state.percentiles();
        let told = places.iter().map(|at| {
            let entry = entry(at);
            let row = state.rows.get(&entry.id);
            let signals = row.and_then(|row| row.signals);
            let trouble = signals.and_then(|signals| percentiles.trouble(&signals).value);
            let decision = row.and_then(|row| row.decision).map(Decision::name);
            let consumed = row.is_some_and(|row| row.is_consumed);
            let labelled = row.is_some_and(|row| row.label.is_some());
            let standing = match decision {
                _ if consumed => "consumed",
                Some(decision) => decision,
                None if labelled => "labelled",
                None => "open",
            };
            let named = |class: u32| state.classes.name(class).to_owned();
            let inferred = row.and_then(|row| row.inferred);
            let inferred = inferred.or(signals.and_then(|signals| signals.inferred));
            let mut told = json!({
                "rank": at + 1,
                "id": entry.id,
                "input_uri": uris.get(&entry.id),
                "priority": entry.priority,
                "gain": entry.gain,
                "coverage": entry.coverage,
                "stands_for": entry.stands_for,
                "drawn": entry.drawn,
                "trouble": trouble,
                "inferred_class": inferred.map(named),
                "dataset": row.map(|row| row.dataset.as_str()),
                "group": row.and_then(|row| row.group).map(|group| state.groups.name(group)),
                "state": standing,
            });
            if telling == Telling::Reasons {
                let reasons = row.map(|row| known_reasons(&state, row, &percentiles));
                told["reasons"] = json!(reasons.map(|reasons| entry.reasons(reasons)));
            }
            if let Some(one) = assessed.get(&entry.id) {
                told["parts"] = json!(one.parts);
                told["missing"] = json!(one.missing);
                told["inferred_by"] = json!(one.inferred_by);
                told["reasons"] = json!(entry.reasons(one.reasons.clone()));
                told["nearest_training"] = json!(one.nearest_training);
            }
            told
        });
        Ok(told.collect())
    }
}

impl Found {
    /// A page of the list, with its entries as they are told and what the list covers up to there, of
    /// `total` that are open; without a list it is empty.
    fn page(
        &self,
        as_of: &AsOf,
        (told, coverage): (&[Json], Option<f64>),
        total: usize,
        cursor: Option<&str>,
    ) -> Recommendations {
        let list = self.list.as_deref();
        let page = json!({
            "recommendations": told,
            "total": total,
            "entries_max": ENTRIES_MAX,
            "coverage": coverage,
            "radius": list.map(|list| list.radius),
            "degraded": list.is_some_and(|list| list.degraded),
            "epoch": list.map_or(as_of.epoch, |list| list.epoch),
            "as_of_seq": list.map_or(as_of.as_of_seq, |list| list.as_of),
            "stale_records": as_of.stale_records,
            "ready": self.is_ready,
            "making": self.making,
            "cursor": cursor,
        });
        Recommendations {
            page,
            is_made: list.is_some(),
        }
    }
}

impl Entry {
    /// Why it is on the list: the reasons of its record, and what it stands for.
    fn reasons(&self, mut reasons: Vec<String>) -> Vec<String> {
        let more = match self.stands_for as usize {
            0 => return reasons,
            1 => "1 similar production record".to_owned(),
            // No more neighbours than these are looked at.
            NEIGHBOURS => format!("{NEIGHBOURS} similar production records or more"),
            some => format!("{some} similar production records"),
        };
        reasons.push(format!("stands for {more}"));
        reasons
    }
}

/// The mark of the list that a cursor is of, and where in it the cursor leads.
fn place_of(cursor: &str) -> Result<(String, usize)> {
    let text = URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = text.as_deref().and_then(|text| text.rsplit_once('.'));
    let Some((mark, Ok(at))) = parts.map(|(mark, at)| (mark, at.parse())) else {
        let message = "The cursor is none that this server gave.";
        return Err(Refusal::wrong("bad_cursor", message).field("cursor"));
    };
    Ok((mark.to_owned(), at))
}

/// The list that is made where nothing else is asked for.
pub(crate) fn usual() -> Result<Wanted> {
    wanted(&Asked::default())
}

/// The list that is asked for.
pub(crate) fn wanted(asked: &Asked) -> Result<Wanted> {
    let objective = match asked.objective.as_deref() {
        None | Some("retrain") => Objective::Retrain,
        Some("explore") => Objective::Explore,
        Some("verify") => Objective::Verify,
        Some("random") => Objective::Random,
        Some(other) => {
            let message = format!("`{other}` is no objective.");
            return Err(Refusal::wrong("unknown_objective", message)
                .field("objective")
                .hint("retrain, explore, verify, random"));
        }
    };
    let share = |name: &str, value: Option<f64>, default: f64, least: f64| {
        let value = value.unwrap_or(default);
        if (least..=1.0).contains(&value) && (least > 0.0 || value >= 0.0) {
            return Ok(value);
        }
        let message = format!("`{name}` is {value}.");
        Err(Refusal::wrong("out_of_range", message)
            .field(name)
            .hint(format!("{least} to 1")))
    };
    let caps = [
        ("per_class_cap", asked.per_class_cap),
        ("per_group_cap", asked.per_group_cap),
    ];
    if let Some((name, _)) = caps.iter().find(|cap| cap.1 == Some(0)) {
        let message = format!("`{name}` is 0, which leaves nothing on the list.");
        return Err(Refusal::wrong("out_of_range", message)
            .field(*name)
            .hint("1 or more, or null for no cap"));
    }
    let usual = PriorityOptions::default();
    let random_share = share("random_share", asked.random_share, usual.random_share, 0.0)?;
    // In any order every entry is drawn, and covers what the model is uncertain about as others do.
    let (objective, random_share) = match objective {
        Objective::Random => (Objective::Retrain, 1.0),
        other => (other, random_share),
    };
    let options = PriorityOptions {
        objective,
        candidates: share("candidates", asked.candidates, usual.candidates, 0.01)?,
        per_class_cap: asked.per_class_cap,
        per_group_cap: asked.per_group_cap,
        singletons: share("singletons", asked.singletons, usual.singletons, 0.0)?,
        random_share,
        seed: asked.seed.unwrap_or(usual.seed),
        ..usual
    };
    let filter = filter_told(asked.filter.clone())?;
    let said = serde_json::to_value(asked).unwrap_or_default();
    let digest = Sha256::digest(canonical(&said).as_bytes());
    Ok(Wanted {
        options,
        filter,
        datasets: asked.datasets.clone(),
        with_decided: asked.exclude_decided == Some(false),
        key: hexadecimal(&digest[..KEY_BYTES]),
    })
}
