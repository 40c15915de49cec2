//! Years pass in a moment: nightly and hourly jobs in zones with their own ideas of summer time,
//! with restarts, outages and a clock that is set.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZoneDatabase;

use super::*;

const YEARS: i64 = 4;
const DAY: i64 = 86_400_000;

fn planner_of(trigger: Trigger, policy: Policy, now: Moment) -> Planner {
    let mut planner = Planner::default();
    let spec = JobSpec::new("nightly", "task", trigger, policy).unwrap();
    planner.add(spec, now);
    planner
}

/// A planner that has read what another stored.
fn restarted(planner: &Planner) -> Planner {
    let job = planner.job("nightly").unwrap();
    let (spec, times) = store::job_of(&store::job_row(&job.spec, job.times)).unwrap();
    let mut next = Planner::default();
    next.restore(spec, times);
    next
}

/// Runs the planner whenever it wants from `now` to `end`; answers the occurrences that ran. The
/// process is started again after every so many runs.
fn simulate(mut planner: Planner, end: Moment, restart_after: usize) -> Vec<Moment> {
    let mut ran = Vec::new();
    while let Some(now) = planner.wake().filter(|wake| *wake < end) {
        for due in planner.due(now, 9) {
            let Due::Start(start) = due else {
                panic!("nothing is missed: {due:?}");
            };
            assert_eq!(start.missed, 0);
            ran.push(start.scheduled_for);
            planner.finish(&start, Ended::Well, now.plus(seconds(20)));
        }
        if ran.len() % restart_after == 0 {
            planner = restarted(&planner);
        }
    }
    ran
}

#[test]
fn nightly_job_runs_once_on_every_date_of_every_zone() {
    for zone in [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "America/Sao_Paulo",
    ] {
        // At 02:30 some zones have a gap or a repetition; at 03:00 their gaps end.
        for expression in ["30 2 * * *", "0 3 * * *", "15 0 * * *"] {
            let start = Moment::parse("2026-01-01T12:00:00Z").unwrap();
            let end = Moment(start.0 + YEARS * 365 * DAY);
            let trigger = Trigger::cron(expression, zone).unwrap();
            let policy = Policy {
                jitter: seconds(60),
                ..Policy::default()
            };
            let ran = simulate(planner_of(trigger, policy, start), end, 7);
            let zone_data = TimeZoneDatabase::bundled().get(zone).unwrap();
            let mut dates: BTreeMap<Date, u32> = BTreeMap::new();
            for moment in &ran {
                let local = moment.timestamp().unwrap().to_zoned(zone_data.clone());
                *dates.entry(local.date()).or_default() += 1;
            }
            let twice = dates.iter().find(|(_, count)| **count != 1);
            assert_eq!(twice, None, "{expression} in {zone}");
            assert_eq!(dates.len() as i64, YEARS * 365, "{expression} in {zone}");
        }
    }
}

#[test]
fn hourly_job_runs_once_in_every_hour_that_passes() {
    for zone in ["Europe/Berlin", "America/New_York"] {
        let start = Moment::parse("2026-01-01T00:30:00Z").unwrap();
        let end = Moment(start.0 + 365 * DAY);
        let trigger = Trigger::cron("0 * * * *", zone).unwrap();
        let ran = simulate(planner_of(trigger, Policy::default(), start), end, 100);
        assert_eq!(ran.len(), 365 * 24, "{zone}");
        let apart = ran
            .windows(2)
            .all(|pair| pair[1].0 - pair[0].0 == 3_600_000);
        assert!(apart, "{zone}");
    }
}

#[test]
fn outage_of_a_year_is_made_up_for_as_the_policy_says() {
    let start = Moment(1_790_000_000_000);
    let back = Moment(start.0 + 365 * DAY);
    let runs = |missed: Missed, every: Duration| {
        let policy = Policy {
            missed,
            ..Policy::default()
        };
        let mut planner = planner_of(Trigger::interval(every).unwrap(), policy, start);
        let (mut starts, mut missed) = (0, 0);
        loop {
            let due = planner.due(back, 9);
            if due.is_empty() {
                return (starts, missed);
            }
            for due in due {
                match due {
                    Due::Start(start) => {
                        starts += 1;
                        missed += start.missed;
                        planner.finish(&start, Ended::Well, back);
                    }
                    Due::Missed { count, .. } => missed += count,
                }
            }
        }
    };
    assert_eq!(runs(Missed::RunAll, seconds(86_400)), (365, 0));
    assert_eq!(runs(Missed::RunOnce, seconds(86_400)), (1, 364));
    // The last of them is due at this very moment, so it is on time.
    assert_eq!(runs(Missed::Skip, seconds(86_400)), (1, 364));
    assert_eq!(runs(Missed::Skip, seconds(86_000)), (0, 366));
    // More than can sensibly be made up for.
    assert_eq!(runs(Missed::RunAll, seconds(1)), (1, 1000));
}

#[test]
fn clock_set_back_by_a_year_puts_no_job_off_for_a_year() {
    let start = Moment(1_790_000_000_000);
    for trigger in [
        Trigger::interval(seconds(3600)).unwrap(),
        Trigger::cron("7 * * * *", "Europe/Berlin").unwrap(),
        Trigger::once(Some(seconds(3600)), None, start).unwrap(),
    ] {
        for restart in [false, true] {
            let mut planner = planner_of(trigger.clone(), Policy::default(), start);
            assert!(planner.due(start, 9).is_empty());
            let back = Moment(start.0 - 365 * DAY);
            if restart {
                planner = restarted(&planner);
            }
            assert!(planner.due(back, 9).is_empty());
            let wake = planner.wake().expect("the job is due again");
            assert!(wake.since(back) <= seconds(3600), "{wake}");
        }
    }
}

#[test]
fn clock_set_back_by_minutes_repeats_no_occurrence() {
    let noon = Moment::parse("2026-05-05T12:00:00Z").unwrap();
    let trigger = Trigger::cron("0 12 * * *", "UTC").unwrap();
    let mut planner = planner_of(trigger, Policy::default(), Moment(noon.0 - 1000));
    let due = planner.due(noon, 9);
    let Some(Due::Start(start)) = due.first() else {
        panic!("it is due: {due:?}");
    };
    planner.finish(start, Ended::Well, noon);
    let before = Moment(noon.0 - 600_000);
    assert!(planner.due(before, 9).is_empty());
    assert_eq!(planner.wake(), Some(Moment(noon.0 + DAY)));
}

#[test]
fn times_of_a_further_attempt_are_stored() {
    let times = Times {
        next: Some(Moment(5)),
        last: None,
        retry: Some(Retry {
            attempt: 2,
            at: Moment(3),
            scheduled_for: Moment(-1),
        }),
        paused: true,
    };
    let trigger = Trigger::interval(seconds(5)).unwrap();
    let spec = JobSpec::new("a", "t", trigger, Policy::default()).unwrap();
    let (restored, same) = store::job_of(&store::job_row(&spec, times)).unwrap();
    assert_eq!(same, times);
    assert_eq!(restored.policy, spec.policy);
}
