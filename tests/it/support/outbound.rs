//! A gateway that sends.

/// The token of the app, with all rights.
pub const TOKEN: &str = "outbound-token-of-the-app-0123456789";
/// A token that may publish alone.
pub const PUBLISHER: &str = "outbound-token-of-billing-0123456789";
/// 32 bytes as base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A config that sends to loopback.
pub fn config(more: &str) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: STORE, key: {{ insecure_inline: \"{KEY}\" }} }}
upstreams: {{ app: {{ url: http://127.0.0.1:9 }} }}
routes: [{{ name: a, path: /a, verify: none, forward: {{ upstream: app }} }}]
outbound:
  listen: {{ address: 127.0.0.1:0 }}
  tokens:
    - {{ name: app, insecure_inline: {TOKEN}, allow: [publish, read, manage] }}
    - {{ name: billing, insecure_inline: {PUBLISHER} }}
  retry: {{ schedule: [1s, 1s, 1s] }}
  egress: {{ allow: [127.0.0.0/8] }}
  endpoints: {{ http: true, ports: PORTS }}
{more}"
    )
}
