//! Ctrl-C: the first one asks the explorers to stop and lets the run write out what is finished,
//! the second one ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};

// Relaxed: the flag orders nothing, every reader only wants to see it some time soon.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether the user wants the run to end.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Listens from now on.
///
/// # Errors
///
/// If the signal handler cannot be installed; the message says so.
pub fn listen() -> Result<(), String> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .map_err(|e| format!("cannot listen for Ctrl-C: {e}"))
}
