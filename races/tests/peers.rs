//! Do the peers need as many executions as reference/engines-golden.md says?
//!
//! Source: reference/engines-golden.md, "For comparison"; loom 0.7.3 and shuttle 0.9.9.

use races::peers::{loom, shuttle_dfs, Peer};

const fn peer(allocs: usize, destroys: usize, full: bool) -> Peer {
    Peer { allocs, destroys, full }
}

#[test]
fn loom_needs_the_known_number_of_executions() {
    assert_eq!(loom(peer(2, 0, false), 1_000_000), 27);
    assert_eq!(loom(peer(1, 1, false), 1_000_000), 75);
    assert_eq!(loom(peer(1, 1, true), 1_000_000), 1_422);
}

#[test]
fn shuttle_dfs_needs_the_known_number_of_executions() {
    assert_eq!(shuttle_dfs(peer(2, 0, false), 1_000_000), 4_089);
    assert_eq!(shuttle_dfs(peer(1, 1, false), 1_000_000), 4_510);
}

#[test]
fn loom_does_not_finish_the_three_thread_program_within_ten_thousand() {
    assert_eq!(loom(peer(2, 1, true), 10_000), 10_000);
}
