//! The admin API's types as they are written in JSON. The server, the commands and the console read them.
pub mod actions;
pub mod deliveries;
pub mod report;
pub mod status;
