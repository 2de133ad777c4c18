//! The few system calls that need `unsafe`, and those beside them: mapping a private unlinked
//! file, descriptors inherited from the service manager, process limits, free space, the time since
//! boot.
//!
//! It never decides anything and imports nothing of ours.

mod inherited;
mod process;
mod temp_body;
mod uptime;

pub use inherited::{Inherited, inherited};
pub use process::{forbid_core_dumps, raise_descriptor_limit};
pub use temp_body::{Mapped, TempBody, TempBodyError, free_space};
pub use uptime::since_boot;
