//! What a step touched, and when two touches depend on each other.
//!
//! This file is the dependence of the reduction, except for the one question that needs a whole
//! execution: whether the changes of a counter commute ([`crate::counters`]).

use uapi::program::Dependence;
use uapi::step::{Access, Counter, Mode};

/// `uapi::step::Mode`, and the releases that no step announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    Write,
    Add,
    AddTest,
    /// A change that was made and took the counter from somewhere else to zero. Nothing announces
    /// it: whether a change will be the one shows when it is made.
    Zero,
    Lock,
    LockShared,
    Unlock,
    UnlockShared,
}

impl Kind {
    pub fn is_lock(self) -> bool {
        self as u8 >= Kind::Lock as u8
    }

    pub fn is_acquire(self) -> bool {
        matches!(self, Kind::Lock | Kind::LockShared)
    }

    /// Whether it changes a counter without learning its value, and without meeting zero.
    pub fn is_change(self) -> bool {
        matches!(self, Kind::Add | Kind::AddTest)
    }
}

/// One touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Touch {
    pub key: u64,
    pub obj: u32,
    pub len: u32,
    /// The change of a counter.
    pub change: i32,
    pub kind: Kind,
}

impl Touch {
    pub fn of(a: &Access) -> Touch {
        let (kind, change) = match a.mode {
            Mode::Read => (Kind::Read, 0),
            Mode::Write => (Kind::Write, 0),
            Mode::Add(n) => (Kind::Add, n),
            Mode::AddTest(n) => (Kind::AddTest, n),
            Mode::Lock => (Kind::Lock, 0),
            Mode::LockShared => (Kind::LockShared, 0),
        };
        Touch { key: a.key, obj: a.obj, len: a.len, change, kind }
    }

    fn is_all(&self) -> bool {
        self.len == u32::MAX && self.key == 0
    }
}

/// How a later touch stands to an earlier one of another CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relation {
    /// They commute.
    None,
    /// They do not.
    Conflict,
    /// The earlier one made the later one possible, and cannot change places with it: a lock that
    /// was given back.
    Release,
}

/// Whether the two name a common part of one object; only the keyed dependence knows parts.
pub(crate) fn overlaps(d: Dependence, a: &Touch, b: &Touch) -> bool {
    a.obj == b.obj
        && (d != Dependence::Keyed
            || a.is_all()
            || b.is_all()
            || (a.key < b.key.saturating_add(u64::from(b.len))
                && b.key < a.key.saturating_add(u64::from(a.len))))
}

/// How `later` stands to `earlier`. Two counter changes are reported as a conflict: whether they
/// commute is decided elsewhere.
pub(crate) fn relation(d: Dependence, later: &Touch, earlier: &Touch) -> Relation {
    use Kind::{Lock, LockShared, Read, Unlock, UnlockShared};
    if !overlaps(d, later, earlier) {
        return Relation::None;
    }
    match (later.kind, earlier.kind) {
        (Read, Read) | (LockShared, LockShared | UnlockShared) => Relation::None,
        (Lock, Unlock | UnlockShared) | (LockShared, Unlock) => Relation::Release,
        // A release is part of a step that did not announce it; the acquisition races instead.
        (Unlock | UnlockShared, k) if k.is_lock() => Relation::None,
        _ => Relation::Conflict,
    }
}

/// Whether the order of the two can matter, counters aside.
pub(crate) fn depends(d: Dependence, a: &Touch, b: &Touch) -> bool {
    relation(d, a, b) == Relation::Conflict
}

/// Whether the dependence lets these two changes of one counter commute at all.
pub(crate) fn may_commute(d: Dependence, a: &Touch, b: &Touch) -> bool {
    match d {
        Dependence::Plain => false,
        Dependence::Commuting => a.kind == Kind::Add && b.kind == Kind::Add,
        Dependence::Keyed => a.kind.is_change() && b.kind.is_change(),
    }
}

/// Whether the change that was made and the one that is announced give the same in both orders
/// here: no order meets zero or saturates.
pub(crate) fn locally_commute(
    d: Dependence,
    made: &Touch,
    counter: Option<Counter>,
    announced: &Touch,
) -> bool {
    let Some(c) = counter.filter(|c| c.obj == made.obj) else { return false };
    let sound = 1..=i64::from(i32::MAX);
    may_commute(d, made, announced)
        && [c.before, c.after]
            .into_iter()
            .map(i64::from)
            .all(|v| sound.contains(&v) && sound.contains(&(v + i64::from(announced.change))))
}
