//! How many of the true nearest records a search should find: what users ask for instead of the
//! settings of an index.
//!
//! What must stay true: a recall is from [`Recall::LOWEST`] to [`Recall::HIGHEST`], or exact. What a
//! request says goes before what its collection says, and that before the default; settings of
//! other indexes that a collection keeps (`ef_search`, `search_nprobe`) raise the default where
//! they ask for more than their own defaults, and lower nothing.

use serde_json::{Map, Value};

use super::VectorSettings;
use crate::{Error, Result};

/// The key of a collection's metadata that says how its searches are made.
pub const RECALL_KEY: &str = "vermilion:recall";

/// The share of the true nearest records that a search should find.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Recall(f32);

impl Default for Recall {
    fn default() -> Self {
        Self(0.95)
    }
}

impl Recall {
    /// Compares a query with every record that may answer.
    pub const EXACT: Self = Self(1.0);
    /// The lowest that can be asked for.
    pub const LOWEST: f32 = 0.8;
    /// The highest that is not exact.
    pub const HIGHEST: f32 = 0.999;

    /// Reads what a user says: a number, or `exact`. Numbers above [`Self::HIGHEST`] are exact.
    pub fn read(value: &Value) -> Result<Self> {
        let share = match value {
            Value::String(word) if word == "exact" => Some(1.0),
            other => other.as_f64().map(|share| share as f32),
        };
        match share {
            Some(share) if share > Self::HIGHEST && share <= 1.0 => Ok(Self::EXACT),
            Some(share) if (Self::LOWEST..=Self::HIGHEST).contains(&share) => Ok(Self(share)),
            _ => Err(Error::invalid(format!(
                "recall is {value}; allowed are numbers from {} to {}, 1 and \"exact\"",
                Self::LOWEST,
                Self::HIGHEST
            ))),
        }
    }

    /// What the metadata of a collection says.
    pub fn of_metadata(metadata: Option<&Map<String, Value>>) -> Result<Option<Self>> {
        let said = metadata.and_then(|metadata| metadata.get(RECALL_KEY));
        said.map(Self::read).transpose()
    }

    /// What a collection with these settings is searched with where nobody says a recall.
    pub fn of_settings(settings: Option<&VectorSettings>) -> Self {
        let hnsw = settings.and_then(|settings| settings.hnsw.as_ref());
        let spann = settings.and_then(|settings| settings.spann.as_ref());
        let of_hnsw = hnsw.and_then(|hnsw| hnsw.ef_search).map(|ef| match ef {
            0..=100 => 0.95,
            101..=200 => 0.98,
            201..=400 => 0.99,
            401..=800 => 0.995,
            _ => Self::HIGHEST,
        });
        let of_spann = spann
            .and_then(|spann| spann.search_nprobe)
            .map(|probes| match probes {
                0..=64 => 0.95,
                65..=128 => 0.98,
                _ => 0.99,
            });
        let most = of_hnsw.into_iter().chain(of_spann).fold(0.0, f32::max);
        Self(most.max(Self::default().0))
    }

    /// The share.
    pub fn share(self) -> f32 {
        self.0
    }

    /// Whether every record is to be compared.
    pub fn is_exact(self) -> bool {
        self.0 > Self::HIGHEST
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::HnswSettings;

    #[test]
    fn recalls_outside_the_range_are_refused_and_say_what_is_allowed() {
        for wrong in [
            json!(0.79),
            json!(1.01),
            json!("all"),
            json!(null),
            json!([0.9]),
        ] {
            let error = Recall::read(&wrong).unwrap_err();
            assert!(error.message().contains("from 0.8 to 0.999"), "{error}");
        }
        assert_eq!(Recall::read(&json!(0.9)).unwrap(), Recall(0.9));
        assert!(!Recall::read(&json!(0.999)).unwrap().is_exact());
        for exact in [json!(1), json!(1.0), json!("exact"), json!(0.9999)] {
            assert!(Recall::read(&exact).unwrap().is_exact());
        }
    }

    #[test]
    fn settings_of_other_indexes_raise_the_default_and_never_lower_it() {
        let share = |ef_search| {
            let hnsw = HnswSettings {
                ef_search,
                ..HnswSettings::default()
            };
            let settings = VectorSettings {
                hnsw: Some(hnsw),
                ..VectorSettings::default()
            };
            Recall::of_settings(Some(&settings))
        };
        assert_eq!(share(None), Recall(0.95));
        assert_eq!(share(Some(1)), Recall(0.95));
        assert_eq!(share(Some(100)), Recall(0.95));
        assert_eq!(share(Some(200)), Recall(0.98));
        assert_eq!(share(Some(100_000)), Recall(0.999));
    }
}
