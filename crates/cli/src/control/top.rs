//! `vermilion ctl top`: components and jobs, again and again.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::show;
use crate::arguments::Ctl;
use crate::console::{say, write};
use crate::failure::Failure;

/// Puts the cursor into the first corner and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Looks every `every` seconds, `looks` times or until the reader goes away.
pub(super) fn top(
    ctl: &Ctl,
    client: &Client,
    every: u64,
    looks: Option<u64>,
) -> Result<(), Failure> {
    let clear = if std::io::stdout().is_terminal() {
        CLEAR
    } else {
        ""
    };
    let mut look = 0;
    loop {
        let status = client.get("/control/v1/status")?;
        let jobs = client.get("/control/v1/jobs")?;
        if ctl.json {
            say(&json!({"status": status, "jobs": jobs}).to_string())?;
        } else {
            let writable = if status["writable"] == true {
                "takes writes".to_owned()
            } else {
                format!(
                    "refuses writes: {}",
                    status["reason"].as_str().unwrap_or_default()
                )
            };
            let frame = format!(
                "{clear}{} {writable}\n\n{}\n{}\n",
                client.server(),
                show::components(&status["components"]),
                show::jobs(&jobs)
            );
            write(frame.as_bytes())?;
        }
        look += 1;
        if looks.is_some_and(|looks| look >= looks) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(every));
    }
}
