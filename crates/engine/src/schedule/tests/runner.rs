//! The scheduler with a catalogue, tasks, a clock that tests move, and threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::catalog::{Catalog, CatalogLocation};
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::{Error, ErrorKind, Result};

/// A scheduler on a catalogue, with the task `count` and the task `fail`.
struct Bench {
    catalog: Arc<Catalog>,
    clock: Arc<ManualClock>,
    counted: Arc<AtomicUsize>,
    scheduler: Scheduler,
}

fn open(catalog: &Arc<Catalog>, clock: Arc<dyn Clock>, counted: &Arc<AtomicUsize>) -> Scheduler {
    let scheduler =
        Scheduler::open(catalog.clone(), clock, Arc::new(|_: &dyn Fn() -> bool| {})).unwrap();
    let counter = counted.clone();
    scheduler.register(
        "count",
        Arc::new(move |run| {
            if !run.dry_run {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            Ok(json!({ "dry_run": run.dry_run, "said": run.argument("word") }))
        }),
    );
    scheduler.register("fail", Arc::new(|_| Err(Error::internal("no luck"))));
    scheduler.register("panic", Arc::new(|_| panic!("for the test")));
    scheduler
}

impl Bench {
    fn new() -> Self {
        let catalog = Arc::new(Catalog::open(&CatalogLocation::memory()).unwrap());
        let clock = Arc::new(ManualClock::default());
        clock.advance(seconds(1_790_000_000));
        let counted = Arc::new(AtomicUsize::new(0));
        let scheduler = open(&catalog, clock.clone(), &counted);
        Self {
            catalog,
            clock,
            counted,
            scheduler,
        }
    }

    fn restart(self) -> Self {
        let Self {
            catalog,
            clock,
            counted,
            scheduler,
        } = self;
        scheduler.stop();
        let scheduler = open(&catalog, clock.clone(), &counted);
        Self {
            catalog,
            clock,
            counted,
            scheduler,
        }
    }

    fn counted(&self) -> usize {
        self.counted.load(Ordering::SeqCst)
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, words: &str) {
    let error = result.expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(words), "{error}");
}

#[test]
fn job_runs_when_it_is_due_and_its_history_outlives_a_restart() {
    let mut bench = Bench::new();
    let plain = Policy::default;
    bench
        .scheduler
        .schedule_interval("often", "count", seconds(60), plain())
        .unwrap();
    assert!(bench.scheduler.run_due().is_empty());
    bench.clock.advance(seconds(60));
    let runs = bench.scheduler.run_due();
    assert_eq!((runs.len(), bench.counted()), (1, 1));
    assert_eq!(runs[0].outcome, Outcome::Succeeded);
    assert_eq!(
        runs[0].report,
        Some(json!({"dry_run": false, "said": null}))
    );
    bench.clock.advance(seconds(30));
    bench = bench.restart();
    assert!(bench.scheduler.run_due().is_empty());
    bench.clock.advance(seconds(30));
    assert_eq!(bench.scheduler.run_due().len(), 1);
    let history = bench.scheduler.history(Some("often"), 10).unwrap();
    let ids: Vec<u64> = history.iter().map(|run| run.id).collect();
    assert_eq!(ids, [2, 1]);
    let job = bench.scheduler.job("often").unwrap();
    assert_eq!(job.last_run.as_ref(), history.first());
    assert!(!job.running && !job.paused && !job.built_in);
    bench.catalog.verify().unwrap();
}

#[test]
fn job_that_runs_once_runs_once() {
    let bench = Bench::new();
    let scheduler = &bench.scheduler;
    let once = |delay, at| scheduler.schedule_once("soon", "count", delay, at, Policy::default());
    refused(once(None, None), ErrorKind::InvalidArgument, "neither");
    once(Some(seconds(5)), None).unwrap();
    bench.clock.advance(seconds(5));
    assert_eq!(scheduler.run_due().len(), 1);
    bench.clock.advance(seconds(500));
    assert!(scheduler.run_due().is_empty());
    assert_eq!(scheduler.job("soon").unwrap().next, None);
}

#[test]
fn failure_is_tried_again_after_longer_and_longer_pauses_and_then_given_up() {
    let bench = Bench::new();
    let policy = Policy {
        retries: 2,
        backoff: seconds(10),
        ..Policy::default()
    };
    let cron = bench
        .scheduler
        .schedule_cron("bad", "fail", "0 0 1 1 *", "UTC", policy);
    cron.unwrap();
    bench.clock.advance(seconds(400 * 86_400));
    let mut waits = Vec::new();
    for second in 0..100 {
        for run in bench.scheduler.run_due() {
            assert_eq!(run.outcome, Outcome::Failed);
            assert_eq!(run.message.as_deref(), Some("no luck"));
            waits.push((second, run.attempt));
        }
        bench.clock.advance(seconds(1));
    }
    assert_eq!(waits, [(0, 1), (10, 2), (30, 3)]);
    let status = bench.scheduler.status();
    let error = status.last_error.unwrap();
    assert!(
        error.starts_with("bad at 20") && error.ends_with(": no luck"),
        "{error}"
    );
}

#[test]
fn panic_of_a_task_is_a_failure_and_harms_no_other() {
    let bench = Bench::new();
    let every = |job: &str, task: &str| {
        bench
            .scheduler
            .schedule_interval(job, task, seconds(60), Policy::default())
            .unwrap();
    };
    every("a", "panic");
    every("b", "count");
    bench.clock.advance(seconds(60));
    let outcomes: Vec<Outcome> = bench
        .scheduler
        .run_due()
        .iter()
        .map(|run| run.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Succeeded]);
}

#[test]
fn run_on_demand_takes_arguments_and_leaves_the_schedule_alone() {
    let bench = Bench::new();
    let scheduler = &bench.scheduler;
    scheduler
        .schedule_interval("often", "count", seconds(60), Policy::default())
        .unwrap();
    let before = scheduler.job("often").unwrap().next;
    let request = RunRequest {
        dry_run: true,
        arguments: json!({"word": "hello"}),
    };
    let run = scheduler.run("often", request).unwrap();
    assert_eq!(run.report, Some(json!({"dry_run": true, "said": "hello"})));
    assert_eq!((run.reason, bench.counted()), (Reason::Manual, 0));
    assert_eq!(scheduler.job("often").unwrap().next, before);
    let nothing = RunRequest::default;
    refused(
        scheduler.run("none", nothing()),
        ErrorKind::NotFound,
        "no job `none`",
    );
    scheduler.set_closed(true);
    refused(scheduler.run("often", nothing()), ErrorKind::Busy, "paused");
}

#[test]
fn paused_jobs_and_a_paused_scheduler_run_nothing_by_themselves() {
    let mut bench = Bench::new();
    bench
        .scheduler
        .schedule_interval("often", "count", seconds(60), Policy::default())
        .unwrap();
    bench.scheduler.pause_job("often", true).unwrap();
    bench = bench.restart();
    bench.clock.advance(seconds(600));
    assert!(bench.scheduler.run_due().is_empty());
    bench.scheduler.pause_job("often", false).unwrap();
    bench.scheduler.set_paused(true);
    assert!(bench.scheduler.run_due().is_empty());
    assert_eq!(bench.scheduler.status().due, 1);
    bench.scheduler.set_paused(false);
    let runs = bench.scheduler.run_due();
    assert_eq!((runs.len(), runs[0].missed), (1, 9));
    refused(
        bench.scheduler.pause_job("none", true),
        ErrorKind::NotFound,
        "no job",
    );
}

#[test]
fn job_of_the_program_takes_new_defaults_unless_an_operator_changed_it() {
    let mut bench = Bench::new();
    let spec = |minutes: u64| {
        let trigger = Trigger::interval(seconds(60 * minutes)).unwrap();
        JobSpec::new("upkeep", "count", trigger, Policy::default()).unwrap()
    };
    bench.scheduler.built_in(spec(10));
    bench.scheduler.run_due();
    bench.clock.advance(seconds(400));
    bench = bench.restart();
    bench.scheduler.built_in(spec(10));
    bench.clock.advance(seconds(200));
    // The time before the restart counts.
    assert_eq!(bench.scheduler.run_due().len(), 1);
    bench = bench.restart();
    bench.scheduler.built_in(spec(20));
    let every = |bench: &Bench| bench.scheduler.job("upkeep").unwrap().trigger;
    assert_eq!(every(&bench), spec(20).trigger.text());
    bench
        .scheduler
        .schedule("upkeep", "count", spec(5).trigger, Policy::default())
        .unwrap();
    bench = bench.restart();
    bench.scheduler.built_in(spec(20));
    assert_eq!(every(&bench), spec(5).trigger.text());
    bench.scheduler.unschedule("upkeep").unwrap();
    refused(bench.scheduler.job("upkeep"), ErrorKind::NotFound, "no job");
    let unknown = bench
        .scheduler
        .schedule("x", "nothing", spec(5).trigger, Policy::default());
    refused(unknown, ErrorKind::InvalidArgument, "count, fail, panic");
}

#[test]
fn job_of_the_program_that_comes_late_is_kept_before_it_runs() {
    let bench = Bench::new();
    bench.scheduler.start().unwrap();
    let trigger = Trigger::interval(seconds(3600)).unwrap();
    let spec = JobSpec::new("late", "count", trigger, Policy::default()).unwrap();
    bench.scheduler.built_in(spec);
    for _ in 0..4000 {
        if !bench.catalog.jobs().unwrap().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(bench.catalog.jobs().unwrap()[0].name, "late");
    assert_eq!(bench.counted.load(Ordering::SeqCst), 0);
}

#[test]
fn run_that_ends_with_the_process_is_due_again() {
    let mut bench = Bench::new();
    let (begun, begins) = std::sync::mpsc::channel();
    let begun = Mutex::new(begun);
    let endless: Task = Arc::new(move |run| {
        begun.lock().send(()).unwrap();
        while run.go_on() {
            std::thread::yield_now();
        }
        Ok(json!(null))
    });
    bench.scheduler.register("endless", endless);
    bench
        .scheduler
        .schedule_interval("long", "endless", seconds(60), Policy::default())
        .unwrap();
    bench.clock.advance(seconds(60));
    let due = bench.scheduler.begin_due();
    assert_eq!((due.len(), due[0].job.as_str()), (1, "long"));
    begins.recv_timeout(seconds(20)).expect("it begins");
    assert!(bench.scheduler.begin_due().is_empty());
    bench = bench.restart();
    let history = bench.scheduler.history(Some("long"), 9).unwrap();
    assert_eq!(history[0].outcome, Outcome::Cancelled);
    let counter = bench.counted.clone();
    let count: Task = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(json!(null))
    });
    bench.scheduler.register("endless", count);
    assert_eq!(bench.scheduler.run_due().len(), 1);
    assert_eq!(bench.counted(), 1);
}

#[test]
fn thread_runs_due_jobs_and_cancelling_ends_a_run_between_its_steps() {
    let catalog = Arc::new(Catalog::open(&CatalogLocation::memory()).unwrap());
    let counted = Arc::new(AtomicUsize::new(0));
    let scheduler = open(&catalog, SystemClock::new(), &counted);
    let (begun, begins) = std::sync::mpsc::channel();
    let begun = Mutex::new(begun);
    scheduler.register(
        "endless",
        Arc::new(move |run| {
            begun.lock().send(()).unwrap();
            let mut steps = 0_u64;
            while run.go_on() {
                steps += 1;
                std::thread::yield_now();
            }
            Ok(json!({ "ended_early": steps > 0 || run.is_cancelled() }))
        }),
    );
    scheduler.start().unwrap();
    let now = Some(Duration::ZERO);
    scheduler
        .schedule_once("long", "endless", now, None, Policy::default())
        .unwrap();
    begins.recv_timeout(seconds(20)).expect("it begins");
    refused(
        scheduler.run("long", RunRequest::default()),
        ErrorKind::Busy,
        "wait for it or cancel it",
    );
    scheduler.cancel("long").unwrap();
    assert!(scheduler.wait_idle(seconds(20)));
    let run = scheduler.history(Some("long"), 1).unwrap().remove(0);
    assert_eq!(run.outcome, Outcome::Cancelled);
    refused(
        scheduler.cancel("long"),
        ErrorKind::Conflict,
        "does not run",
    );
    // One that is asked for ends with the scheduler.
    scheduler.begin("long", RunRequest::default()).unwrap();
    begins.recv_timeout(seconds(20)).expect("it begins");
    scheduler.stop();
    let run = scheduler.history(Some("long"), 1).unwrap().remove(0);
    assert_eq!(
        (run.outcome, run.reason),
        (Outcome::Cancelled, Reason::Manual)
    );
}

#[test]
fn failure_is_told_until_the_same_job_does_its_work() {
    let bench = Bench::new();
    let broken = Arc::new(AtomicUsize::new(1));
    let seen = broken.clone();
    bench.scheduler.register(
        "fragile",
        Arc::new(move |_| match seen.load(Ordering::SeqCst) {
            0 => Ok(json!({})),
            _ => Err(Error::internal("no luck")),
        }),
    );
    let hourly = || Trigger::interval(seconds(3600)).unwrap();
    for (job, task) in [("one", "fragile"), ("other", "count")] {
        let policy = Policy::default();
        bench
            .scheduler
            .schedule(job, task, hourly(), policy)
            .unwrap();
    }
    let run = |job: &str, dry_run| {
        let request = RunRequest {
            dry_run,
            ..RunRequest::default()
        };
        bench.scheduler.run(job, request).unwrap();
        bench.scheduler.status().last_error
    };
    assert_eq!(run("one", true), None, "a dry run tries nothing");
    assert!(run("one", false).is_some());
    assert!(run("other", false).is_some());
    broken.store(0, Ordering::SeqCst);
    assert!(run("one", true).is_some());
    assert_eq!(run("one", false), None);
    broken.store(1, Ordering::SeqCst);
    assert!(run("one", false).is_some());
    let bench = bench.restart();
    let error = bench.scheduler.status().last_error.unwrap();
    assert!(
        error.starts_with("one at ") && error.ends_with("no luck"),
        "{error}"
    );
    let counts = bench.scheduler.counts();
    assert!(counts.iter().all(|job| job.last_success.is_some()));
    bench.scheduler.unschedule("one").unwrap();
    assert_eq!(bench.scheduler.status().last_error, None);
}

#[test]
fn run_that_the_catalogue_cannot_take_is_in_the_history_and_is_noted_later() {
    let bench = Bench::new();
    let policy = Policy::default();
    bench
        .scheduler
        .schedule_interval("often", "count", seconds(60), policy)
        .unwrap();
    let run = || {
        bench
            .scheduler
            .run("often", RunRequest::default())
            .unwrap()
            .id
    };
    let first = run();
    bench.catalog.refuse_changes(true);
    let (second, third) = (run(), run());
    let ids = |limit| -> Vec<u64> {
        let runs = bench.scheduler.history(Some("often"), limit).unwrap();
        runs.iter().map(|run| run.id).collect()
    };
    assert_eq!(ids(10), [third, second, first]);
    assert_eq!(ids(1), [third]);
    let error = bench.scheduler.status().last_error.unwrap();
    assert!(error.contains("cannot be noted"), "{error}");
    assert_eq!(bench.catalog.last_job_run().unwrap(), first);
    bench.catalog.refuse_changes(false);
    let fourth = run();
    assert_eq!(bench.catalog.last_job_run().unwrap(), fourth);
    assert_eq!(ids(10), [fourth, third, second, first]);
    assert_eq!(bench.scheduler.status().last_error, None);
    let bench = bench.restart();
    let runs = bench.scheduler.history(Some("often"), 10).unwrap();
    assert_eq!(runs.len(), 4);
}

#[test]
fn job_that_is_changed_stays_paused_and_a_task_keeps_its_name() {
    let bench = Bench::new();
    let put = |job: &str, task: &str, every: u64| {
        let trigger = Trigger::interval(seconds(every)).unwrap();
        let spec = JobSpec::new(job, task, trigger, Policy::default()).unwrap();
        bench.scheduler.put(spec)
    };
    put("mine", "count", 60).unwrap();
    bench.scheduler.pause_job("mine", true).unwrap();
    put("mine", "count", 120).unwrap();
    assert!(bench.scheduler.job("mine").unwrap().paused);
    bench.scheduler.pause_job("mine", false).unwrap();
    put("mine", "fail", 60).unwrap();
    assert!(!bench.scheduler.job("mine").unwrap().paused);
    put("count", "count", 60).unwrap();
    let other = put("count", "fail", 60);
    refused(other, ErrorKind::InvalidArgument, "`count` and no other");
    assert_eq!(bench.scheduler.job("count").unwrap().task, "count");
}
