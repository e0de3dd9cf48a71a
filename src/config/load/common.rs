//! The parts of the config that gateways of a fleet have in common.
use crate::config::inputs::Inputs;
use crate::config::yaml_tree::{Entry, Node, Spanned};

/// The keys that each gateway may have of its own, by the block that they are in.
const OWN: [(&str, &[&str]); 3] = [
    ("", &["listen", "health", "admin"]),
    ("outbound", &["listen"]),
    ("store", &["spool"]),
];

/// Feeds the values of the main file, without those that each gateway may have of its own. Comments and the order of keys make no difference.
pub(super) fn feed(tree: &Spanned, inputs: &mut Inputs) {
    feed_value(tree, Some(""), inputs);
}

/// Feeds a value. `block` is its key if it may hold keys of [`OWN`].
fn feed_value(value: &Spanned, block: Option<&str>, inputs: &mut Inputs) {
    match &value.node {
        Node::Scalar { text, plain } => {
            inputs.feed_common(if *plain { b"plain" } else { b"quoted" });
            inputs.feed_common(text.as_bytes());
        }
        Node::List(items) => {
            inputs.feed_common(b"[");
            for item in items {
                feed_value(item, None, inputs);
            }
            inputs.feed_common(b"]");
        }
        Node::Map(entries) => {
            let own = OWN.iter().find(|(name, _)| Some(*name) == block);
            let is_own = |entry: &&Entry| own.is_some_and(|(_, keys)| keys.contains(&&*entry.key));
            let common = entries.iter().filter(|entry| !is_own(entry));
            let mut common: Vec<_> = common.filter(|entry| !entry.repeated).collect();
            common.sort_by(|one, other| one.key.cmp(&other.key));
            inputs.feed_common(b"{");
            for entry in common {
                inputs.feed_common(entry.key.as_bytes());
                let inner = (block == Some("")).then_some(entry.key.as_str());
                feed_value(&entry.value, inner, inputs);
            }
            inputs.feed_common(b"}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml_tree;

    fn hash(yaml: &str) -> String {
        let (tree, faults) = yaml_tree::read(yaml);
        assert_eq!(faults, []);
        let mut inputs = Inputs::default();
        feed(&tree.unwrap(), &mut inputs);
        inputs.finish().common
    }

    #[test]
    fn addresses_and_comments_make_no_difference() {
        let base = hash(
            "listen: [{ address: 10.0.0.1:8080 }]\nstore: { postgres: { schema: a }, spool: { path: a } }\noutbound: { listen: a }\nroutes: [{ listen: a, name: b }]\n",
        );
        let same = "# of pod 2\nroutes: [{ name: b, listen: a }]\nlisten: [{ address: 10.0.0.2:8080 }]\nhealth: { address: 10.0.0.2:9 }\nadmin: { address: 10.0.0.2:8 }\noutbound: { listen: b }\nstore: { spool: { path: b }, postgres: { schema: a } }\n";
        assert_eq!(hash(same), base);
        for (from, to) in [
            ("schema: a", "schema: b"),
            ("name: b", "name: c"),
            ("listen: a }]", "listen: b }]"),
            ("name: b", "name: 'b'"),
        ] {
            assert!(same.contains(from));
            assert_ne!(hash(&same.replace(from, to)), base, "{from}");
        }
    }
}
