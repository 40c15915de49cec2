//! Triggers: under which policy a space is retrained, and who is told.
//!
//! What must stay true: a secret is told once, when its trigger is made, and never again.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::Listed;
use super::fire::{expires_after, page};
use super::policy::Policy;
use super::run::{random_hex, seconds, text};
use super::webhook::{Webhook, check_url};
use crate::spaces::Place;
use crate::{Curation, Refusal, Result};

/// Triggers of a space at most.
const TRIGGERS_MAX: usize = 100;
/// How far apart firings may be asked to be: a year.
const INTERVAL_MAX: f64 = 31_536_000.0;
/// Bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// A trigger as it is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTrigger {
    /// What people call it.
    pub name: Option<String>,
    /// When it fires.
    pub policy: Option<Json>,
    /// How far apart its firings are at least.
    pub min_interval_seconds: Option<f64>,
    /// Whether it only notes when it would fire.
    pub dry_run: Option<bool>,
    /// How long its retrainings wait to be taken.
    pub expires_after_seconds: Option<f64>,
    /// Who is told.
    pub webhook: Option<NewWebhook>,
}

/// A receiver as it is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where it is.
    pub url: Option<String>,
    /// What events are signed with; the server makes one unless it is told.
    pub secret: Option<String>,
}

/// A trigger as it is stored. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trigger {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) policy: Json,
    pub(super) min_interval_seconds: f64,
    pub(super) dry_run: bool,
    pub(super) expires_after_seconds: f64,
    pub(super) webhook: Option<Webhook>,
    pub(super) created_at: f64,
    /// When it would have fired last, and why.
    pub(super) last_dry_run: Option<DryRun>,
    /// When its policy was judged last, and how; not stored.
    #[serde(skip)]
    pub(super) judged: Option<(f64, Json)>,
}

/// A firing that was only noted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DryRun {
    pub(super) at: f64,
    pub(super) epoch: u64,
    pub(super) reason: Json,
}

impl Trigger {
    /// Its policy, which was checked when it was made.
    pub(super) fn policy(&self) -> Result<Policy> {
        Policy::read(&self.policy, "policy")
    }

    /// Who is told.
    pub(super) fn url(&self) -> Option<String> {
        self.webhook.as_ref().map(|webhook| webhook.url.clone())
    }

    fn told(&self) -> Json {
        let Self {
            id,
            name,
            policy,
            min_interval_seconds,
            dry_run,
            expires_after_seconds,
            webhook,
            created_at,
            last_dry_run,
            judged,
        } = self;
        json!({
            "id": id,
            "name": name,
            "policy": policy,
            "min_interval_seconds": min_interval_seconds,
            "dry_run": dry_run,
            "expires_after_seconds": expires_after_seconds,
            "webhook": webhook.as_ref().map(|webhook| json!({ "url": webhook.url })),
            "created_at": created_at,
            "last_dry_run": last_dry_run,
            "judged_at": judged.as_ref().map(|judged| judged.0),
            "judged": judged.as_ref().map(|judged| &judged.1),
        })
    }
}

impl Curation {
    /// Makes a trigger of a space.
    pub fn add_trigger(&self, place: &Place, name: &str, told: &NewTrigger) -> Result<Json> {
        let space = self.space(place, name)?;
        let Some(policy) = &told.policy else {
            return Err(
                Refusal::wrong("missing_field", "The trigger has no policy.")
                    .field("policy")
                    .hint("such as {\"type\": \"amount\", \"labels\": 200}, or {\"any\": [...]}"),
            );
        };
        let kind = Policy::read(policy, "policy")?.name();
        let interval = told.min_interval_seconds.unwrap_or(0.0);
        let trigger = Trigger {
            id: random_hex::<8>()?,
            name: text("name", told.name.as_ref())?.unwrap_or_else(|| kind.to_owned()),
            policy: policy.clone(),
            min_interval_seconds: seconds("min_interval_seconds", interval, 0.0, INTERVAL_MAX)?,
            dry_run: told.dry_run == Some(true),
            expires_after_seconds: expires_after(told.expires_after_seconds)?,
            webhook: told
                .webhook
                .as_ref()
                .map(|told| self.webhook(told))
                .transpose()?,
            created_at: self.now(),
            last_dry_run: None,
            judged: None,
        };
        let mut answer = trigger.told();
        if let Some(webhook) = &trigger.webhook {
            answer["webhook"]["secret"] = json!(webhook.secret);
        }
        let mut book = self.book.lock();
        let id = space.collection.id;
        if book.triggers(id).count() >= TRIGGERS_MAX {
            let message = format!("The space has {TRIGGERS_MAX} triggers already.");
            return Err(Refusal::new(409, "too_many_triggers", message).hint("delete one first"));
        }
        book.put_trigger(&self.database, id, trigger)?;
        drop(book);
        self.bell.look_at(id);
        Ok(answer)
    }

    /// Triggers of a space, as they were made.
    pub fn triggers(&self, place: &Place, name: &str, asked: Listed) -> Result<Json> {
        let space = self.space(place, name)?;
        let page = page(asked.limit, asked.offset)?;
        let book = self.book.lock();
        let mut triggers: Vec<&Trigger> = book.triggers(space.collection.id).collect();
        triggers.sort_by(|a, b| a.created_at.total_cmp(&b.created_at));
        let told = page.of(&triggers);
        let told: Vec<Json> = told.map(|trigger| trigger.told()).collect();
        Ok(json!({ "triggers": told, "total": triggers.len() }))
    }

    /// A trigger of a space.
    pub fn trigger(&self, place: &Place, name: &str, id: &str) -> Result<Json> {
        let space = self.space(place, name)?;
        let book = self.book.lock();
        let trigger = book.trigger(space.collection.id, id);
        trigger.map(Trigger::told).ok_or_else(|| no_trigger(id))
    }

    /// Deletes a trigger; its retrainings stay, and nobody is told of them any more.
    pub fn delete_trigger(&self, place: &Place, name: &str, id: &str) -> Result<()> {
        let space = self.space(place, name)?;
        let mut book = self.book.lock();
        if !book.forget_trigger(&self.database, space.collection.id, id)? {
            return Err(no_trigger(id));
        }
        if !book.has_triggers(space.collection.id) {
            self.bell.overlook(space.collection.id);
        }
        Ok(())
    }

    fn webhook(&self, told: &NewWebhook) -> Result<Webhook> {
        let Some(url) = &told.url else {
            let message = "The webhook has no URL.";
            return Err(Refusal::wrong("missing_field", message).field("webhook.url"));
        };
        check_url(url, self.options.webhooks_public_only)?;
        let secret = match &told.secret {
            None => random_hex::<32>()?,
            Some(secret) if SECRET_BYTES.contains(&secret.len()) => secret.clone(),
            Some(_) => {
                let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
                let message = "The secret is too short or too long.";
                return Err(Refusal::wrong("out_of_range", message)
                    .field("webhook.secret")
                    .hint(format!(
                        "{least} to {most} bytes; without one the server makes one"
                    )));
            }
        };
        Ok(Webhook {
            url: url.clone(),
            secret,
        })
    }
}

/// The refusal of what names no trigger.
pub(super) fn no_trigger(id: &str) -> Refusal {
    let message = format!("There is no trigger `{id}` of this space.");
    Refusal::new(404, "trigger_not_found", message)
        .field("trigger")
        .hint("GET /spaces/{space}/triggers lists those of a space")
}
