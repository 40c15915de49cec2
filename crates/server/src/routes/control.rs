//! The routes that control the server.

use super::route::{Route, route, with};
use crate::access::Need::Server;
use crate::access::Role::Read;
use crate::handlers::{backups, control};

macro_rules! jobs {
    ($rest:literal) => {
        concat!("/control/v1/jobs", $rest)
    };
}

macro_rules! components {
    ($rest:literal) => {
        concat!("/control/v1/components/{component}", $rest)
    };
}

/// Each begins with [`super::CONTROL`]; one that does not say what it needs is for administrators.
pub(super) const ROUTES: &[Route] = &[
    route(
        "get",
        "/control/v1/status",
        "control_status",
        "State, queue and lag of every component.",
        |f| with(f, control::status),
    )
    .needs(Server(Read))
    .answers(200, "ControlStatus"),
    route(
        "post",
        components!("/pause"),
        "pause_component",
        "Lets a component do nothing from now on.",
        |f| with(f, control::pause_component),
    )
    .answers(200, "Component"),
    route(
        "post",
        components!("/resume"),
        "resume_component",
        "Lets a component work again.",
        |f| with(f, control::resume_component),
    )
    .answers(200, "Component"),
    route(
        "post",
        components!("/drain"),
        "drain_component",
        "Has a component finish what it has begun, then pauses it.",
        |f| with(f, control::drain_component),
    )
    .with_body("Limit")
    .or_no_body()
    .answers(200, "Drained"),
    route(
        "post",
        components!("/stop"),
        "stop_component",
        "Pauses a component and waits until what it has begun has ended.",
        |f| with(f, control::stop_component),
    )
    .with_body("Limit")
    .or_no_body()
    .answers(200, "Stopped"),
    route(
        "post",
        components!("/start"),
        "start_component",
        "Lets a component work again.",
        |f| with(f, control::resume_component),
    )
    .answers(200, "Component"),
    route(
        "post",
        components!("/run"),
        "run_component",
        "Has a component do at once what waits for it, as runs of jobs.",
        |f| with(f, control::run_component),
    )
    .answers(200, "Begun"),
    route("get", jobs!(""), "list_jobs", "Every job, by name.", |f| {
        with(f, control::jobs)
    })
    .needs(Server(Read))
    .answers(200, "Jobs"),
    route("get", jobs!("/{job}"), "get_job", "A job.", |f| {
        with(f, control::job)
    })
    .needs(Server(Read))
    .answers(200, "Job"),
    route(
        "put",
        jobs!("/{job}"),
        "put_job",
        "Makes or changes a job.",
        |f| with(f, control::put_job),
    )
    .with_body("PutJob")
    .answers(200, "Job"),
    route(
        "delete",
        jobs!("/{job}"),
        "delete_job",
        "Forgets a job and its history.",
        |f| with(f, control::delete_job),
    ),
    route(
        "post",
        jobs!("/{job}/run"),
        "run_job",
        "Runs a job now; 202 with its number where the answer does not wait.",
        |f| with(f, control::run_job),
    )
    .with_body("RunJob")
    .or_no_body()
    .answers(200, "Run")
    .or_accepts("BegunRun"),
    route(
        "post",
        jobs!("/{job}/cancel"),
        "cancel_job",
        "Asks the run of a job to end.",
        |f| with(f, control::cancel_job),
    ),
    route(
        "post",
        jobs!("/{job}/pause"),
        "pause_job",
        "Keeps a job from running by itself.",
        |f| with(f, control::pause_job),
    )
    .answers(200, "Job"),
    route(
        "post",
        jobs!("/{job}/resume"),
        "resume_job",
        "Lets a job run by itself again.",
        |f| with(f, control::resume_job),
    )
    .answers(200, "Job"),
    route(
        "post",
        "/control/v1/run-due",
        "begin_due_jobs",
        "Begins jobs that are due, as many as may run at once.",
        |f| with(f, control::begin_due_jobs),
    )
    .answers(200, "Begun"),
    route(
        "get",
        "/control/v1/history",
        "job_history",
        "The newest runs, newest first.",
        |f| with(f, control::history),
    )
    .needs(Server(Read))
    .with_query(&["job", "limit"])
    .answers(200, "Runs"),
    route(
        "post",
        "/control/v1/backups",
        "make_backup",
        "Makes a backup in a folder of the setting backup_folder.",
        |f| with(f, backups::make),
    )
    .with_body("MakeBackup")
    .answers(200, "Backup"),
    route(
        "post",
        "/control/v1/restores",
        "restore_collection",
        "Brings a collection of a backup back under a name that is free.",
        |f| with(f, backups::restore),
    )
    .with_body("RestoreCollection")
    .answers(200, "RestoredCollection"),
];
