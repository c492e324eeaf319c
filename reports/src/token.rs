//! The replay token of the command line: which scenario, which row, which interleaving.
//!
//! `eexist_unwind@linux_6_13_without_xa_cmpxchg/0:iommufd_vdevice_destroy.xa_erase#1,1:end,0:end`
//! is a scenario's name (or the path of a user's own file), the row, and the
//! [`races::Schedule`].

use races::Schedule;
use std::fmt;
use std::str::FromStr;

/// One interleaving of one scenario on one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Name of a scenario of the checkout, or path of a file.
    pub scenario: String,
    /// The row.
    pub revision: String,
    /// The interleaving.
    pub schedule: Schedule,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.scenario, self.revision, self.schedule)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Token, String> {
        let form = "a token looks like `scenario@revision/0:function.operation#1,1:end,0:end`; \
                    `check` prints it behind `replay:`";
        // A path may contain `@` itself; what follows the right one has no further one, since
        // neither rows nor schedules contain it.
        let (scenario, rest) = text
            .rsplit_once('@')
            .ok_or_else(|| format!("`{text}` is neither a file nor a token: {form}"))?;
        let (revision, schedule) = rest
            .split_once('/')
            .ok_or_else(|| format!("`{text}` names no interleaving behind the revision: {form}"))?;
        if scenario.is_empty() || revision.is_empty() {
            return Err(format!("`{text}` names no scenario or no revision: {form}"));
        }
        Ok(Token {
            scenario: scenario.to_owned(),
            revision: revision.to_owned(),
            schedule: schedule.parse().map_err(|e: races::ScheduleError| e.to_string())?,
        })
    }
}

impl Token {
    /// The command that replays it, ready to be pasted into a shell.
    pub fn command(&self) -> String {
        format!("iommufd-testbed replay {}", quoted(&self.to_string()))
    }
}

/// A word quoted for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back() {
        for text in [
            "eexist_unwind@linux_6_13/0:iommufd_vdevice_destroy.xa_erase#1,1:end,0:end",
            "a story@linux_6_13/",
            "dir/with@sign/x.toml@linux_6_13/recycle/fail=cpu0.1:2/0:end",
        ] {
            let token: Token = text.parse().expect(text);
            assert_eq!(token.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_token_is_told_what_one_looks_like() {
        for text in ["", "x", "x@", "x@y", "@y/0:end", "x@/0:end", "x@y/0:end,"] {
            let e = text.parse::<Token>().expect_err(text);
            assert!(e.contains("looks like"), "{e}");
        }
    }

    #[test]
    fn a_quote_in_a_path_survives_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
