//! The routes that make a backup, and that bring a collection of one back.
//!
//! What must stay true: a client names a folder inside of the one that the operator has set, and
//! nothing else; reads and writes go on meanwhile.

use axum::extract::State;
use vermilion_protocol::{ApiError, backups as bodies};

use crate::answer::{Answer, Reply};
use crate::app::App;
use crate::extract::JsonBody;

pub(crate) async fn make(State(app): State<App>, body: JsonBody) -> Reply {
    must_have_destinations(&app)?;
    let asked = bodies::decode_make_backup(&body.0)?;
    let destination = asked.destination.clone();
    let made = app
        .write(move |database| Ok(database.backup_to(&asked.destination, asked.kind)?))
        .await?;
    tracing::info!(
        destination,
        number = made.number,
        kind = made.kind.name(),
        bytes = made.bytes(),
        reason = made.reason.as_deref().unwrap_or("none"),
        "a backup was made by request"
    );
    Ok(Answer::json(bodies::write_backup(&destination, &made)))
}

pub(crate) async fn restore(State(app): State<App>, body: JsonBody) -> Reply {
    must_have_destinations(&app)?;
    let asked = bodies::decode_restore(&body.0)?;
    let destination = asked.destination.clone();
    let made = app
        .write(move |database| Ok(database.restore_collection(&asked)?))
        .await?;
    tracing::info!(
        destination,
        collection = made.name,
        records = made.records,
        "a collection of a backup was restored by request"
    );
    Ok(Answer::value(&made))
}

fn must_have_destinations(app: &App) -> Result<(), ApiError> {
    if app.database.has_destinations() {
        return Ok(());
    }
    let message = "Backups are disabled: the setting backup_folder names no folder";
    Err(ApiError::new(403, message))
}
