//! The explorers: dynamic partial-order reduction, the shuttle portfolio, the loom runner
