//! The route that makes a backup.
//!
//! What must stay true: a client names a folder inside of the one that the operator has set, and
//! nothing else; reads and writes go on meanwhile.

use axum::extract::State;
use vermilion_protocol::{ApiError, backups as bodies};

use crate::answer::{Answer, Reply};
use crate::app::App;
use crate::extract::JsonBody;

pub(crate) async fn make(State(app): State<App>, body: JsonBody) -> Reply {
    if !app.database.has_destinations() {
        let message = "Backups are disabled: the setting backup_folder names no folder";
        return Err(ApiError::new(403, message).into());
    }
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
