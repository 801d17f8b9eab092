//! What both sides agree on: formats and limits, without I/O.
//! Anyone may call it; it calls nobody.

pub mod token;
