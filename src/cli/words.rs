//! Translates messages of the admin API: a message of a command names flags and commands, not fields and endpoints.

/// Words of the API, each with its counterpart on the command line.
const WORDS: &[(&str, &str)] = &[
    ("`include_delivered`", "`--include-delivered`"),
    ("`bypass_dedupe`", "`--bypass-dedupe`"),
    ("`params`", "`--param NAME=VALUE`"),
    ("`account`", "`--account`"),
    ("`body_base64`", "`--body FILE`"),
    ("`route`", "`--route`"),
    ("`tenant`", "`--tenant`"),
    ("`endpoint`", "`--endpoint`"),
    ("`state`", "`--state`"),
    ("`since`", "`--since`"),
    ("`until`", "`--until`"),
    ("`id`", "`--id`"),
    ("`type`", "`--type`"),
    ("`text`", "`--text`"),
    ("`limit`", "`--limit`"),
    ("`rate`", "`--rate`"),
    ("`reason`", "`--reason`"),
    (
        "`\"since\": \"2000-01-01T00:00:00Z\"`",
        "`--since 2000-01-01T00:00:00Z`",
    ),
    ("`filter` is empty", "no filter is given"),
    ("`GET /-/status`", "`hookgate status`"),
    ("`GET /-/deliveries`", "`hookgate deliveries list`"),
    (
        "`GET /-/deliveries?id=…`",
        "`hookgate deliveries list --id …`",
    ),
];

/// Returns a message of the API in the words of the command line. Text of the user stands at the end of a message in backticks, and is not translated.
pub(super) fn of_the_command_line(message: &str) -> String {
    let own = if message.ends_with('`') {
        message
            .get(..message.len().saturating_sub(1))
            .and_then(|rest| rest.rfind('`'))
    } else {
        None
    };
    let (message, own) = message.split_at(own.unwrap_or(message.len()));
    let words = WORDS
        .iter()
        .fold(message.to_owned(), |message, (of_the_api, ours)| {
            message.replace(of_the_api, ours)
        });
    words + own
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Words of the API that the command line has too, or that no command can meet.
    const UNCHANGED_WORDS: &[&str] = &[
        "`hookgate status`",
        "`hookgate check`",
        "`hookgate`",
        "`hookgate deliveries tail`",
        "`admin.token`",
        "`admin.tokens`",
        "`admin-token`",
        "`allow`",
        "`read`",
        "`act`",
        "`store.path`",
        "`store.postgres`",
        "`outbound.listen`",
        "`/v1/tenants/…`",
        "`dedupe`",
        "`localhost`",
        "`-`",
        "`Host`",
        "`Allow`",
        "`mode: observe`",
        "`Authorization: Bearer TOKEN`",
        "`Content-Type: application/json`",
        "`application/json`",
        // fields and calls that the commands always get right
        "`ids`",
        "`filter`",
        "`after`",
        "`next`",
        "`cursor`",
        "`now`",
        "`TailItem`",
        "`?raw=true`",
        "`?limit=20`",
        "`?route=NAME&limit=20`",
        "`verify`",
        "`previously`",
        "`kept_until`",
        "`hookgate drain`",
        "`/-/refusals?limit=20`",
        "`GET /-/openapi.json`",
        "`GET /-/replays`",
        "`GET /-/replays/{id}`",
    ];

    /// The words in backticks of the text literals of a file, up to its tests.
    fn words(source: &str) -> Vec<String> {
        let code = source.split("#[cfg(test)]").next().unwrap();
        let lines = code
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.starts_with("//") && line.contains('"'));
        lines
            .flat_map(|line| {
                line.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|word| format!("`{}`", word.replace("\\\"", "\"")))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn walk(path: &Path, each: &mut dyn FnMut(&Path, &str)) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, each);
            } else if path.extension().is_some_and(|kind| kind == "rs")
                && !path.ends_with("tests.rs")
                && !path.iter().any(|part| part == "tests")
            {
                each(&path, &std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_api_word_has_a_command_line_word() {
        walk(Path::new("src/admin"), &mut |path, source| {
            for word in words(source)
                .iter()
                .filter(|word| !word.contains('{') || word.contains('/'))
            {
                let known = UNCHANGED_WORDS.contains(&&**word)
                    || WORDS.iter().any(|(of_the_api, _)| of_the_api == word);
                assert!(
                    known,
                    "{}: {word} is in no list of src/cli/words.rs",
                    path.display()
                );
            }
        });
    }

    #[test]
    fn api_message_names_flags_and_keeps_user_text() {
        for (of_the_api, ours) in [
            (
                "it was forwarded (say `include_delivered` to send it again)",
                "it was forwarded (say `--include-delivered` to send it again)",
            ),
            (
                "`since` is no time: `since`",
                "`--since` is no time: `since`",
            ),
            (
                "there is no route `delivered`",
                "there is no route `delivered`",
            ),
            (
                "`GET /-/status` lists the routes",
                "`hookgate status` lists the routes",
            ),
            (
                "`reason` is longer than 1024 bytes",
                "`--reason` is longer than 1024 bytes",
            ),
            ("a stray `", "a stray `"),
        ] {
            assert_eq!(of_the_command_line(of_the_api), ours);
        }
    }
}
