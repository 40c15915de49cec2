//! The command line of Vermilion as a function, so that another program can offer it too.
//!
//! What must stay true: standard output holds what was asked for and nothing else; progress, logs
//! and errors go to standard error; an error is one line with a hint; the exit status is 0, 1 for a
//! failure and 2 for a command that cannot be understood.

mod arguments;
mod backup;
#[cfg(feature = "object-store")]
mod buckets;
mod chroma;
mod configuration;
mod console;
mod control;
mod curation;
mod demo;
mod destinations;
mod embed;
mod failure;
mod files;
mod folders;
mod inspect;
mod keys;
mod logging;
mod serve;
#[cfg(feature = "otel")]
mod telemetry;
mod transfer;
mod utc;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use failure::Failure;

/// Runs the command line `arguments`, the program's name first, and answers the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => finish(dispatch(arguments)),
        Err(error) => {
            // Help is an answer too: it goes to standard output and is no failure.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    if arguments.version {
        return console::say(&version(arguments.verbose));
    }
    match arguments.command {
        Some(Command::Serve(serve)) => serve::serve(&serve),
        Some(Command::Run(run)) => serve::run(&run),
        Some(Command::Demo(demo)) => demo::demo(&demo),
        Some(Command::Import(import)) => transfer::import(&import),
        Some(Command::Embed(request)) => embed::embed(&request),
        Some(Command::ImportChroma(import)) => chroma::import_chroma(&import),
        Some(Command::Export(export)) => transfer::export(&export),
        Some(Command::Backup(request)) => backup::backup(&request),
        Some(Command::Restore(request)) => backup::restore(&request),
        Some(Command::Backups(request)) => backup::list(&request),
        Some(Command::Inspect(request)) => inspect::inspect(&request),
        Some(Command::Verify(request)) => inspect::verify(&request),
        Some(Command::Ctl(ctl)) => control::ctl(&ctl),
        Some(Command::Curation(request)) => curation::curation(&request),
        Some(Command::Key(request)) => keys::key(&request),
        Some(Command::Vacuum(request)) => control::vacuum(&request),
        Some(Command::Rebuild(request)) => control::rebuild(&request),
        Some(Command::Prune(request)) => control::prune(&request),
        Some(Command::Completions { shell }) => completions(shell),
        None => Err(Failure::usage("no command is given")
            .hint("`vermilion demo` shows what it can do; `vermilion --help` lists the commands")),
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.status())
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "vermilion", &mut script);
    console::write(&script)
}

/// The version, and with `verbose` what was built in.
fn version(verbose: bool) -> String {
    let name = format!("vermilion {}", env!("CARGO_PKG_VERSION"));
    if verbose {
        let word = |built_in: bool| if built_in { "yes" } else { "no" };
        return format!(
            "{name}\nfeatures:\n  embed: {}\n  object-store: {}\n  otel: {}\n  parquet: {}\n  tls: {}\nplatform: {}-{}\nlicence: {}",
            word(cfg!(feature = "embed")),
            word(cfg!(feature = "object-store")),
            word(cfg!(feature = "otel")),
            word(cfg!(feature = "parquet")),
            word(cfg!(feature = "tls")),
            std::env::consts::ARCH,
            std::env::consts::OS,
            env!("CARGO_PKG_LICENSE"),
        );
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_verbose_version_lists_the_features() {
        assert!(version(false).lines().count() == 1);
        assert!(version(true).contains("parquet: "));
    }
}
