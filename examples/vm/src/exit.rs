//! How the command ends.

use std::process::ExitCode;

/// Exit codes, those of the BSDs' `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Success = 0,
    /// The command line is wrong.
    Usage = 64,
    /// The source does not compile.
    BadSource = 65,
    /// The program failed.
    Failed = 70,
    /// Something could not be read or written.
    Io = 74,
}

/// The code of a command that Ctrl-C has ended, rather than its program: as shells show it.
pub(crate) const INTERRUPTED: i32 = 130;

impl Exit {
    /// This; or, if all went well, how what came after it ended.
    pub(crate) fn then(self, later: Exit) -> Exit {
        if self == Exit::Success { later } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
