//! How far indexes of vectors are corrected, kept in the data folder so that a database that is
//! opened again finds as much as before it was closed.
//!
//! What must stay true: a correction is only ever of the index that it was measured for; what is
//! lost or damaged here costs recall until searches are checked again, and no record.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::catalog::CollectionRow;
use crate::model::SegmentId;
use crate::segments::Source;
use crate::storage::{Storage, read_checked, write_checked};

const FILE: &str = "recall/corrections";
/// What it costs where there are corrections that nobody can read.
const COSTS: &str = "searches find less until they are checked again";

/// The indexes that are corrected, by the segments that they are of: an index that is written again
/// is of another segment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Corrections {
    steps: BTreeMap<SegmentId, u32>,
}

impl Corrections {
    /// The corrections of a data folder; none where they cannot be read, since no reader of records
    /// may fail for that.
    pub(super) fn read_or_none(storage: &dyn Storage) -> Self {
        Self::read(storage).unwrap_or_else(|error| {
            tracing::warn!(file = FILE, %error, "it cannot be read; {COSTS}");
            Self::default()
        })
    }

    /// The corrections of a data folder. Damaged ones are dropped: they are found out again.
    fn read(storage: &dyn Storage) -> Result<Self> {
        Ok(read_checked(storage, FILE)?.or_default(FILE, COSTS))
    }

    /// Corrects the index of `source`, which is segment `id`.
    pub(super) fn apply(&self, id: SegmentId, source: &Source) {
        if let (Some(steps), Some(index)) = (self.steps.get(&id), source.vector_index()) {
            index.watch().correct(*steps);
        }
    }

    /// Keeps `found`, segments with an index and how far it is corrected, beside the corrections of
    /// other segments; those that none of `rows` names are forgotten.
    pub(crate) fn keep(
        storage: &dyn Storage,
        found: &[(SegmentId, u32)],
        rows: impl FnOnce() -> Result<Vec<CollectionRow>>,
    ) -> Result<()> {
        let mut kept = Self::read(storage)?;
        let known = |(id, steps): &(SegmentId, u32)| kept.steps.get(id).unwrap_or(&0) == steps;
        if found.iter().all(known) {
            return Ok(());
        }
        kept.steps.extend(found.iter().copied());
        let rows = rows()?;
        let named = rows.iter().flat_map(|row| &row.manifest.segments);
        let named: HashSet<SegmentId> = named.map(|segment| segment.id).collect();
        kept.steps
            .retain(|id, steps| *steps > 0 && named.contains(id));
        write_checked(storage, FILE, &kept)
    }
}
