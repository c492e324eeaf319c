//! Steps and values of a trace as C text, with the names of the scenario joined.
//!
//! A trace names an object by its allocation ordinal; a reader knows it by the name that the
//! scenario gave it. Objects without a name print as `vdevice#7`.

use std::collections::BTreeMap;
use std::fmt::Write;
use uapi::step::sleeper_of;
use uapi::trace::{Trace, TraceStep, Val};

/// `1 verdict`, `2,000 verdicts`: a number and what it counts.
pub fn counted(n: u64, unit: &str) -> String {
    format!("{} {unit}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// Scenario names by allocation ordinal.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<u32, String>);

impl Names {
    /// The names of a trace. The first name of an object stays.
    pub fn of(trace: &Trace) -> Names {
        let mut names = BTreeMap::new();
        for (alloc, name) in &trace.names {
            names.entry(*alloc).or_insert_with(|| name.clone());
        }
        Names(names)
    }

    /// An object: its scenario name, or its type and ordinal.
    pub fn object(&self, ty: &str, alloc: u32) -> String {
        match self.0.get(&alloc) {
            Some(name) => name.clone(),
            None => format!("{ty}#{alloc}"),
        }
    }

    /// A free text with every `type#ordinal` in it replaced by the scenario's name.
    pub fn join(&self, text: &str) -> String {
        let mut joined = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('#') {
            let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let word = rest[..at]
                .bytes()
                .rev()
                .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
                .count();
            let end = at + 1 + digits;
            let name = rest[at + 1..end].parse().ok().and_then(|alloc: u32| self.0.get(&alloc));
            match name {
                Some(name) if word > 0 => {
                    joined.push_str(&rest[..at - word]);
                    joined.push_str(name);
                }
                _ => joined.push_str(&rest[..end]),
            }
            rest = &rest[end..];
        }
        joined.push_str(rest);
        joined
    }

    /// One value.
    pub fn value(&self, val: &Val) -> String {
        match val {
            Val::Void => String::new(),
            Val::Null => "NULL".to_owned(),
            Val::Zero => "XA_ZERO_ENTRY".to_owned(),
            Val::Num(n) => n.to_string(),
            Val::Hex(n) => format!("{n:#x}"),
            Val::Bool(b) => b.to_string(),
            Val::Ret(ret) => ret.to_string(),
            Val::Ptr { ty, alloc } => self.object(ty, *alloc),
            Val::Field { ty, alloc, field } => format!("{}->{field}", self.object(ty, *alloc)),
            Val::Text(text) => self.join(text),
        }
    }

    /// One step as the C call that it models: `refcount_dec_if_one(a->obj.users) 1->0`.
    pub fn step(&self, step: &TraceStep) -> String {
        let args: Vec<String> = step.args.iter().map(|a| self.value(a)).collect();
        let mut text = format!("{}({})", step.op, args.join(", "));
        // A change says more than the boolean that follows from it.
        let implied = matches!(step.change, Some((before, after)) if before != after);
        if !(matches!(step.result, Val::Void) || implied && matches!(step.result, Val::Bool(_))) {
            let _ = write!(text, " = {}", self.value(&step.result));
        }
        if let Some((before, after)) = step.change {
            let _ = match before == after {
                true => write!(text, " {before}"),
                false => write!(text, " {before}->{after}"),
            };
        }
        if sleeper_of(step.cpu).is_some() {
            text.push_str(" (timer)");
        }
        text
    }
}

/// A number with its thousands separated: `665,816`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown: Vec<String> = [0, 7, 999, 1_204, 665_816, 1_000_000].map(grouped).to_vec();
        assert_eq!(shown, ["0", "7", "999", "1,204", "665,816", "1,000,000"]);
    }

    #[test]
    fn names_replace_ordinals_in_free_text() {
        let trace = Trace { names: vec![(7, "a".into())], ..Trace::default() };
        let names = Names::of(&trace);
        assert_eq!(names.join("vdevice#7->obj.users"), "a->obj.users");
        assert_eq!(names.join("vdevice#71 and #7 and vdevice#7."), "vdevice#71 and #7 and a.");
        assert_eq!(names.join("nothing # here #"), "nothing # here #");
    }
}
