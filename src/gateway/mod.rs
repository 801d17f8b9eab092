//! The public side: who exists, who may do what, and the operator's way in.
//! Called by the bins; it never calls `agent`.

pub mod admin_socket;
pub mod api;
pub mod cli;
pub mod directory;
pub mod operator;
pub mod store;
