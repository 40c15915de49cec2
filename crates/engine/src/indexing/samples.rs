//! Some of the searches that a collection was asked for, kept to be made again exactly.
//!
//! What must stay true: which searches are kept does not depend on how clients take turns; what is
//! kept is bounded in number and bytes; noting a search that is not kept takes one addition.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vermilion_kernels::random::split_mix;

use crate::model::{
    Comparison, DocumentTest, Filter, KnnQuery, QueryRequest, Recall, Scalar, Search,
};
use crate::query::{Sample, Tally, knns};

/// Searches of a collection that are kept until they are made again.
const WAITING_MAX: usize = 64;
/// Query vectors of searches that were made again and are kept for the next index.
const RECENT_MAX: usize = 64;
/// Bytes of either, at most.
const BYTES_MAX: usize = 1 << 20;
/// Bytes of a filter beyond which its search is not kept.
const FILTER_BYTES_MAX: usize = 4 << 10;

/// Records wanted beyond which a search is not kept: what it should find takes memory until it is
/// compared.
const COUNT_MAX: u32 = 10_000;

/// A search that somebody makes.
#[derive(Clone, Copy)]
struct Asked<'a> {
    vector: &'a [f32],
    filter: Option<&'a Filter>,
    /// How many records are wanted.
    count: u32,
}

/// The searches kept of a collection.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    asked: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// To be made again, oldest first.
    waiting: VecDeque<Sample>,
    /// Vectors of searches without a filter, oldest first.
    recent: VecDeque<Vec<f32>>,
    /// Searches made again since the start, and what became of them.
    checked: u64,
    total: Tally,
}

impl Samples {
    /// Notes the searches of `request`, and keeps about one in `one_in` of them; none where that is
    /// 0.
    pub(crate) fn note_query(&self, request: &QueryRequest, recall: Recall, one_in: u32) {
        if request.selection.ids.is_some() {
            return;
        }
        let vectors = request.embeddings.values();
        let vectors = vectors.chunks_exact(request.embeddings.dimension().max(1));
        let searches = vectors.map(|vector| Asked {
            vector,
            filter: request.selection.filter.as_ref(),
            count: request.n_results,
        });
        self.note(searches, recall, one_in);
    }

    /// The same for what ranked `searches` look for among dense vectors.
    pub(crate) fn note_ranked(&self, searches: &[Search], recall: Recall, one_in: u32) {
        for search in searches {
            let knns = search.rank.iter().flat_map(knns);
            let dense = knns.filter_map(|knn| match &knn.query {
                KnnQuery::Dense(vector) => Some(Asked {
                    vector,
                    filter: search.filter.as_ref(),
                    count: knn.limit,
                }),
                KnnQuery::Sparse(_) => None,
            });
            self.note(dense, recall, one_in);
        }
    }

    fn note<'a>(&self, searches: impl Iterator<Item = Asked<'a>>, recall: Recall, one_in: u32) {
        if one_in == 0 || recall.is_exact() {
            return;
        }
        for search in searches {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            // Mixed, so that clients that take turns are not met at the same one each time.
            if split_mix(&mut { number }).is_multiple_of(u64::from(one_in)) {
                self.keep(search, recall);
            }
        }
    }

    fn keep(&self, asked: Asked<'_>, recall: Recall) {
        let too_large = |filter| bytes_of(filter) > FILTER_BYTES_MAX;
        if asked.filter.is_some_and(too_large) || asked.count > COUNT_MAX {
            return;
        }
        let search = Sample {
            vector: asked.vector.to_vec(),
            filter: asked.filter.cloned(),
            count: asked.count,
            recall,
        };
        let mut kept = self.kept.lock();
        kept.waiting.push_back(search);
        let most = most(asked.vector.len(), WAITING_MAX);
        while kept.waiting.len() > most {
            kept.waiting.pop_front();
        }
    }

    /// How many searches wait to be made again.
    pub(crate) fn waiting(&self) -> usize {
        self.kept.lock().waiting.len()
    }

    /// Takes the searches that wait, oldest first. The vectors of those without a filter stay known.
    pub(crate) fn take(&self) -> Vec<Sample> {
        let mut kept = self.kept.lock();
        let taken: Vec<Sample> = kept.waiting.drain(..).collect();
        for search in taken.iter().filter(|search| search.filter.is_none()) {
            kept.recent.push_back(search.vector.clone());
            while kept.recent.len() > most(search.vector.len(), RECENT_MAX) {
                kept.recent.pop_front();
            }
        }
        taken
    }

    /// Vectors of the last searches, one after the other.
    pub(crate) fn recent(&self, dimension: usize) -> Vec<f32> {
        let kept = self.kept.lock();
        let waiting = kept.waiting.iter().filter(|one| one.filter.is_none());
        let all = kept.recent.iter().chain(waiting.map(|one| &one.vector));
        all.filter(|vector| vector.len() == dimension)
            .flatten()
            .copied()
            .collect()
    }

    /// Whether [`Self::recent`] has some.
    pub(crate) fn knows_recent(&self) -> bool {
        !self.kept.lock().recent.is_empty()
    }

    /// Notes what became of `searches` that were made again.
    pub(crate) fn note_checked(&self, searches: u64, tally: &Tally) {
        let mut kept = self.kept.lock();
        kept.checked += searches;
        kept.total.add(tally);
    }

    /// Searches made again since the start, and what became of them.
    pub(crate) fn checked(&self) -> (u64, Tally) {
        let kept = self.kept.lock();
        (kept.checked, kept.total)
    }

    /// Forgets the searches, for a collection that nobody asks any more.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept.lock();
        kept.waiting = VecDeque::new();
        kept.recent = VecDeque::new();
    }
}

/// Vectors of `dimension` numbers that are kept at most, of at most `count`.
fn most(dimension: usize, count: usize) -> usize {
    (BYTES_MAX / (dimension * 4).max(1)).clamp(1, count)
}

/// About how many bytes a filter takes; counting ends where that is too many.
fn bytes_of(filter: &Filter) -> usize {
    let own = size_of::<Filter>();
    match filter {
        Filter::And(all) | Filter::Or(all) => {
            let mut bytes = own;
            for one in all {
                bytes = bytes.saturating_add(bytes_of(one));
                if bytes > FILTER_BYTES_MAX {
                    break;
                }
            }
            bytes
        }
        Filter::Metadata { key, comparison } => own + key.len() + bytes_of_test(comparison),
        Filter::Document(DocumentTest::Contains(text) | DocumentTest::NotContains(text)) => {
            own + text.len()
        }
        // A compiled expression is larger than its text by far.
        Filter::Document(DocumentTest::Regex(_) | DocumentTest::NotRegex(_)) => usize::MAX,
        Filter::Id { ids, .. } => own + ids.len() * size_of::<String>(),
    }
}

fn bytes_of_test(comparison: &Comparison) -> usize {
    let scalar = |scalar: &Scalar| match scalar {
        Scalar::Str(text) => text.len(),
        Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) => 0,
    };
    match comparison {
        Comparison::Equal(one)
        | Comparison::NotEqual(one)
        | Comparison::Contains(one)
        | Comparison::NotContains(one) => scalar(one),
        Comparison::In(all) | Comparison::NotIn(all) => {
            all.len() * size_of::<Scalar>() + all.iter().map(scalar).sum::<usize>()
        }
        Comparison::Greater(_)
        | Comparison::GreaterOrEqual(_)
        | Comparison::Less(_)
        | Comparison::LessOrEqual(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EMBEDDING_KEY, Embeddings, Knn, Rank, RecordSelection, SparseVector};

    fn request(vectors: usize, filter: Option<Filter>) -> QueryRequest {
        QueryRequest {
            embeddings: Embeddings::new(2, vec![1.0; vectors * 2]).unwrap(),
            n_results: 3,
            selection: RecordSelection { ids: None, filter },
            ..QueryRequest::default()
        }
    }

    #[test]
    fn about_one_search_in_so_many_is_kept_whoever_takes_turns() {
        let samples = Samples::default();
        let mut kept_of = [0; 2];
        for turn in 0..4000 {
            samples.note_query(&request(1, None), Recall::default(), 40);
            kept_of[turn % 2] += samples.take().len();
        }
        let kept = kept_of[0] + kept_of[1];
        assert!((70..=130).contains(&kept), "{kept_of:?}");
        assert!(kept_of.iter().all(|&one| one > 20), "{kept_of:?}");
    }

    #[test]
    fn kept_searches_are_bounded_and_the_latest_stay() {
        let samples = Samples::default();
        let mut request = request(WAITING_MAX + 10, None);
        samples.note_query(&request, Recall::default(), 1);
        assert_eq!(samples.waiting(), WAITING_MAX);
        request.n_results = 9;
        samples.note_query(&request, Recall::default(), 1);
        assert!(samples.take().iter().all(|search| search.count == 9));
        assert_eq!(samples.waiting(), 0);
        assert_eq!(samples.recent(2).len(), RECENT_MAX * 2);
        assert!(samples.recent(3).is_empty());
        samples.forget();
        assert!(samples.recent(2).is_empty());
    }

    fn knn(query: KnnQuery, limit: u32) -> Rank {
        Rank::Knn(Knn {
            query,
            key: EMBEDDING_KEY.to_owned(),
            limit,
            default: None,
            by_place: true,
        })
    }

    #[test]
    fn of_ranked_searches_what_looks_among_dense_vectors_is_kept() {
        let samples = Samples::default();
        let sparse = SparseVector {
            indices: vec![1],
            values: vec![1.0],
            tokens: None,
        };
        let members = vec![
            knn(KnnQuery::Dense(vec![1.0, 2.0]), 7),
            knn(KnnQuery::Sparse(sparse), 7),
            knn(KnnQuery::Dense(vec![3.0, 4.0]), COUNT_MAX + 1),
        ];
        let ids = vec!["a".to_owned()];
        let filter = Filter::Id { ids, negated: true };
        let search = Search {
            rank: Some(Rank::Sum(members)),
            filter: Some(filter.clone()),
            ..Search::default()
        };
        let searches = [search, Search::default()];
        samples.note_ranked(&searches, Recall::default(), 1);
        let kept = samples.take();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0].vector, [1.0, 2.0]);
        assert_eq!((kept[0].count, &kept[0].filter), (7, &Some(filter)));
        samples.note_ranked(&searches, Recall::EXACT, 1);
        assert_eq!(samples.waiting(), 0);
    }

    #[test]
    fn exact_searches_large_filters_and_those_by_id_are_not_kept() {
        let samples = Samples::default();
        samples.note_query(&request(1, None), Recall::EXACT, 1);
        samples.note_query(&request(1, None), Recall::default(), 0);
        let ids = vec!["a".to_owned(); 10_000];
        let large = Filter::And(vec![Filter::Id { ids, negated: true }]);
        samples.note_query(&request(1, Some(large)), Recall::default(), 1);
        let mut by_id = request(1, None);
        by_id.selection.ids = Some(vec!["a".to_owned()]);
        samples.note_query(&by_id, Recall::default(), 1);
        assert_eq!(samples.waiting(), 0);
    }
}
