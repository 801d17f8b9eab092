//! Gateway and agent in one process.

fn main() {}
