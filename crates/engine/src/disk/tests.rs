//! The disk against naive models, under faults, and against what strangers put in its way.

mod adopt;
mod faulty;
mod hostile;
mod memory;
mod model;
mod restart;
mod select;
#[cfg(target_os = "linux")]
mod sparse;
mod world;
