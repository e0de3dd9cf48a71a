//! From what the files say to what runs: a file a block. Goes on after an error, so that all are told at once.
pub mod verify;
