//! The rules of the queue: how a delivery is stored and restored, what is recorded of an attempt and what follows from it, and which targets get
//! the next attempts. Pure: no socket, no clock, no store. The room `deliver` drives them.
pub mod attempt;
pub mod choose;
pub mod fair;
pub mod outcome;
pub mod pause;
pub mod stored;
