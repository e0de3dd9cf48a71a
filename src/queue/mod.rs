//! The rules of what waits: how a delivery lies in the store and comes out again, what a try comes to, and which targets get the next ones.
//! Pure: no socket, no clock, no store. Who drives them is `deliver`.
pub mod attempt;
pub mod choose;
pub mod outcome;
pub mod pause;
pub mod stored;
