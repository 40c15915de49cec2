//! Some of the searches that a collection was asked for, kept to be made again exactly.
//!
//! What must stay true: which searches are kept does not depend on how clients take turns; what is
//! kept is bounded in number and bytes; noting a search that is not kept takes one addition.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vermilion_kernels::random::split_mix;

use crate::model::{Comparison, DocumentTest, Filter, QueryRequest, Recall, Scalar};
use crate::query::{Sample, Tally};

/// Searches of a collection that are kept until they are made again.
const WAITING_MAX: usize = 64;
/// Query vectors of searches that were made again and are kept for the next index.
const RECENT_MAX: usize = 64;
/// Bytes of either, at most.
const BYTES_MAX: usize = 1 << 20;
/// Bytes of a filter beyond which its search is not kept.
const FILTER_BYTES_MAX: usize = 4 << 10;

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
    pub(crate) fn note(&self, request: &QueryRequest, recall: Recall, one_in: u32) {
        let vectors = request.embeddings.len();
        if one_in == 0 || vectors == 0 || recall.is_exact() || request.selection.ids.is_some() {
            return;
        }
        let first = self.asked.fetch_add(vectors as u64, Ordering::Relaxed);
        for (at, number) in (0..vectors).zip(first..) {
            // Mixed, so that clients that take turns are not met at the same one each time.
            if split_mix(&mut { number }).is_multiple_of(u64::from(one_in))
                && let Some(vector) = request.embeddings.get(at)
            {
                self.keep(vector, request, recall);
            }
        }
    }

    fn keep(&self, vector: &[f32], request: &QueryRequest, recall: Recall) {
        let filter = request.selection.filter.as_ref();
        if filter.is_some_and(|filter| bytes_of(filter) > FILTER_BYTES_MAX) {
            return;
        }
        let search = Sample {
            vector: vector.to_vec(),
            filter: filter.cloned(),
            count: request.n_results,
            recall,
        };
        let mut kept = self.kept.lock();
        kept.waiting.push_back(search);
        let most = most(vector.len(), WAITING_MAX);
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
    use crate::model::{Embeddings, RecordSelection};

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
            samples.note(&request(1, None), Recall::default(), 40);
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
        samples.note(&request, Recall::default(), 1);
        assert_eq!(samples.waiting(), WAITING_MAX);
        request.n_results = 9;
        samples.note(&request, Recall::default(), 1);
        assert!(samples.take().iter().all(|search| search.count == 9));
        assert_eq!(samples.waiting(), 0);
        assert_eq!(samples.recent(2).len(), RECENT_MAX * 2);
        assert!(samples.recent(3).is_empty());
        samples.forget();
        assert!(samples.recent(2).is_empty());
    }

    #[test]
    fn exact_searches_large_filters_and_those_by_id_are_not_kept() {
        let samples = Samples::default();
        samples.note(&request(1, None), Recall::EXACT, 1);
        samples.note(&request(1, None), Recall::default(), 0);
        let ids = vec!["a".to_owned(); 10_000];
        let large = Filter::And(vec![Filter::Id { ids, negated: true }]);
        samples.note(&request(1, Some(large)), Recall::default(), 1);
        let mut by_id = request(1, None);
        by_id.selection.ids = Some(vec!["a".to_owned()]);
        samples.note(&by_id, Recall::default(), 1);
        assert_eq!(samples.waiting(), 0);
    }
}
