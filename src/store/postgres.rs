//! The store of a fleet: PostgreSQL. The functions of the schema do the work, each in one round trip; this room gives them arrays and reads rows.
#![allow(dead_code)]
mod call;
mod link;

use link::Link;

/// The store of a fleet.
#[derive(Debug)]
pub struct Postgres {
    hash_key: [u8; 16],
    link: Link,
}
