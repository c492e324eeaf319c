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

/// Writes an answer for a person: what is wider than the terminal is broken at blanks. A pipe gets it
/// as it is.
pub fn tell(text: &str) {
    match terminal_columns() {
        Some(columns) => answer(&folded(text, columns)),
        None => answer(text),
    }
}

/// Writes a message to stderr, broken at blanks if that is a terminal. There is nobody to tell if that
/// fails.
pub fn complain(text: &str) {
    match terminal_size::terminal_size_of(io::stderr()) {
        Some((columns, _)) => complain_as_it_is(&folded(text, usize::from(columns.0))),
        None => complain_as_it_is(text),
    }
}

/// Writes what is laid out already to stderr.
pub fn complain_as_it_is(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

/// What stands in front of a command that is to be pasted.
const COMMAND: &str = "replay: ";

/// Lines of at most `columns`, broken at blanks. A command that is to be pasted stays whole, on a line of
/// its own.
pub fn folded(text: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        if line.chars().count() <= columns {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start_matches(' ').len();
        let (words, command) = match line.split_once(COMMAND) {
            Some((words, command)) => (words, Some(command)),
            None => (line, None),
        };
        if !words.trim().is_empty() {
            for part in wrap(words.trim(), indent, indent + 4, columns) {
                out.push_str(&part);
                out.push('\n');
            }
        }
        if let Some(command) = command {
            out.push_str(&format!("{:1$}{COMMAND}{command}\n", "", indent + 4));
        }
    }
    match text.ends_with('\n') {
        true => {}
        false => drop(out.pop()),
    }
    out
}

/// The columns of the terminal that stdout is, if it is one.
pub fn terminal_columns() -> Option<usize> {
    let size = terminal_size::terminal_size_of(io::stdout()).filter(|_| io::stdout().is_terminal());
    size.map(|(width, _)| usize::from(width.0))
}

/// Whether the terminal calls itself dumb: it can neither move its cursor nor change a colour.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// How wide a picture may be: `COLUMNS`, else the terminal, else the widest.
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    columns.or_else(terminal_columns).unwrap_or(WIDTH_MAX).min(WIDTH_MAX)
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

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn long_lines_are_broken_at_blanks_and_commands_are_not() {
        let text = "  differs: a race on a row\nshort\n";
        assert_eq!(folded(text, 14), "  differs: a\n      race on\n      a row\nshort\n");
        assert_eq!(folded(text, 80), text);
        let text = "1 switch; replay: testbed replay 'a b'\n";
        assert_eq!(folded(text, 20), "1 switch;\n    replay: testbed replay 'a b'\n");
        assert_eq!(folded("replay: a b c", 5), "    replay: a b c");
        assert_eq!(folded("", 5), "");
    }
}
