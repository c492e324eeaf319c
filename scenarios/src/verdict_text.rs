//! Which texts of a verdict can be printed at all.
