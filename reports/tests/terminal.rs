//! What a person sees in a terminal: the binary runs on a pseudo-terminal, and an emulator says
//! what stands on its screen.

mod support;

use portable_pty::{native_pty_system, CommandBuilder, PtySize};
use std::io::Read;
use support::with_race;
use tempfile::TempDir;

/// What a run left on a terminal.
struct Seen {
    code: u32,
    bytes: Vec<u8>,
    lines: Vec<String>,
}

impl Seen {
    fn has_escapes(&self) -> bool {
        self.bytes.contains(&0x1b)
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn run(dir: &TempDir, columns: u16, env: &[(&str, &str)], args: &[&str]) -> Seen {
    let size = PtySize { rows: 200, cols: columns, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_iommufd-testbed"));
    command.args(args);
    command.cwd(dir.path());
    for name in ["CI", "COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color");
    for (name, value) in env {
        command.env(name, value);
    }
    let mut child = pair.slave.spawn_command(command).expect("the binary starts");
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().expect("the other side");
    let mut bytes = Vec::new();
    // A terminal whose last user has gone gives an error, not an end.
    let _ = reader.read_to_end(&mut bytes);
    let code = child.wait().expect("it ends").exit_code();
    let mut terminal = vt100::Parser::new(200, columns, 0);
    terminal.process(&bytes);
    let screen = terminal.screen().contents();
    Seen { code, bytes, lines: screen.lines().map(|l| l.trim_end().to_owned()).collect() }
}

const CHECK: [&str; 6] = ["check", "my_race.toml", "--explorer", "dpor", "--jobs", "1"];

#[test]
fn check_shows_progress_and_leaves_only_the_answers() {
    let dir = with_race(&[]);
    for columns in [40, 80, 200] {
        let seen = run(&dir, columns, &[], &CHECK);
        assert_eq!(seen.code, 0, "{:?}", seen.lines);
        assert!(
            seen.raw().contains("/2 questions [") && seen.raw().contains("ETA"),
            "{}",
            seen.raw()
        );
        let screen = seen.lines.concat();
        assert!(
            !screen.contains("questions [") && !screen.contains("ETA"),
            "{columns}: {:#?}",
            seen.lines
        );
        // Where a line has no room for both, the scenario stands above its rows.
        let named = if columns < 100 { 1 } else { 2 };
        assert_eq!(screen.matches("Observation my_race").count(), named, "{:#?}", seen.lines);
        assert_eq!(screen.matches("dpor    ").count(), 2, "{:#?}", seen.lines);
        let words: Vec<&str> = seen.lines.iter().flat_map(|l| l.split_whitespace()).collect();
        let closing = "2 verdicts as recorded, 0 differ, 0 out of budget";
        assert!(words.join(" ").ends_with(closing), "{:#?}", seen.lines);
        // Answers are lines of their own: the first one begins in the first column.
        assert!(
            seen.lines.iter().any(|l| l.starts_with("Observation my_race")),
            "{:#?}",
            seen.lines
        );
    }
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_gets_plain_lines() {
    let dir = with_race(&[]);
    for args in [&CHECK[..], &["explain", "my_race.toml"], &["list"], &["--help"], &["x"]] {
        // With `CI`, libraries take a terminal for one that has colours.
        for env in [&[("TERM", "dumb")][..], &[("TERM", "dumb"), ("CI", "true")]] {
            let seen = run(&dir, 80, env, args);
            assert!(!seen.has_escapes(), "{env:?} {args:?}: {}", seen.raw());
        }
    }
}

#[test]
fn no_color_is_obeyed_on_a_terminal() {
    let dir = with_race(&[]);
    for args in [&["explain", "my_race.toml"][..], &["list"], &["--help"], &["check", "none.toml"]]
    {
        let seen = run(&dir, 80, &[("NO_COLOR", "1")], args);
        assert!(
            !seen.raw().contains("\u{1b}[3") && !seen.raw().contains("\u{1b}[1m"),
            "{args:?}: {}",
            seen.raw()
        );
    }
    assert!(run(&dir, 80, &[], &["--help"]).has_escapes(), "headings stand out otherwise");
}

#[test]
fn pages_fit_narrow_and_wide_terminals() {
    let dir = with_race(&[]);
    for columns in [40, 80, 200] {
        let seen = run(&dir, columns, &[], &["explain", "my_race.toml"]);
        assert_eq!(seen.code, 0);
        for word in ["question", "source", "recorded", "bounds", "functions"] {
            assert!(
                seen.lines.iter().any(|l| l.starts_with(word)),
                "{columns}: {word}\n{:#?}",
                seen.lines
            );
        }
        // A line that was too long went on in the first column, where only a heading begins.
        let broken = seen.lines.iter().skip(2).filter(|l| {
            let first = l.split(' ').next().unwrap_or_default();
            !l.is_empty()
                && !l.starts_with(' ')
                && !first
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == 'C' || c == 'P' || c == 'U')
        });
        if columns >= 80 {
            assert_eq!(broken.collect::<Vec<_>>(), Vec::<&String>::new(), "{columns}");
        }
    }
}

/// No word of ours is broken where the terminal ends; only a command that is to be copied is.
#[test]
fn lines_are_broken_at_blanks() {
    let wrong = [("{ sometimes = \"viommu->vdevs[0x99] lost a live vDEVICE\" }", "\"Never\"")];
    let dir = with_race(&wrong);
    let reason =
        "recorded Never, but 3 of 28 executions print: viommu->vdevs[0x99] lost a live vDEVICE";
    for columns in [60, 80, 200] {
        let seen = run(&dir, columns, &[], &CHECK);
        assert_eq!(seen.code, 1);
        let words: Vec<&str> = seen.lines.iter().flat_map(|l| l.split_whitespace()).collect();
        let words = words.join(" ");
        let differs = format!("differs: my_race on linux_6_13_without_xa_cmpxchg: {reason}");
        assert!(words.contains(&differs), "{columns}: {:#?}", seen.lines);
        assert!(words.contains("3 / 28 replay: "), "{columns}: {:#?}", seen.lines);
        assert!(
            words.contains("---- point of no return: after this step every completion fails -"),
            "{words}"
        );
        // What is drawn is indented, and ends where the terminal does.
        let broken = seen.lines.iter().any(|l| l == "--" || l == "-" || l == ",");
        assert!(!broken, "{columns}: {:#?}", seen.lines);
    }
    let row = "linux_6_17_without_7a425ec";
    for columns in [60, 200] {
        let seen = run(&dir, columns, &[], &["list"]);
        let last = seen.lines.iter().rfind(|l| l.starts_with(row)).expect("the last row");
        // Where there is no room beside its name, what it is stands below it.
        assert_eq!(last == row, columns == 60, "{last}");
    }
    let seen = run(&dir, 60, &[], &["sweep", "--cpus", "1", "--seeds", "1", "--commands", "8"]);
    assert_eq!(seen.code, 0);
    let heads = |what: &str| {
        let tables = seen.lines.iter().filter(|l| l.trim_start().starts_with("CPUs "));
        tables.filter(|l| l.contains(what)).count()
    };
    assert_eq!(
        (heads("CPUs"), heads("inval./s"), heads("CAS won")),
        (3, 1, 1),
        "{:#?}",
        seen.lines
    );
}

/// Marks below a line that the terminal has broken would stand below another word.
#[test]
fn an_error_in_a_line_that_is_too_long_says_its_place_in_words() {
    let dir =
        with_race(&[("-> 0 | -EEXIST\", \"IOMMU_DESTROY", "-> 0 | -EEXISTS\", \"IOMMU_DESTROY")]);
    for (columns, place) in
        [(60, "line 13, column 63: there is no errno"), (200, "[my_race.toml:13:63]")]
    {
        let seen = run(&dir, columns, &[], &["check", "my_race.toml"]);
        assert_eq!(seen.code, 2);
        let text = seen.lines.join(" ");
        assert!(
            text.contains(place) && text.contains("did you mean `-EEXIST`?"),
            "{:#?}",
            seen.lines
        );
    }
}

/// A run says what it counts, and no time that is left before anything is done.
#[test]
fn progress_counts_what_is_made() {
    let dir = with_race(&[]);
    let mutate = ["mutate", "--revision", "linux_6_13", "--function", "iommufd_object_finalize"];
    let pairs = ["pairs", "--revision", "linux_7_3", "--shard", "1/200"];
    for (args, what) in [(&mutate[..], " changes ["), (&pairs, " races [")] {
        let seen = run(&dir, 80, &[], args);
        assert_eq!(seen.code, 0, "{:#?}", seen.lines);
        assert!(
            seen.raw().contains(what) && !seen.raw().contains(" questions ["),
            "{}",
            seen.raw()
        );
    }
    let seen = run(&dir, 80, &[], &CHECK);
    let raw = seen.raw();
    let nothing_done: Vec<&str> = raw.split("0/2 questions [").skip(1).collect();
    assert!(!nothing_done.is_empty(), "{raw}");
    for bar in nothing_done {
        assert!(bar.split_once("ETA ").is_some_and(|(_, left)| left.starts_with('?')), "{raw}");
    }
}

#[test]
fn what_differs_is_the_last_thing_on_the_screen() {
    let dir =
        with_race(&[("{ sometimes = \"viommu->vdevs[0x99] lost a live vDEVICE\" }", "\"Never\"")]);
    let seen = run(&dir, 100, &[], &CHECK);
    assert_eq!(seen.code, 1);
    let last: Vec<&String> = seen.lines.iter().rev().take(4).collect();
    assert!(last.iter().any(|l| l.starts_with("differs: my_race on ")), "{last:#?}");
}
