//! The body of `search`, and its answer.
//!
//! What must stay true: null and absent mean the same; an expression has exactly one operator at
//! every level; how deep and how large expressions may be is bounded, so that nothing that a body
//! says makes the server work or keep more than its limits allow.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;
use vermilion_engine::model::{
    EMBEDDING_KEY, GroupBy, GroupKey, Knn, KnnQuery, Rank, Search, SearchRequest, Select,
    SelectMetadata, SparseVector, all_finite,
};

use crate::reads::consistency;
use crate::records::explain_overflow;
use crate::{ApiError, filters, json};

/// Searches in one request at most.
const SEARCHES_MAX: usize = 256;
/// Operators inside one another at most.
const DEPTH_MAX: usize = json::LEVELS_MAX;
/// Operators of one search at most.
const NODES_MAX: usize = 1024;
/// `$knn` of one search at most.
const KNNS_MAX: usize = 64;
/// Keys of a group, and of its order, at most.
const GROUP_KEYS_MAX: usize = 32;
/// Keys that can be selected at most.
const SELECT_KEYS_MAX: usize = 1024;

/// Searches, with the columns that each selects as the answer names them.
#[derive(Clone, Debug)]
pub struct SearchBody {
    /// The request.
    pub request: SearchRequest,
    /// The selected keys of each search, in the order of the answer.
    pub selected: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct RawSearches {
    searches: Vec<RawSearch>,
    #[serde(default)]
    read_level: Option<Value>,
}

#[derive(Deserialize)]
struct RawSearch {
    #[serde(default, deserialize_with = "json::filter")]
    filter: Option<Value>,
    #[serde(default)]
    rank: Option<RawRank>,
    #[serde(default)]
    group_by: Option<RawGroupBy>,
    #[serde(default)]
    limit: Option<RawLimit>,
    #[serde(default)]
    select: Option<RawSelect>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawLimit {
    offset: Option<u32>,
    limit: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawSelect {
    keys: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawGroupBy {
    keys: Option<Vec<String>>,
    aggregate: Option<RawAggregate>,
}

#[derive(Deserialize)]
enum RawAggregate {
    #[serde(rename = "$min_k")]
    MinK(RawKept),
    #[serde(rename = "$max_k")]
    MaxK(RawKept),
}

#[derive(Deserialize)]
struct RawKept {
    keys: Vec<String>,
    k: u32,
}

enum RawRank {
    Value(f64),
    Knn(RawKnn),
    Sum(Vec<RawRank>),
    Product(Vec<RawRank>),
    Max(Vec<RawRank>),
    Min(Vec<RawRank>),
    Difference(RawPair),
    Quotient(RawPair),
    Absolute(Box<RawRank>),
    Exponential(Box<RawRank>),
    Logarithm(Box<RawRank>),
}

/// The operators of expressions.
const OPERATORS: [&str; 11] = [
    "$val", "$knn", "$sum", "$mul", "$max", "$min", "$sub", "$div", "$abs", "$exp", "$log",
];

impl<'de> Deserialize<'de> for RawRank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RankVisitor)
    }
}

struct RankVisitor;

impl<'de> Visitor<'de> for RankVisitor {
    type Value = RawRank;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an expression, an object with one operator")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawRank, A::Error> {
        let Some(operator) = map.next_key::<String>()? else {
            return Err(A::Error::custom("an expression without an operator"));
        };
        let rank = match operator.as_str() {
            "$val" => RawRank::Value(map.next_value()?),
            "$knn" => RawRank::Knn(map.next_value()?),
            "$sum" => RawRank::Sum(map.next_value()?),
            "$mul" => RawRank::Product(map.next_value()?),
            "$max" => RawRank::Max(map.next_value()?),
            "$min" => RawRank::Min(map.next_value()?),
            "$sub" => RawRank::Difference(map.next_value()?),
            "$div" => RawRank::Quotient(map.next_value()?),
            "$abs" => RawRank::Absolute(map.next_value()?),
            "$exp" => RawRank::Exponential(map.next_value()?),
            "$log" => RawRank::Logarithm(map.next_value()?),
            other => return Err(A::Error::unknown_variant(other, &OPERATORS)),
        };
        match map.next_key::<String>()? {
            None => Ok(rank),
            Some(more) => Err(A::Error::custom(format_args!(
                "an expression has one operator; {operator} and {more} are two"
            ))),
        }
    }
}

#[derive(Deserialize)]
struct RawPair {
    left: Box<RawRank>,
    right: Box<RawRank>,
}

#[derive(Deserialize)]
struct RawKnn {
    query: RawQuery,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    default: Option<f64>,
    #[serde(default)]
    return_rank: Option<bool>,
}

/// The vector of a `$knn`: a list of numbers, or an object with indices and values.
enum RawQuery {
    Dense(Vec<f32>),
    Sparse(RawSparse),
}

#[derive(Deserialize)]
struct RawSparse {
    #[serde(default, rename = "#type")]
    tag: Option<String>,
    indices: Vec<u32>,
    values: Vec<f32>,
    #[serde(default)]
    tokens: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for RawQuery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QueryVisitor)
    }
}

struct QueryVisitor;

impl<'de> Visitor<'de> for QueryVisitor {
    type Value = RawQuery;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers, or an object with indices and values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawQuery, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(RawQuery::Dense(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawQuery, A::Error> {
        let sparse = RawSparse::deserialize(de::value::MapAccessDeserializer::new(map))?;
        match sparse.tag.as_deref() {
            None | Some("sparse_vector") => Ok(RawQuery::Sparse(sparse)),
            Some(other) => Err(A::Error::custom(format_args!(
                "#type is \"{other}\", expected \"sparse_vector\""
            ))),
        }
    }
}

/// Decodes the body of `search`.
pub fn decode_search(body: &[u8]) -> Result<SearchBody, ApiError> {
    let raw: RawSearches =
        json::decode(body).map_err(|error| explain_overflow(error, "searches"))?;
    let count = raw.searches.len();
    if count > SEARCHES_MAX {
        return Err(ApiError::validation(
            "searches",
            format_args!("{count} searches; at most {SEARCHES_MAX} are allowed in one request"),
        ));
    }
    let (mut searches, mut selected) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (number, raw) in raw.searches.into_iter().enumerate() {
        let (search, keys) = Place(number).search(raw)?;
        searches.push(search);
        selected.push(keys);
    }
    Ok(SearchBody {
        request: SearchRequest {
            searches,
            consistency: consistency(raw.read_level)?,
        },
        selected,
    })
}

/// The number of a search in its request, for messages.
#[derive(Clone, Copy)]
struct Place(usize);

impl Place {
    fn wrong(self, member: &str, message: impl fmt::Display) -> ApiError {
        ApiError::validation(&format!("searches[{}].{member}", self.0), message)
    }

    fn search(self, raw: RawSearch) -> Result<(Search, Vec<String>), ApiError> {
        let limit = raw.limit.unwrap_or_default();
        let empty = |filter: &Value| filter.as_object().is_some_and(serde_json::Map::is_empty);
        let filter = raw.filter.filter(|filter| !empty(filter));
        let rank = raw.rank.map(|rank| self.rank(rank)).transpose()?;
        let group_by = self.group_by(raw.group_by.unwrap_or_default())?;
        if group_by.is_some() && rank.is_none() {
            return Err(self.wrong("group_by", "groups need a rank, and the search has none"));
        }
        let (select, keys) = self.select(raw.select.unwrap_or_default())?;
        let search = Search {
            filter: filters::parse(filter, None)?,
            rank,
            group_by,
            offset: limit.offset.unwrap_or(0),
            limit: limit.limit,
            select,
        };
        Ok((search, keys))
    }

    fn rank(self, raw: RawRank) -> Result<Rank, ApiError> {
        let mut nodes = Nodes {
            place: self,
            operators: 0,
            knns: 0,
        };
        nodes.rank(raw, 0)
    }

    fn group_by(self, raw: RawGroupBy) -> Result<Option<GroupBy>, ApiError> {
        let keys = raw.keys.unwrap_or_default();
        let (kept, largest) = match raw.aggregate {
            None if keys.is_empty() => return Ok(None),
            None => {
                return Err(self.wrong(
                    "group_by",
                    "keys are given and no aggregate; both or neither are allowed",
                ));
            }
            Some(_) if keys.is_empty() => {
                return Err(self.wrong(
                    "group_by",
                    "an aggregate is given and no keys; both or neither are allowed",
                ));
            }
            Some(RawAggregate::MinK(kept)) => (kept, false),
            Some(RawAggregate::MaxK(kept)) => (kept, true),
        };
        if let Some(key) = keys.iter().find(|key| key.starts_with('#')) {
            return Err(self.wrong(
                "group_by",
                format_args!("keys has {key}; metadata fields are allowed"),
            ));
        }
        if kept.k == 0 {
            return Err(self.wrong("group_by", "k is 0; 1 and more are allowed"));
        }
        if kept.keys.is_empty() || keys.len().max(kept.keys.len()) > GROUP_KEYS_MAX {
            return Err(self.wrong(
                "group_by",
                format_args!(
                    "from 1 to {GROUP_KEYS_MAX} keys are allowed, for groups and for the aggregate"
                ),
            ));
        }
        let order = kept.keys.into_iter().map(|key| match key.as_str() {
            "#score" => Ok(GroupKey::Score),
            other if other.starts_with('#') => Err(self.wrong(
                "group_by",
                format_args!("the aggregate has {key}; #score and metadata fields are allowed"),
            )),
            _ => Ok(GroupKey::Metadata(key)),
        });
        Ok(Some(GroupBy {
            keys,
            order: order.collect::<Result<_, _>>()?,
            largest,
            count: kept.k,
        }))
    }

    /// What is selected, and how the answer names it.
    fn select(self, raw: RawSelect) -> Result<(Select, Vec<String>), ApiError> {
        let keys = raw.keys.unwrap_or_default();
        if keys.len() > SELECT_KEYS_MAX {
            let count = keys.len();
            return Err(self.wrong(
                "select",
                format_args!("{count} keys; at most {SELECT_KEYS_MAX} are allowed"),
            ));
        }
        let mut select = Select::default();
        let mut fields = BTreeSet::new();
        let mut everything = false;
        for key in keys {
            match key.as_str() {
                "#document" => select.documents = true,
                "#embedding" => select.embeddings = true,
                "#metadata" => everything = true,
                "#score" => select.scores = true,
                _ => {
                    fields.insert(key);
                }
            }
        }
        let columns = [
            ("#document", select.documents),
            ("#embedding", select.embeddings),
            ("#metadata", everything),
            ("#score", select.scores),
        ];
        let columns = columns.into_iter().filter(|column| column.1);
        let names = columns.map(|(name, _)| name.to_owned());
        let names = names.chain(fields.iter().cloned()).collect();
        // Ids are always there.
        fields.remove("#id");
        select.metadata = match (everything, fields.is_empty()) {
            (true, _) => SelectMetadata::Everything,
            (false, true) => SelectMetadata::Nothing,
            (false, false) => SelectMetadata::Keys(fields),
        };
        Ok((select, names))
    }
}

/// The operators of one search, counted.
struct Nodes {
    place: Place,
    operators: usize,
    knns: usize,
}

impl Nodes {
    fn wrong(&self, message: impl fmt::Display) -> ApiError {
        self.place.wrong("rank", message)
    }

    fn rank(&mut self, raw: RawRank, depth: usize) -> Result<Rank, ApiError> {
        self.operators += 1;
        if self.operators > NODES_MAX {
            return Err(self.wrong(format_args!("more than {NODES_MAX} operators")));
        }
        if depth == DEPTH_MAX {
            return Err(self.wrong(format_args!("nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(match raw {
            RawRank::Value(value) => Rank::Value(value),
            RawRank::Knn(knn) => Rank::Knn(self.knn(knn)?),
            RawRank::Sum(members) => Rank::Sum(self.members("$sum", members, depth)?),
            RawRank::Product(members) => Rank::Product(self.members("$mul", members, depth)?),
            RawRank::Max(members) => Rank::Max(self.members("$max", members, depth)?),
            RawRank::Min(members) => Rank::Min(self.members("$min", members, depth)?),
            RawRank::Difference(pair) => Rank::Difference(self.pair(pair, depth)?),
            RawRank::Quotient(pair) => Rank::Quotient(self.pair(pair, depth)?),
            RawRank::Absolute(inner) => Rank::Absolute(self.inner(*inner, depth)?),
            RawRank::Exponential(inner) => Rank::Exponential(self.inner(*inner, depth)?),
            RawRank::Logarithm(inner) => Rank::Logarithm(self.inner(*inner, depth)?),
        })
    }

    fn inner(&mut self, raw: RawRank, depth: usize) -> Result<Box<Rank>, ApiError> {
        self.rank(raw, depth + 1).map(Box::new)
    }

    fn pair(&mut self, pair: RawPair, depth: usize) -> Result<Box<[Rank; 2]>, ApiError> {
        let left = self.rank(*pair.left, depth + 1)?;
        let right = self.rank(*pair.right, depth + 1)?;
        Ok(Box::new([left, right]))
    }

    fn members(
        &mut self,
        operator: &str,
        members: Vec<RawRank>,
        depth: usize,
    ) -> Result<Vec<Rank>, ApiError> {
        if members.is_empty() {
            return Err(self.wrong(format_args!(
                "{operator} has no member; it needs one at least"
            )));
        }
        let members = members.into_iter();
        members.map(|raw| self.rank(raw, depth + 1)).collect()
    }

    fn knn(&mut self, raw: RawKnn) -> Result<Knn, ApiError> {
        self.knns += 1;
        if self.knns > KNNS_MAX {
            return Err(self.wrong(format_args!("more than {KNNS_MAX} $knn")));
        }
        let limit = raw.limit.unwrap_or(16);
        if limit == 0 {
            return Err(self.wrong("the limit of a $knn is 0; 1 and more are allowed"));
        }
        let query = match raw.query {
            RawQuery::Dense(vector) => KnnQuery::Dense(self.dense(vector)?),
            RawQuery::Sparse(sparse) => KnnQuery::Sparse(self.sparse(sparse)?),
        };
        Ok(Knn {
            query,
            key: raw.key.unwrap_or_else(|| EMBEDDING_KEY.to_owned()),
            limit,
            default: raw.default,
            by_place: raw.return_rank.unwrap_or(false),
        })
    }

    fn dense(&self, vector: Vec<f32>) -> Result<Vec<f32>, ApiError> {
        if vector.is_empty() {
            return Err(self.wrong("Each embedding must have at least 1 dimension"));
        }
        if !all_finite(&vector) {
            return Err(self.wrong("Embeddings must not contain NaN or Infinity values"));
        }
        Ok(vector)
    }

    fn sparse(&self, sparse: RawSparse) -> Result<SparseVector, ApiError> {
        let (indices, values) = (sparse.indices, sparse.values);
        let lengths = sparse.tokens.as_ref().map_or(indices.len(), Vec::len);
        let problem = if indices.len() != values.len() || indices.len() != lengths {
            "indices, values and tokens of a sparse vector must be equally many"
        } else if !indices.windows(2).all(|pair| pair[0] < pair[1]) {
            "indices of a sparse vector must ascend, each once"
        } else if !all_finite(&values) {
            "values of a sparse vector must not contain NaN or Infinity"
        } else {
            return Ok(SparseVector {
                indices,
                values,
                tokens: sparse.tokens,
            });
        };
        Err(self.wrong(problem))
    }
}

#[cfg(test)]
mod tests;
