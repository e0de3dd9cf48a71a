//! Configs that many tests start from.

/// The secret of the GitHub route in each of these configs.
pub const SECRET: &str = "a secret of more than sixteen bytes";

/// Returns a config with a GitHub route that forwards to `app`. `more` is appended: keys of the route, or more routes.
pub fn forward(app: &str, more: &str) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
upstreams:
  app: {{ url: {app}, timeout: 5s }}
routes:
  - name: github
    path: /webhooks/github
    verify: {{ provider: github, secrets: [{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    forward: {{ upstream: app }}
    dedupe: {{ window: 24h }}
{more}"
    )
}

/// Returns a config with a store and a GitHub route that queues for `app`. `more` is added to its `queue`.
pub fn queue(app: &str, more: &str) -> String {
    with_action(app, &format!("queue: {{ upstream: app, {more} }}"))
}

/// Returns a config with a store and a GitHub route that forwards to `app`. `more` is added to its `forward`.
pub fn forward_with_store(app: &str, more: &str) -> String {
    with_action(app, &format!("forward: {{ upstream: app, {more} }}"))
}

/// Returns a config with a store and a GitHub route that does `action`.
pub fn with_action(app: &str, action: &str) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: STORE }}
upstreams:
  app: {{ url: {app}, timeout: 10s, connect_timeout: 10s, breaker: {{ failures: 3, open: 100ms }} }}
routes:
  - name: github
    path: /webhooks/github
    verify: {{ provider: github, secrets: [{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    dedupe: {{ window: 24h }}
    {action}
"
    )
}

/// Returns a config with a GitHub route, and a pass route to the same app for all else.
///
/// `pass` is added to the `pass` of that route; `route` is appended: keys of it, or more routes.
pub fn pass(app: &str, pass: &str, route: &str) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 2s }}
upstreams:
  app: {{ url: '{app}', breaker: {{ failures: 3, open: 10m }} }}
routes:
  - name: github
    path: /webhooks/github
    verify: {{ provider: github, secrets: [{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    dedupe: {{ window: 24h }}
    forward: {{ upstream: app, path: /hooks/github }}
  - name: app
    path: /{{*rest}}
    pass: {{ upstream: app{pass} }}
{route}"
    )
}
