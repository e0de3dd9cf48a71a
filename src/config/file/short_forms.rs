//! Short forms that are no part of the grammar, and the block to write instead. Errors suggest it: see `config/shape/advice.rs`.
//!
//! People write a block as a single value where one of its keys is the obvious one: `forward: app`. A block without a row has no such key.

/// A kind of value that is written where a block is expected.
#[derive(Clone, Copy, Debug)]
pub enum Given {
    /// `true`.
    Yes,
    /// `false`.
    No,
    /// A whole number.
    Count,
    /// A list.
    List,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text that begins with `/`.
    Path,
    /// Any text.
    Text,
}

/// A short form of a block. In `write`, `$` stands for the value.
#[derive(Clone, Copy, Debug)]
pub struct ShortForm {
    /// The name of the type of the block.
    pub block: &'static str,
    /// The value that is written.
    pub given: Given,
    /// The text to write instead.
    pub write: &'static str,
}

/// A secret. Its text may be what was written, so it is never repeated.
const SECRET: &str = "{ file: /run/secrets/NAME }";
const ADDRESS: &str = "{ address: $ }";
const PORT: &str = "{ address: 127.0.0.1:$ }";
const HEADER: &str = "{ header: $ }";
const POINTER: &str = "{ json: $ }";
const UPSTREAM: &str = "{ upstream: $ }";

/// All short forms. The first one that fits counts.
pub const SHORT_FORMS: &[ShortForm] = &[
    form("Acknowledgement", Given::Count, "{ status: $ }"),
    form("Acknowledgement", Given::Text, "{ body: $ }"),
    form("Admin", Given::Count, PORT),
    form("Admin", Given::Text, ADDRESS),
    form(
        "AdminToken",
        Given::Text,
        "{ name: NAME, file: /run/secrets/NAME }",
    ),
    form(
        "AlarmWebhook",
        Given::Text,
        "{ url: $, secret: { file: /run/secrets/NAME } }",
    ),
    form("Breaker", Given::Count, "{ failures: $ }"),
    form("Breaker", Given::No, "{ failures: 0 }"),
    form(
        "Certificate",
        Given::Path,
        "{ certificate: $, key: /path/to/key.pem }",
    ),
    form("Dedupe", Given::Yes, "{}"),
    form("Dedupe", Given::Word(&["id", "content"]), "{ by: $ }"),
    form("Dedupe", Given::Word(&["route", "secret"]), "{ per: $ }"),
    form("Dedupe", Given::Text, "{ window: $ }"),
    form("DeliveryId", Given::Path, POINTER),
    form("DeliveryId", Given::Text, HEADER),
    form("Egress", Given::Text, "{ allow: [$] }"),
    form("Egress", Given::List, "{ allow: $ }"),
    form("Failures", Given::Yes, "queue"),
    form("Failures", Given::No, "fail"),
    form("Forward", Given::Text, UPSTREAM),
    form("Handshake", Given::No, "none"),
    form("Health", Given::Count, PORT),
    form("Health", Given::Text, ADDRESS),
    form("Keep", Given::Text, "{ age: $ }"),
    form("Listen", Given::Count, PORT),
    form("Listen", Given::Text, ADDRESS),
    form("Locator", Given::Path, POINTER),
    form("Locator", Given::Text, HEADER),
    form("Log", Given::Word(&["json", "pretty"]), "{ format: $ }"),
    form(
        "Log",
        Given::Word(&["all", "refused", "none"]),
        "{ requests: $ }",
    ),
    form("Pass", Given::Text, UPSTREAM),
    form("Quarantine", Given::Yes, "{}"),
    form("Quarantine", Given::Text, "{ max_bytes: $ }"),
    form("Queue", Given::Text, UPSTREAM),
    form("RateLimit", Given::Text, "{ rate: $ }"),
    form("Retry", Given::Count, "{ max_attempts: $ }"),
    form("Retry", Given::No, "{ max_attempts: 1 }"),
    form("Retry", Given::List, "{ schedule: $ }"),
    form("Route", Given::Path, "{ name: NAME, path: $, … }"),
    form("Route", Given::Text, "{ name: $, path: /webhooks/$, … }"),
    form("Secret", Given::Count, SECRET),
    form("Secret", Given::Text, SECRET),
    form("Shutdown", Given::Text, "{ grace: $ }"),
    form("ServerTls", Given::No, "{ mode: off }"),
    form(
        "ServerTls",
        Given::Word(&["off", "verify-full", "verify-ca"]),
        "{ mode: $ }",
    ),
    form(
        "Sign",
        Given::Text,
        "{ secret: { file: /run/secrets/NAME } }",
    ),
    form("Signature", Given::Path, POINTER),
    form("Signature", Given::Text, HEADER),
    form("Store", Given::Text, "{ path: $ }"),
    form(
        "StorePostgres",
        Given::Text,
        "{ url: { file: /run/secrets/NAME } }",
    ),
    form("TextSource", Given::Text, SECRET),
    form("TextSource", Given::Count, SECRET),
    form("Timestamp", Given::Path, POINTER),
    form("Timestamp", Given::Text, HEADER),
    form(
        "Tls",
        Given::Path,
        "{ certificate: $, key: /path/to/key.pem }",
    ),
    form("Upstream", Given::Text, "{ url: $ }"),
    form("Verify", Given::No, "none"),
    form(
        "Verify",
        Given::Text,
        "{ provider: $, secrets: [{ file: /run/secrets/NAME }] }",
    ),
];

/// Returns a row of the table.
const fn form(block: &'static str, given: Given, write: &'static str) -> ShortForm {
    ShortForm {
        block,
        given,
        write,
    }
}
