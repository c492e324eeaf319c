//! Error numbers, spelt as the kernel spells them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! errnos {
    ($($name:ident = $value:literal, $doc:literal;)*) => {
        /// A negative return value of a modelled call.
        ///
        /// Source: include/uapi/asm-generic/errno-base.h and errno.h (the numbers of asm-generic).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[repr(u16)]
        #[allow(clippy::upper_case_acronyms)] // kernel spelling
        pub enum Errno { $(#[doc = $doc] $name = $value,)* }

        impl Errno {
            /// Every error number that the model knows.
            pub const ALL: &'static [Errno] = &[$(Errno::$name,)*];

            /// The kernel's name without the sign, `EEXIST`.
            pub fn name(self) -> &'static str {
                match self { $(Errno::$name => stringify!($name),)* }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted.";
    ENOENT = 2, "No such object.";
    EINTR = 4, "Interrupted.";
    EIO = 5, "I/O error.";
    ENXIO = 6, "No such device or address.";
    E2BIG = 7, "The user's struct has a non-zero tail, or an argument list is too long.";
    EBADF = 9, "Bad file descriptor.";
    EAGAIN = 11, "Try again.";
    ENOMEM = 12, "Out of memory.";
    EFAULT = 14, "Bad address: a copy from or to user space failed.";
    EBUSY = 16, "The object is in use.";
    EEXIST = 17, "The object exists.";
    ENODEV = 19, "No such device.";
    EINVAL = 22, "Invalid argument.";
    ENOTTY = 25, "The kernel does not know the ioctl.";
    ENOSPC = 28, "No space left.";
    ESPIPE = 29, "Illegal seek: a read of this size cannot be.";
    ERANGE = 34, "Out of range.";
    EDEADLK = 35, "Resource deadlock would occur.";
    EOVERFLOW = 75, "Value too large.";
    EBADFD = 77, "File descriptor in bad state.";
    EMSGSIZE = 90, "There is more than fits.";
    EOPNOTSUPP = 95, "Operation not supported.";
    EADDRINUSE = 98, "Something is mapped that is in the way.";
    ETIMEDOUT = 110, "Timed out.";
}

impl fmt::Display for Errno {
    /// With the sign: `-EEXIST`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{}", self.name())
    }
}

impl FromStr for Errno {
    type Err = ();

    /// Reads `-EEXIST` or `EEXIST`.
    fn from_str(s: &str) -> Result<Self, ()> {
        let s = s.strip_prefix('-').unwrap_or(s);
        Errno::ALL.iter().copied().find(|e| e.name() == s).ok_or(())
    }
}

/// What a call answered: 0 or an error number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Ret {
    /// 0
    Ok,
    /// A negative error number.
    Err(Errno),
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ret::Ok => f.write_str("0"),
            Ret::Err(e) => e.fmt(f),
        }
    }
}

impl<T> From<&Result<T, Errno>> for Ret {
    fn from(r: &Result<T, Errno>) -> Ret {
        match r {
            Ok(_) => Ret::Ok,
            Err(e) => Ret::Err(*e),
        }
    }
}
