//! The log trait.
/// Log.
pub trait Log: std::fmt::Debug + Send + Sync {}
/// Step log.
#[derive(Debug)]
pub struct StepLog {}
