//! Power cuts at any point of random work on a log: every state opens by itself, has every
//! acknowledged batch, and has no part of any other.

use super::*;
use crate::storage::sim::{Random, Rebuilt, RecordingStorage, Survival, Trace};

const COLLECTIONS: u128 = 3;
const SURVIVALS: [Survival; 5] = [
    Survival::All,
    Survival::Nothing,
    Survival::Prefix,
    Survival::Scattered,
    Survival::Mixed,
];

fn tiny_files() -> LogOptions {
    LogOptions {
        file_bytes: 3000,
        ..options()
    }
}

/// What was told to somebody before a cut.
#[derive(Default)]
struct Known {
    applied: BTreeMap<CollectionId, SeqId>,
    /// The tag of each acknowledged batch.
    acknowledged: BTreeMap<(CollectionId, SeqId), (SeqId, u64)>,
}

fn numbers(label: &str) -> Vec<u64> {
    label
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Reads the marks; `base` is what was known before.
fn known(rebuilt: &Rebuilt, base: Option<&Known>) -> Known {
    let mut known = Known::default();
    for number in 0..COLLECTIONS {
        known.applied.insert(collection(number), SeqId(0));
    }
    if let Some(base) = base {
        known.applied.clone_from(&base.applied);
        known.acknowledged.clone_from(&base.acknowledged);
    }
    for mark in &rebuilt.marks {
        let numbers = numbers(&mark.label);
        let id = collection(u128::from(numbers[0]));
        if mark.label.starts_with("applied") {
            known.applied.insert(id, SeqId(numbers[1]));
        } else {
            known
                .acknowledged
                .insert((id, SeqId(numbers[1])), (SeqId(numbers[2]), numbers[3]));
        }
    }
    known
}

/// Random work on `storage`: groups of batches, seals, and restarts, clean or not.
fn work(storage: &RecordingStorage, known: &Known, seed: u64, rounds: u64) {
    let mut random = Random::new(seed);
    let mut applied = known.applied.clone();
    let mut opened = None;
    for round in 0..rounds {
        let log = opened.get_or_insert_with(|| {
            open_with(Arc::new(storage.clone()), tiny_files(), &applied)
                .expect("what was recorded opens")
                .0
        });
        let to = random.below(COLLECTIONS as usize) as u64;
        match random.below(12) {
            0 => {
                let log = opened.take().unwrap();
                if random.flip() {
                    log.close().unwrap();
                }
            }
            1..=3 => {
                // The catalogue holds everything up to here before the log is told.
                let upto = log.head(collection(u128::from(to))).unwrap().highest;
                applied.insert(collection(u128::from(to)), upto);
                storage.mark(format!("applied {to} {}", upto.0));
                log.purge(collection(u128::from(to)), upto).unwrap();
                if random.flip() {
                    log.settle();
                }
            }
            _ => {
                append_group(log, storage, &mut random, seed * 1_000_000 + round * 100);
            }
        }
    }
}

/// Work of a log that always has something to seal, so that files are written over: of each collection all but the last
/// batch is sealed after each group.
fn busy_work(storage: &RecordingStorage, seed: u64, rounds: u64) {
    let mut random = Random::new(seed);
    let nothing = (0..COLLECTIONS).map(|number| (collection(number), SeqId(0)));
    let (log, _) = open_with(Arc::new(storage.clone()), tiny_files(), &nothing.collect()).unwrap();
    let mut last = BTreeMap::new();
    for round in 0..rounds {
        for (to, seqs) in append_group(&log, storage, &mut random, seed * 1_000_000 + round * 100) {
            last.insert(to, seqs);
        }
        for (to, seqs) in &last {
            let upto = SeqId(seqs.first.0 - 1);
            storage.mark(format!("applied {to} {}", upto.0));
            log.purge(collection(u128::from(*to)), upto).unwrap();
        }
        if random.flip() {
            log.settle();
        }
    }
}

/// Appends some batches at once; of each to which collection and with which SeqIds.
fn append_group(
    log: &Log,
    storage: &RecordingStorage,
    random: &mut Random,
    first_tag: u64,
) -> Vec<(u64, SeqRange)> {
    let submitted: Vec<_> = (0..=random.below(5) as u64)
        .map(|at| {
            let (to, tag) = (random.below(COLLECTIONS as usize) as u64, first_tag + at);
            let batch = batch(tag, 1 + random.below(12));
            let ticket = log.submit(collection(u128::from(to)), batch, None).unwrap();
            (to, tag, ticket)
        })
        .collect();
    let acknowledged = submitted.into_iter().map(|(to, tag, ticket)| {
        let seqs = ticket.wait().unwrap();
        let label = format!("acknowledged {to} {} {} {tag}", seqs.first.0, seqs.last.0);
        storage.mark(label);
        (to, seqs)
    });
    acknowledged.collect()
}

/// Opens a rebuilt folder, and checks what is found.
fn check(rebuilt: Rebuilt, known: &Known, label: &str) {
    let storage: Arc<dyn Storage> = Arc::new(rebuilt.storage);
    let (log, replayed) = open_with(storage.clone(), tiny_files(), &known.applied)
        .unwrap_or_else(|error| panic!("{label}: {error}"));
    let mut next = known.applied.clone();
    let mut found = BTreeMap::new();
    for frame in &replayed {
        let next = next.get_mut(&frame.collection).unwrap();
        assert_eq!(
            frame.seqs.first,
            next.plus(1),
            "{label}: dense and in order"
        );
        *next = frame.seqs.last;
        let id = frame.batch.ids.get(0);
        let tag = id.strip_suffix("-0").expect("batches begin with row 0");
        let tag: u64 = tag.parse().unwrap();
        assert_eq!(*frame.batch, *batch(tag, frame.batch.len()), "{label}");
        assert_eq!(frame.seqs.count() as usize, frame.batch.len(), "{label}");
        found.insert((frame.collection, frame.seqs.first), (frame.seqs.last, tag));
    }
    for ((id, first), told) in &known.acknowledged {
        if told.0 > known.applied[id] {
            let found = found.get(&(*id, *first));
            assert_eq!(found, Some(told), "{label}: an acknowledged batch");
        }
    }
    for (id, last) in next {
        assert_eq!(log.head(id).unwrap().highest, last, "{label}");
        let seqs = append(&log, id, &batch(1, 2)).unwrap();
        assert_eq!(seqs.first, last.plus(1), "{label}");
    }
    log.close().unwrap();
    drop(log);
    let again = open_with(storage, tiny_files(), &known.applied);
    let (_, again) = again.unwrap_or_else(|error| panic!("{label}, opened again: {error}"));
    assert_eq!(
        again.len(),
        replayed.len() + COLLECTIONS as usize,
        "{label}"
    );
}

fn record(base: Option<(&RecordingStorage, &Known)>, seed: u64, rounds: u64) -> Trace {
    let fresh = RecordingStorage::default();
    let nothing = known(&fresh.trace().rebuild(0, Survival::All, 0).unwrap(), None);
    let (storage, known) = base.unwrap_or((&fresh, &nothing));
    work(storage, known, seed, rounds);
    storage.trace()
}

#[test]
fn no_power_cut_takes_an_acknowledged_batch_or_leaves_a_part_of_one() {
    let mut states = 0;
    for seed in 1..=12 {
        let trace = record(None, seed, 40);
        for cut in 0..=trace.len() {
            // Each cut with one of the ways in turn, all of them at every fifth.
            for (at, survival) in SURVIVALS.into_iter().enumerate() {
                if cut % 5 != 0 && (cut + seed as usize) % SURVIVALS.len() != at {
                    continue;
                }
                let chance = seed * 1_000_003 + cut as u64;
                let rebuilt = trace.rebuild(cut, survival, chance).unwrap();
                let known = known(&rebuilt, None);
                let label = format!("seed {seed}, cut at {cut} of {}, {survival:?}", trace.len());
                check(rebuilt, &known, &label);
                states += 1;
            }
        }
    }
    assert!(states > 3000, "only {states} states");
}

#[test]
fn no_power_cut_of_a_busy_log_brings_back_what_a_file_had_before() {
    let (mut states, mut reuses) = (0, 0);
    for seed in 1..=8 {
        let storage = RecordingStorage::default();
        busy_work(&storage, seed, 40);
        let trace = storage.trace();
        reuses += trace.reuses();
        for cut in 0..=trace.len() {
            let survival = SURVIVALS[(cut + seed as usize) % SURVIVALS.len()];
            let rebuilt = trace
                .rebuild(cut, survival, seed * 1_000_003 + cut as u64)
                .unwrap();
            let known = known(&rebuilt, None);
            let label = format!("seed {seed}, cut at {cut} of {}, {survival:?}", trace.len());
            check(rebuilt, &known, &label);
            states += 1;
        }
    }
    assert!(states > 2000, "only {states} states");
    assert!(reuses > 50, "only {reuses} files were written over");
}

#[test]
fn a_power_cut_after_a_power_cut_takes_nothing_either() {
    let mut states = 0;
    for seed in 1..=40 {
        let first = record(None, seed, 20);
        let mut random = Random::new(seed);
        let survival = SURVIVALS[random.below(SURVIVALS.len())];
        let cut = first.len() / 2 + random.below(first.len() / 2);
        let dark = first.rebuild(cut, survival, random.next_u64()).unwrap();
        let before = known(&dark, None);
        let recording = RecordingStorage::starting_from(&dark.storage).unwrap();
        let second = record(Some((&recording, &before)), seed + 1000, 8);
        for cut in 0..=second.len() {
            let survival = SURVIVALS[random.below(SURVIVALS.len())];
            let rebuilt = second.rebuild(cut, survival, random.next_u64()).unwrap();
            let after = known(&rebuilt, Some(&before));
            let label = format!("seed {seed}, second cut at {cut}, {survival:?}");
            check(rebuilt, &after, &label);
            states += 1;
        }
    }
    assert!(states > 1000, "only {states} states");
}
