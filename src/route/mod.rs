//! Rules that each request is matched by; the config compiles into them. Pure.
pub mod guard;
pub mod router;
pub mod template;
