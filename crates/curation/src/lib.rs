//! Curation: which inputs of a model to label and retrain on next, over the database itself.
//!
//! What must stay true: a space is an ordinary collection, and all that is logged, labelled or decided
//! is in its records, written through its log; so a restart needs nothing else, and official clients
//! read it. What is refused changes nothing, and the refusal names the field and the row.
//!
//! | module | what |
//! |---|---|
//! | `fields` | the fields of a record, and the metadata keys that they take |
//! | `key` | canonical JSON and the key of an embedding set |
//! | `refusal` | the one error, as the API answers it |
//! | `body` | what a log is told: JSON columns, lines of JSON, Arrow |
//! | `check` | from what was told to records, or to a refusal |
//! | `spaces` | spaces found, made, described and deleted |
//! | `log` | the way of a batch into its space |
//! | `desk` | what is worked out of a space's records, in memory |
//! | `assess` | what is told of one record or vector |
//! | `explain` | everything that is known of one record |
//! | `list`, `recommend` | what to label next, and pages of that |
//! | `standing` | what the list covers between two makings of it |
//! | `decide` | decisions and labels |
//! | `issues` | what is wrong with the data |
//! | `drift` | whether production has moved, where to, and what that costs |
//! | `accuracy` | how likely the model is right |
//! | `report` | everything that is told of a space, on one page |
//! | `status` | what works for curation, and switching it |
//! | `expiry` | what leaves a space, and when |
//! | `cold` | training that left, as files |
//! | `roll_up` | all records, as files that are kept in step |
//! | `files` | files that are kept with a space |
//! | `export` | what labelling tools and training scripts take along |
//! | `map` | records as points of a plane |
//! | `thumbnail` | small pictures of inputs |
//! | `jobs` | the jobs that keep scores in step, make lists, and make studies |
//! | `retries` | spaces for which a job failed, and when they are tried again |
//! | `retrain` | when to retrain, who does it, what became of it |

mod accuracy;
mod assess;
pub mod body;
mod check;
mod cold;
mod decide;
mod desk;
mod drift;
mod expiry;
mod explain;
mod export;
pub mod fields;
mod files;
mod issues;
mod jobs;
mod key;
mod list;
mod log;
mod map;
mod recommend;
mod refusal;
mod report;
mod retrain;
mod retries;
mod roll_up;
mod signals;
mod spaces;
mod standing;
mod status;
mod thumbnail;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vermilion_engine::Database;
use vermilion_engine::model::CollectionId;

pub use assess::{AsOf, Assessment, NearTraining, Part};
pub use cold::AskedCold;
pub use decide::{Decided, Decisions, ForAll, Labels, Promote};
pub use drift::{ALPHA_MAX, ALPHA_MIN, AskedDrift};
pub use expiry::Retention;
pub use export::{AskedExport, Exported, Format, Sink};
pub use files::KeptFile;
pub use issues::{AskedConfusion, AskedIssues, PAGE_MAX as ISSUES_PAGE_MAX, TYPES as ISSUE_TYPES};
pub use key::{canonical, embedding_set_key};
pub use log::Logged;
pub use map::{AskedMap, MapStream, POINTS_MAX};
pub use recommend::{Asked, Recommendations};
pub use refusal::{Refusal, Result};
pub use report::ReportFormat;
pub use retrain::{
    Claim, Completion, Failure, Fire, Heartbeat, Listed, NewTrigger, NewWebhook,
    PAGE_MAX as LISTED_PAGE_MAX, RetrainingState, Which,
};
pub use roll_up::AskedFiles;
pub use spaces::{DatasetSummary, Place, Space, SpaceSummary};
pub use status::Switch;
pub use thumbnail::Thumbnail;

/// What curation is to be told besides its database.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether webhooks reach public addresses only.
    pub webhooks_public_only: bool,
}

/// Curation over a database. All methods can be called from any thread.
pub struct Curation {
    database: Arc<Database>,
    /// Where the space of an embedding set was found last.
    found: Mutex<spaces::Found>,
    /// Idempotency keys of batches that are being logged.
    under_way: Mutex<log::UnderWay>,
    desks: Mutex<HashMap<CollectionId, Arc<desk::Desk>>>,
    works: jobs::Works,
    /// Taken before the turn of a desk, never after it.
    book: Mutex<retrain::Book>,
    bell: Arc<retrain::Bell>,
    watch: retrain::Watch,
    next_end: Mutex<expiry::NextEnd>,
    /// Held while it is noted or taken back up to where a space is rolled up.
    rolled_up_to: Mutex<()>,
    options: Options,
}

impl Curation {
    /// Curation over `database`, whose scheduler gets the jobs that keep scores in step and judge triggers.
    pub fn open(database: Arc<Database>, options: Options) -> vermilion_engine::Result<Arc<Self>> {
        let book = retrain::Book::read(&database)?;
        let curation = Arc::new(Self {
            database,
            found: Mutex::default(),
            under_way: Mutex::default(),
            desks: Mutex::default(),
            works: jobs::Works::default(),
            book: Mutex::new(book),
            bell: Arc::default(),
            watch: retrain::Watch::default(),
            next_end: Mutex::default(),
            rolled_up_to: Mutex::default(),
            options,
        });
        Self::bring_jobs(&curation)?;
        Self::bring_triggers(&curation)?;
        curation.watch.begin(&curation)?;
        Self::bring_expiry(&curation)?;
        Self::bring_roll_up(&curation)?;
        Ok(curation)
    }

    /// Ends its thread; before the database is closed. Idempotent.
    pub fn close(&self) {
        self.watch.end(&self.bell);
    }
}

impl Drop for Curation {
    fn drop(&mut self) {
        self.close();
    }
}
