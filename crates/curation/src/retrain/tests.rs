//! States of a retraining, without a clock or a catalogue.

use serde_json::json;

use super::run::{Outcome, Run, State, lease_seconds};

fn waiting() -> Run {
    Run {
        id: "a-1".to_owned(),
        number: 1,
        space: "s".to_owned(),
        trigger: None,
        state: State::Pending,
        reason: json!({}),
        fired_at: 1000.0,
        as_of_seq: 1,
        epoch: 1,
        previous: None,
        event_id: "evt".to_owned(),
        expires_after_seconds: 100.0,
        expires_at: 1100.0,
        claims: 0,
        leases_lost: 0,
        lease: None,
        progress: None,
        message: None,
        delivery: None,
        finished_at: None,
        outcome: None,
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: crate::Result<T>, code: &str, state: &str) {
    let refusal = result.expect_err("it is refused");
    assert_eq!((refusal.status, refusal.code), (409, code));
    assert_eq!(refusal.state.map(State::name), Some(state));
}

#[test]
fn a_lease_that_runs_out_leads_back_and_its_worker_is_refused() {
    let mut run = waiting();
    run.state = State::Delivered;
    let token = run.claim(10.0, None, 1000.0).unwrap();
    refused(run.claim(10.0, None, 1000.0), "wrong_state", "running");
    assert!(run.held(&token).is_ok());
    refused(run.held("another"), "lease_lost", "running");
    assert!(!run.settle(1009.9));
    assert!(run.settle(1010.0));
    assert_eq!((run.state, run.leases_lost), (State::Pending, 1));
    refused(run.held(&token), "lease_lost", "pending");
    let second = run.claim(10.0, None, 1011.0).unwrap();
    refused(run.held(&token), "lease_lost", "running");
    assert!(run.held(&second).is_ok());
    assert_eq!(run.claims, 2);
}

#[test]
fn what_nobody_takes_expires_and_a_lost_lease_begins_the_wait_again() {
    let mut run = waiting();
    assert_eq!(run.changes_at(), Some(1100.0));
    run.claim(90.0, None, 1050.0).unwrap();
    assert_eq!(run.changes_at(), Some(1140.0));
    assert!(run.settle(1150.0));
    assert_eq!((run.state, run.expires_at), (State::Pending, 1240.0));
    assert!(run.settle(1240.0));
    assert_eq!((run.state, run.finished_at), (State::Expired, Some(1240.0)));
    assert!(!run.settle(9999.0));
    refused(run.claim(10.0, None, 1300.0), "wrong_state", "expired");
    // However late one looks, the same becomes of it.
    let mut late = waiting();
    late.claim(90.0, None, 1050.0).unwrap();
    late.settle(9999.0);
    assert_eq!(late, Run { lease: None, ..run });
}

#[test]
fn the_same_word_of_the_same_worker_is_known_and_another_is_refused() {
    let mut run = waiting();
    let token = run.claim(10.0, None, 1000.0).unwrap();
    let said = json!({"metrics": {"b": 1, "a": 2}});
    assert!(!run.has_ended_by(State::Succeeded, &token, &said).unwrap());
    run.end_by(State::Succeeded, &token, &said, Outcome::empty(), 1001.0);
    let same = json!({"metrics": {"a": 2, "b": 1}});
    assert!(run.has_ended_by(State::Succeeded, &token, &same).unwrap());
    let other = run.has_ended_by(State::Succeeded, &token, &json!({}));
    refused(other, "already_completed", "succeeded");
    assert!(
        !run.has_ended_by(State::Succeeded, "another", &said)
            .unwrap()
    );
    refused(run.held("another"), "wrong_state", "succeeded");
    assert!(!run.has_ended_by(State::Failed, &token, &said).unwrap());
    assert!(!run.settle(9999.0));
}

#[test]
fn leases_are_of_two_seconds_to_a_day() {
    assert!((lease_seconds(None).unwrap() - 600.0).abs() < f64::EPSILON);
    assert!(lease_seconds(Some(2.0)).is_ok());
    for wrong in [1.9, 86_401.0, f64::NAN, -5.0] {
        let refusal = lease_seconds(Some(wrong)).unwrap_err();
        assert_eq!(refusal.code, "out_of_range");
    }
}

#[test]
fn a_stored_retraining_is_the_same_again() {
    let mut run = waiting();
    run.claim(10.0, Some("w".to_owned()), 1000.0).unwrap();
    let stored = serde_json::to_value(&run).unwrap();
    assert_eq!(serde_json::from_value::<Run>(stored).unwrap(), run);
    let told = run.told().to_string();
    assert!(!told.contains("digest"), "{told}");
}
