//! Rows for tests of the reader, so that its error texts do not change with the model.

use uapi::pick::RevisionInfo;

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    twin_of: Option<&'static str>,
) -> RevisionInfo {
    RevisionInfo { name, aliases, twin_of, doc: "", source: "" }
}

/// Two rows and a twin.
#[allow(dead_code)] // Each test file that uses this module is a crate of its own.
pub const ROWS: &[RevisionInfo] = &[
    row("linux_6_13", &["p2_v6"], None),
    row("linux_6_13_without_xa_cmpxchg", &["p2_v6_without_xa_cmpxchg"], Some("linux_6_13")),
    row("linux_6_17", &[], None),
];

macro_rules! twins_of_6_13 {
    ($($name:literal)*) => {
        &[
            row("linux_6_13", &["p2_v6"], None),
            $(row(
                concat!("linux_6_13_", $name),
                &[concat!("p2_v6_", $name)],
                Some("linux_6_13"),
            ),)*
        ]
    };
}

/// The rows of the model.
#[allow(dead_code)] // Each test file that uses this module is a crate of its own.
pub const MODEL: &[RevisionInfo] = twins_of_6_13! {
    "without_xa_cmpxchg"
    "skip_erase_unless_published"
    "skip_erase_on_eexist"
    "skip_erase_on_abort"
    "cmpxchg_after_kfree"
    "compare_virt_id"
    "put_device_before_erase"
    "users_dec_before_erase"
    "users_inc_after_publish"
    "put_shortterm_first"
    "wake_through_object"
    "without_wait_after_erase"
    "without_lock_obj_undo"
    "without_xa_lock_in_get"
    "without_bias_restore"
};
