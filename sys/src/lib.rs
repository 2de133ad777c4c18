//! The few system calls that need `unsafe`, and those beside them: mapping a private unlinked
//! file, descriptors inherited from the service manager, process limits, free space, the time since
//! boot, locked memory, descriptors handed to another process, a terminal that shows no secret, what takes rights
//! from a process, and copies of a process.
//!
//! It never decides anything and imports nothing of ours.

mod confine;
mod descriptors;
mod inherited;
mod memory;
mod process;
mod temp_body;
mod terminal;
#[cfg(test)]
mod testing;
mod uptime;

pub use confine::{Files, Otherwise, Role, confine};
pub use descriptors::{
    is_quiet, receive_descriptor, receive_descriptor_with, send_descriptor, send_descriptor_with,
};
pub use inherited::{Inherited, close_in_other_programs, inherited, take_standard_input};
pub use memory::{forbid_tracing, keep_out_of_dumps, lock_memory};
pub use process::{
    Copied, Fork, Template, end_at_once, forbid_core_dumps, ignore_termination, limit_descriptors,
    limit_memory, raise_descriptor_limit,
};
pub use temp_body::{Mapped, TempBody, TempBodyError, free_space};
pub use terminal::ask_for_secret;
pub use uptime::since_boot;
