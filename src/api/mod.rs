//! The types of the admin API's JSON. The server writes them; the commands and the console read them.
pub mod actions;
pub mod deliveries;
pub mod explain;
pub mod quarantine;
pub mod refusals;
pub mod report;
pub mod secrets;
pub mod status;
pub mod tail;
