//! Plans carried out again and again over records that come, change and go.

use std::collections::BTreeMap;

use super::*;

const FILE_RECORDS: usize = 64;

/// Records with the positions at which they were last written, and the files that tell them.
#[derive(Default)]
struct World {
    state: u64,
    head: u64,
    now: f64,
    records: BTreeMap<u64, u64>,
    files: Vec<(Known, Vec<u64>)>,
    numbered: u64,
    /// Records that were written to files, all over.
    work: usize,
}

impl World {
    fn below(&mut self, end: u64) -> u64 {
        // Knuth's linear congruential generator.
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005);
        self.state = self.state.wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % end
    }

    /// Writes records, some of which were there, and deletes some.
    fn live_on(&mut self, new: u64, changed: u64, deleted: u64) {
        for _ in 0..new {
            self.head += 1;
            self.records.insert(self.head, self.head);
        }
        for delete in (0..changed)
            .map(|_| false)
            .chain((0..deleted).map(|_| true))
        {
            let ids: Vec<u64> = self.records.keys().copied().collect();
            if ids.is_empty() {
                return;
            }
            let id = ids[self.below(ids.len() as u64) as usize];
            self.head += 1;
            if delete {
                self.records.remove(&id);
            } else {
                self.records.insert(id, self.head);
            }
        }
    }

    fn seqs(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.records.values().copied().collect();
        seqs.sort_unstable();
        seqs
    }

    fn plan(&self) -> Plan {
        let files: Vec<Known> = self.files.iter().map(|(known, _)| known.clone()).collect();
        let seqs = self.seqs();
        let told = Told {
            seqs: &seqs,
            head: self.head,
            file_records: FILE_RECORDS,
        };
        plan(&files, told, self.now, &|_| false)
    }

    /// Makes the first `steps` files of a plan, and removes what it replaces where that is all of them.
    fn carry_out(&mut self, plan: &Plan, steps: usize) {
        for span in plan.make.iter().take(steps) {
            let of_it = self.records.values().filter(|seq| span.holds(**seq));
            let seqs: Vec<u64> = of_it.copied().collect();
            assert!(!seqs.is_empty() && seqs.len() <= FILE_RECORDS, "{span:?}");
            self.numbered += 1;
            self.work += seqs.len();
            let known = Known {
                id: Uuid::from_u128(u128::from(self.numbered)),
                span: *span,
                number: self.numbered,
                records: seqs.len() as u64,
                made_at: self.now,
            };
            self.files.push((known, seqs));
        }
        if steps >= plan.make.len() {
            self.files
                .retain(|(known, _)| !plan.remove.contains(&known.id));
        }
    }

    /// How often each position is told that is one of a record; all others are told of nothing.
    fn check(&self, dead_max: usize) {
        let mut told: BTreeMap<u64, usize> = BTreeMap::new();
        for seq in self.files.iter().flat_map(|(_, seqs)| seqs) {
            *told.entry(*seq).or_default() += 1;
        }
        assert!(told.values().all(|times| *times == 1), "{told:?}");
        let live = self.seqs();
        assert!(live.iter().all(|seq| told.contains_key(seq)));
        assert!(told.len() - live.len() <= dead_max, "{dead_max}");
    }
}

#[test]
fn every_record_is_told_once_however_they_come_and_go_and_whenever_it_ends() {
    for seed in 0..50 {
        let mut world = World {
            state: seed,
            ..World::default()
        };
        for _ in 0..40 {
            let [new, changed, deleted] = [150, 20, 20].map(|most| world.below(most));
            world.live_on(new, changed, deleted);
            world.now += world.below(2 * STALE_SECONDS as u64) as f64;
            let plan = world.plan();
            if world.below(3) == 0 {
                // The process dies in the middle; some plans are only carried out later.
                let steps = world.below(plan.make.len() as u64 + 1) as usize;
                world.carry_out(&plan, steps);
                continue;
            }
            world.carry_out(&plan, usize::MAX);
            world.check(world.records.len() / (DEAD_PART as usize - 1));
            // Nothing else is due then.
            assert_eq!(world.plan(), Plan::default(), "seed {seed}");
        }
        world.now += STALE_SECONDS;
        let plan = world.plan();
        world.carry_out(&plan, usize::MAX);
        world.check(0);
    }
}

#[test]
fn records_that_come_one_by_one_are_written_a_few_times_each() {
    let mut world = World::default();
    for _ in 0..2000 {
        world.live_on(1, 0, 0);
        let plan = world.plan();
        world.carry_out(&plan, usize::MAX);
    }
    world.check(0);
    assert!(world.work <= 2000 * 8, "{}", world.work);
    assert!(
        world.files.len() <= 2 * 2000 / FILE_RECORDS,
        "{}",
        world.files.len()
    );
}

#[test]
fn a_file_is_made_again_once_much_of_it_is_dead_or_it_must_be() {
    let mut world = World::default();
    world.live_on(60, 0, 0);
    let plan = world.plan();
    world.carry_out(&plan, usize::MAX);
    for id in 1..=7 {
        world.records.remove(&id);
    }
    assert_eq!(world.plan(), Plan::default());
    let files: Vec<Known> = world.files.iter().map(|(known, _)| known.clone()).collect();
    let seqs = world.seqs();
    let told = Told {
        seqs: &seqs,
        head: world.head,
        file_records: FILE_RECORDS,
    };
    let again = Plan {
        make: vec![Span { from: 0, to: 60 }],
        remove: vec![files[0].id],
    };
    assert_eq!(plan_of(&files, told, true), again);
    assert_eq!(plan_of(&files, told, false), Plan::default());
    world.records.remove(&8);
    assert_eq!(world.plan(), again);
    world.records.clear();
    let gone = world.plan();
    assert_eq!((gone.make.len(), gone.remove.len()), (0, 1));
}

fn plan_of(files: &[Known], told: Told<'_>, must: bool) -> Plan {
    plan(files, told, 0.0, &|_| must)
}
