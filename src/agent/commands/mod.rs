//! What the platform has done in the cluster: at most once each, within the agent's policy.
//!
//! The [`Dispatcher`] takes commands from the control channel and hands them to `deploy`, `exec` and `logs`; the `journal` knows
//! which were begun and what has come of them. All of it runs on the controller's thread.

mod deploy;
mod dispatch;
mod exec;
mod journal;
mod logs;
mod order;
mod output;
mod pod;
mod policy;

pub(in crate::agent) use dispatch::Dispatcher;
pub(in crate::agent) use order::{Order, ended, error, is_order};
pub(in crate::agent) use policy::Policy;
