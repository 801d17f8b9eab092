//! The public side: who exists, who may do what, and the operator's way in.
//! Called by the bins; it never calls `agent`.

pub mod directory;
pub mod store;
