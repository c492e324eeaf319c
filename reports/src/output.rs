//! Where text goes: stdout for answers, stderr for everything about the run itself.

use crate::columns::WIDTH_MAX;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Exit code of a process whose reader went away, as a shell reports a death by SIGPIPE.
const BROKEN_PIPE: i32 = 141;

/// Writes an answer to stdout. If the reader has gone (`… | head`), the process ends quietly: no
/// one is left to read the rest.
pub fn answer(text: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(e) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        if e.kind() == ErrorKind::BrokenPipe {
            std::process::exit(BROKEN_PIPE);
        }
        complain(&format!(
            "error: cannot write to stdout: {e}; make room, or redirect it to another place"
        ));
        std::process::exit(crate::run::Exit::BadUsage.code().into());
    }
}

/// Writes a message to stderr. There is nobody to tell if that fails.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

/// Whether the terminal calls itself dumb: it can neither move its cursor nor change a colour.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// How wide a picture may be: `COLUMNS`, else the terminal, else the widest.
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let terminal = || {
        let size = terminal_size::terminal_size().filter(|_| io::stdout().is_terminal());
        size.map(|(width, _)| usize::from(width.0))
    };
    columns.or_else(terminal).unwrap_or(WIDTH_MAX).min(WIDTH_MAX)
}

/// Breaks a text at blanks into lines of at most `width`, the first one indented by `first`
/// blanks and the others by `rest`. A single word longer than that stays whole.
pub fn wrap(text: &str, first: usize, rest: usize, width: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut line = " ".repeat(first);
    let mut fresh = true;
    for word in text.split(' ') {
        let needed = line.chars().count() + usize::from(!fresh) + word.chars().count();
        if !fresh && needed > width {
            parts.push(std::mem::replace(&mut line, " ".repeat(rest)));
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    parts.push(line);
    parts
}
