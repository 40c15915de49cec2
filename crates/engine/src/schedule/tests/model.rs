//! The planner against a naive model: occurrences are found by division, every step of the planner
//! is checked against what the policy promises.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;
const REPEAT_MAX: i64 = 3 * HOUR;
const START: i64 = 1_790_000_000_000;

/// A trigger whose occurrences are known by arithmetic.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Interval(i64),
    Hourly(i64),
    Daily(i64),
    Once(i64),
}

impl Kind {
    fn trigger(self) -> Trigger {
        match self {
            Self::Interval(every) => {
                Trigger::interval(Duration::from_millis(every as u64)).unwrap()
            }
            Self::Hourly(minute) => Trigger::cron(&format!("{minute} * * * *"), "UTC").unwrap(),
            Self::Daily(minute) => {
                let (hour, minute) = (minute / 60, minute % 60);
                Trigger::cron(&format!("{minute} {hour} * * *"), "UTC").unwrap()
            }
            Self::Once(delay) => {
                let delay = Duration::from_millis(delay as u64);
                Trigger::once(Some(delay), None, Moment(START)).unwrap()
            }
        }
    }

    /// Milliseconds between two occurrences, and where the first of all lies.
    fn grid(self, anchor: i64) -> (i64, i64) {
        match self {
            Self::Interval(every) => (every, anchor),
            Self::Hourly(minute) => (HOUR, minute * 60_000),
            Self::Daily(minute) => (24 * HOUR, minute * 60_000),
            Self::Once(_) => (i64::MAX / 4, anchor),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Time passes and the planner is asked whenever it wants to be.
    Awake(i64),
    /// Time passes unseen: the machine sleeps, or the clock is set forward.
    Asleep(i64),
    /// The clock is set back.
    Back(i64),
    /// The process ends, and another reads the stored times.
    Restart,
    /// The run that is under way ends.
    Finish(bool),
    Pause(bool),
    /// Somebody asks for a run.
    Manual,
}

fn any_span() -> impl Strategy<Value = i64> {
    // From a second to three months, short ones as likely as long ones.
    (0_u32..23, 0_i64..1000).prop_map(|(power, more)| (1000_i64 << power) + more)
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_span().prop_map(Step::Awake),
        3 => any_span().prop_map(Step::Asleep),
        2 => any_span().prop_map(Step::Back),
        2 => Just(Step::Restart),
        4 => any::<bool>().prop_map(Step::Finish),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => Just(Step::Manual),
    ]
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (1_i64..5000).prop_map(|every| Kind::Interval(every * 1000)),
        (0_i64..60).prop_map(Kind::Hourly),
        (0_i64..1440).prop_map(Kind::Daily),
        (0_i64..100_000).prop_map(|delay| Kind::Once(delay * 1000)),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let missed = prop_oneof![
        Just(Missed::Skip),
        Just(Missed::RunOnce),
        Just(Missed::RunAll)
    ];
    (missed, 0_u64..7200, 0_u64..400, 0_u32..4, 1_u64..600).prop_map(
        |(missed, grace, jitter, retries, backoff)| Policy {
            missed,
            grace: seconds(grace),
            jitter: Duration::from_millis(jitter),
            retries,
            backoff: seconds(backoff),
        },
    )
}

/// What must be true, known without the planner.
struct Model {
    kind: Kind,
    policy: Policy,
    planner: Planner,
    now: i64,
    /// An occurrence of an interval; `None` after the clock went back, which moves the grid.
    anchor: Option<i64>,
    /// The last occurrence that was run or counted as missed.
    settled: Option<i64>,
    running: Option<Start>,
    paused: bool,
    /// When the last attempt failed, and which it was.
    failed: Option<(i64, u32)>,
    /// Whether any occurrence was settled.
    spent: bool,
}

impl Model {
    fn new(kind: Kind, policy: Policy) -> Self {
        let spec = JobSpec::new("job", "task", kind.trigger(), policy.clone()).unwrap();
        let mut planner = Planner::default();
        planner.add(spec, Moment(START));
        let anchor = match kind {
            Kind::Once(delay) => START + delay,
            Kind::Interval(_) | Kind::Hourly(_) | Kind::Daily(_) => START,
        };
        Self {
            kind,
            policy,
            planner,
            now: START,
            anchor: Some(anchor),
            settled: (!matches!(kind, Kind::Once(_))).then_some(START),
            running: None,
            paused: false,
            failed: None,
            spent: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Awake(span) => self.pass(self.now + span),
            Step::Asleep(span) => self.now += span,
            Step::Back(span) => self.set_back(*span),
            Step::Restart => self.restart(),
            Step::Finish(well) => self.finish(*well),
            Step::Pause(paused) => {
                self.planner.pause("job", *paused).unwrap();
                self.paused = *paused;
            }
            Step::Manual => self.begin(),
        }
        self.ask();
    }

    /// Asks the planner each time it wants to be asked; runs end well at once.
    fn pass(&mut self, end: i64) {
        for _ in 0..300 {
            let Some(wake) = self.planner.wake().filter(|wake| wake.0 <= end) else {
                break;
            };
            self.now = self.now.max(wake.0);
            self.ask();
            self.finish(true);
        }
        self.now = self.now.max(end);
    }

    fn set_back(&mut self, span: i64) {
        self.now -= span;
        if let Some((failed_at, _)) = &mut self.failed {
            // The pause begins again at most.
            *failed_at = (*failed_at).min(self.now);
        }
        if matches!(self.kind, Kind::Interval(_) | Kind::Once(_)) {
            self.anchor = None;
            self.settled = None;
        } else if let Some(settled) = self.settled
            && (settled - self.now > REPEAT_MAX || !self.spent)
        {
            self.settled = None;
        }
    }

    fn restart(&mut self) {
        let job = self.planner.job("job").unwrap();
        // A run that was under way when the process died left nothing in the catalogue; here it is
        // taken to have ended before.
        let (spec, times) = (job.spec.clone(), job.times);
        let row = store::job_row(&spec, times);
        let (spec, restored) = store::job_of(&row).unwrap();
        assert_eq!(restored, times);
        self.planner = Planner::default();
        self.planner.restore(spec, restored);
        self.running = None;
    }

    fn begin(&mut self) {
        let begun = self.planner.begin("job", Moment(self.now));
        assert_eq!(begun.is_err(), self.running.is_some());
        if let Ok(start) = begun {
            self.running = Some(start);
        }
    }

    fn finish(&mut self, well: bool) {
        let Some(start) = self.running.take() else {
            return;
        };
        let ended = if well { Ended::Well } else { Ended::Badly };
        let times = self
            .planner
            .finish(&start, ended, Moment(self.now))
            .unwrap();
        if well {
            assert_eq!(times.retry, None);
            self.failed = None;
        } else if start.reason != Reason::Manual {
            let again = start.attempt <= self.policy.retries;
            assert_eq!(times.retry.is_some(), again);
            self.failed = again.then_some((self.now, start.attempt));
        }
    }

    fn ask(&mut self) {
        // Missed occurrences made up for one by one are due again as soon as one has run.
        let due = self.planner.due(Moment(self.now), usize::MAX);
        assert!(due.len() <= 1, "{due:?}");
        for due in due {
            assert!(!self.paused, "{due:?}");
            assert!(self.running.is_none(), "two at a time: {due:?}");
            match due {
                Due::Missed { last, count, .. } => {
                    assert_eq!(self.policy.missed, Missed::Skip);
                    self.settle(last.0, count, 0);
                }
                Due::Start(start) => {
                    self.check_start(&start);
                    self.running = Some(start);
                }
            }
        }
        self.check_wake();
    }

    fn check_start(&mut self, start: &Start) {
        let late = self.now - start.scheduled_for.0;
        match start.reason {
            Reason::Manual => panic!("nobody asked: {start:?}"),
            Reason::Retry => {
                let (failed_at, attempt) = self.failed.take().expect("something failed");
                assert_eq!(start.attempt, attempt + 1);
                let pause = self.policy.pause(attempt).as_millis() as i64;
                assert!(self.now - failed_at >= pause, "too early: {start:?}");
            }
            Reason::Schedule => {
                self.failed = None;
                assert!(late >= 0, "before its time: {start:?}");
                let jitter = self.policy.jitter.as_millis() as i64;
                if self.policy.missed == Missed::Skip {
                    let grace = self.policy.grace.as_millis() as i64;
                    assert!(late <= grace + jitter, "after its grace: {start:?}");
                }
                self.settle(start.scheduled_for.0, start.missed, 1);
            }
        }
    }

    /// Occurrences up to `last` are settled: so many were missed, so many run.
    fn settle(&mut self, last: i64, missed: u32, run: u32) {
        if let Some(anchor) = self.anchor {
            let (period, origin) = self.kind.grid(anchor);
            assert_eq!(
                (last - origin).rem_euclid(period),
                0,
                "no occurrence: {last}"
            );
            if let Some(settled) = self.settled {
                assert!(last > settled, "twice: {last}");
                let grid = |at: i64| (at - origin).div_euclid(period);
                let count = grid(last) - grid(settled);
                let counted = i64::from(missed) + i64::from(run);
                assert_eq!(counted, count.min(1001), "lost or invented: {last}");
                if self.policy.missed == Missed::RunAll && count <= 1000 {
                    assert_eq!(missed, 0);
                }
            }
        }
        self.settled = Some(last);
        assert!(!(self.spent && matches!(self.kind, Kind::Once(_))), "twice");
        self.spent = true;
    }

    /// Once asked, nothing is left due; and the next time to ask is no later than it may be.
    fn check_wake(&self) {
        let wake = self.planner.wake();
        if self.paused || self.running.is_some() {
            assert_eq!(wake, None);
            return;
        }
        let jitter = self.policy.jitter.as_millis() as i64;
        if let Some(wake) = wake {
            assert!(wake.0 > self.now, "left behind at {}: {wake:?}", self.now);
        }
        let wake = wake.map_or(i64::MAX, |wake| wake.0);
        let bound = match self.kind {
            Kind::Interval(every) => self.now + every,
            Kind::Once(delay) if !self.spent => self.now + delay,
            Kind::Once(_) => return,
            Kind::Hourly(_) | Kind::Daily(_) => {
                let (period, origin) = self.kind.grid(0);
                let repeated = self
                    .settled
                    .filter(|settled| *settled > self.now && settled - self.now <= REPEAT_MAX);
                let from = repeated.unwrap_or(self.now);
                origin + ((from - origin).div_euclid(period) + 1) * period
            }
        };
        assert!(wake <= bound + jitter, "too late: {wake} after {bound}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn planner_keeps_its_promises_whatever_time_does(
        kind in any_kind(),
        policy in any_policy(),
        steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let mut model = Model::new(kind, policy);
        model.ask();
        for step in &steps {
            model.step(step);
        }
    }
}
