//! Why a command failed: one line, a hint, and the exit status.
//!
//! What must stay true: the line is for a person who has not read the source.

use std::fmt;
use std::io::Write;

use vermilion_server::settings::SettingsError;

/// A failure of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    status: u8,
}

impl Failure {
    /// Something did not work.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            status: 1,
        }
    }

    /// The command cannot be understood.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            status: 2,
            ..Self::new(message)
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says before the message what was being done.
    #[must_use]
    pub(crate) fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// Writes the failure to standard error, as one line. An empty one says nothing: everything
    /// was said already.
    pub(crate) fn report(&self) {
        if !self.message.is_empty() {
            let _ = writeln!(std::io::stderr(), "error: {self}");
        }
    }

    /// A failure about which everything was said already.
    pub(crate) fn silent() -> Self {
        Self::new("")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Messages of libraries may have line breaks.
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        f.write_str(&one_line(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {})", one_line(hint)),
            None => Ok(()),
        }
    }
}

impl From<vermilion_engine::Error> for Failure {
    fn from(error: vermilion_engine::Error) -> Self {
        use vermilion_engine::ErrorKind;
        let failure = Self::new(error.message());
        match error.kind() {
            ErrorKind::OutOfSpace => failure.hint("free some space on the disk and run it again"),
            ErrorKind::Busy => failure.hint("wait a little and run it again"),
            ErrorKind::Corrupted => {
                failure.hint("`vermilion verify --path DIR` lists every damaged file")
            }
            _ => failure,
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let failure = Self::usage(error.message);
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<vermilion_server::ServerError> for Failure {
    fn from(error: vermilion_server::ServerError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            vermilion_server::ServerError::Listen { .. } => {
                failure.hint("name another address with --host or another port with --port")
            }
            vermilion_server::ServerError::Keys(error) => error.into(),
            _ => failure,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_hint() {
        let failure = Failure::new("it\nbroke")
            .hint("mend\nit")
            .context("reading");
        assert_eq!(failure.to_string(), "reading: it broke (hint: mend it)");
        assert_eq!(failure.status(), 1);
        assert_eq!(Failure::usage("what?").status(), 2);
    }
}
