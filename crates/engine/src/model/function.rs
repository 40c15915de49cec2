//! Functions that fill a collection, their output, from what another one holds, their input.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::CollectionId;

/// What an attached function works out of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// How many records there are.
    RecordCounter,
    /// How many records have each value of each metadata key, and how many there are.
    Statistics,
}

impl Function {
    /// Every function.
    pub const ALL: [Self; 2] = [Self::RecordCounter, Self::Statistics];

    /// Its name, as requests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RecordCounter => "record_counter",
            Self::Statistics => "statistics",
        }
    }

    /// The function of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Says, in the schema of a collection, which function fills it. It holds for the collection
/// `output` alone: a fork or a restored copy of it is an ordinary collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionSource {
    /// The id of the attached function.
    #[serde(rename = "source_attached_function_id")]
    pub id: Uuid,
    /// What else is known of it.
    #[serde(rename = "source_attached_function")]
    pub details: FunctionDetails,
}

/// See [`FunctionSource`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionDetails {
    /// Its name among those attached to the input.
    pub name: String,
    /// What it does.
    pub function: Function,
    /// The collection it reads.
    pub input: CollectionId,
    /// The collection it fills.
    pub output: CollectionId,
}

/// A function attached to a collection, as users are told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachedFunction {
    /// Its id and details.
    pub source: FunctionSource,
    /// The name of the collection it fills.
    pub output_name: String,
    /// The SeqId of the input up to which the output holds everything; 0 until it was first read.
    pub seen: u64,
    /// Why the output could not be brought up to date when it was last read.
    pub last_error: Option<String>,
}
