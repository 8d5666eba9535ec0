//! How the process ends: 0 done, 1 not completed, 2 usage or configuration, 130 interrupted.
//!
//! A reader that goes away early (`samara show x | head -1`) is no failure: such an end is quiet, and 0.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::ui::Ui;

/// How a command ended that did not fail with an error of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done,
    /// It is not, and the command has said why.
    NotCompleted,
    /// The user, or the system, asked us to stop.
    Interrupted,
}

impl Exit {
    /// The code for the shell.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotCompleted => 1,
            Self::Interrupted => 130,
        }
    }
}

/// What every command returns. An error is one sentence: the thing, the cause, what to do.
pub(crate) type Outcome = anyhow::Result<Exit>;

/// An error of usage or configuration: exit code 2 instead of 1.
#[derive(Debug)]
pub(crate) struct Usage(String);

/// A [`Usage`] error ready to be returned.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Ends after the arguments were refused, or after `--help` and `--version`.
pub(crate) fn refused(error: &clap::Error) -> ExitCode {
    // A closed stdout or stderr leaves nobody to tell.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Tells the user about an error, if there is one, and gives the code of the process.
pub(crate) fn report(outcome: Outcome, ui: &mut Ui) -> ExitCode {
    let code = match &outcome {
        Ok(exit) => exit.code(),
        Err(error) if reader_left(error) => Exit::Done.code(),
        Err(error) => {
            ui.error(&sentence(error));
            if error.is::<Usage>() { 2 } else { Exit::NotCompleted.code() }
        }
    };
    ExitCode::from(code)
}

/// The whole chain of causes in one line. Some errors tell their cause themselves: nothing is told twice.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.ends_with(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}

/// Whether the error is a closed pipe on our output.
fn reader_left(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_closed_pipe_is_found_below_its_context() {
        let closed: anyhow::Result<()> = Err(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert!(reader_left(&closed.unwrap_err()));
        assert!(!reader_left(&usage("no")));
    }

    #[test]
    fn no_cause_is_told_twice() {
        let error = anyhow::Error::new(io::Error::other("disk on fire"))
            .context("x: disk on fire")
            .context("reading");
        assert_eq!(sentence(&error), "reading: x: disk on fire");
    }

    #[test]
    fn usage_survives_context() {
        let error = usage("--select 9 names no file").context("reading the arguments");
        assert!(error.is::<Usage>());
        assert_eq!(sentence(&error), "reading the arguments: --select 9 names no file");
    }
}
