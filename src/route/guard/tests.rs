#![allow(
    clippy::string_slice,
    reason = "what is sliced is ASCII, made by the test"
)]
use proptest::prelude::*;

use super::*;

fn guards(paths: &[&str]) -> GuardedPaths {
    let guard = |path: &&str| GuardedPath {
        path: (*path).to_owned(),
        route: "github".into(),
        pattern: Pattern::new(&mark_parameters(path)),
    };
    GuardedPaths {
        list: paths.iter().map(guard).collect(),
    }
}

#[track_caller]
fn check(guarded: &str, verdict: fn(&PathVerdict) -> bool, paths: &[&str]) {
    let guards = guards(&[guarded]);
    for path in paths {
        let judged = guards.judge(path.as_bytes());
        assert!(
            verdict(&judged),
            "{path} is {judged:?} where {guarded} is guarded"
        );
    }
}

fn is_refused(verdict: &PathVerdict) -> bool {
    *verdict != PathVerdict::Free
}

fn is_free(verdict: &PathVerdict) -> bool {
    *verdict == PathVerdict::Free
}

#[test]
fn every_reading_of_the_guarded_path_is_refused() {
    check(
        "/hooks/github",
        |verdict| matches!(verdict, PathVerdict::Guarded(0)),
        &[
            "/hooks/github",
            "/hooks/github/",
            "/hooks//github",
            "/hooks/./github",
            "/hooks/x/../github",
            "/x/../hooks/github",
            "/../hooks/github",
            "/hooks//../github",
            "/Hooks/GITHUB",
            "/hooks/%67ithub",
            "/hooks/%2567ithub",
            "/hooks%2fgithub",
            "/hooks%252fgithub",
            "/hooks%5cgithub",
            "/hooks\\github",
            "/hooks/x\\..\\github",
            "/hooks/%2e%2e/hooks/github",
            "/hooks/%252e%252e/../github",
            "/hooks/..;/hooks/github",
            "/hooks/..;/../github",
            "/hooks;a=b/github",
            "/hooks/github;jsessionid=1",
            "/;x/hooks/;y/github",
            "/hooks/github%3fa=b",
            "/x%3f/../hooks/github",
            "/hooks/github%23x",
            "/hooks/github.",
            "/hooks/github..",
            "/hooks/github%20",
            "/hooks/%20github",
            "/hooks/github+",
            "/hooks/github.json",
            "/hooks/github.JSON/",
            "/hooks/github.php/anything",
            "/index.php/hooks/github",
            "/cgi-bin/app.cgi/hooks/github/",
            "/hooks/github/index.php",
            "/hooks/github/.json",
            "/hooks/%u0067ithub",
            "/hooks%u2215github",
            "/hooks/github::$DATA",
            "/hooks/\u{ff47}ithub",
            "/hooks\u{ff0f}github",
            "/hooks/x%2f../github",
            "/hooks/x%2fy/../github",
            "/hooks/x;/../github",
            "/hooks/x;../../github",
            "/hooks/.../github",
            "/hooks/. /github",
        ],
    );
    check(
        "/hooks/github.json",
        is_refused,
        &[
            "/hooks/github",
            "/hooks/github.xml",
            "/hooks/GITHUB.json%20",
        ],
    );
    check(
        "/hooks/a%20b",
        is_refused,
        &["/hooks/a%20b", "/hooks/A%2520b", "/hooks/a b"],
    );
    check(
        "/",
        is_refused,
        &["/", "/.", "/x/..", "/%2e", "/x%2f../", "/index.html"],
    );
    check("/{*rest}", is_refused, &["/", "/x", "/x/y"]);
    check(
        "/hooks/{account}",
        is_refused,
        &[
            "/hooks/a",
            "/Hooks/a/",
            "/hooks/x/../a",
            "/x/%2e%2e/hooks/a",
        ],
    );
    check(
        "/hooks/{*rest}",
        is_refused,
        &["/hooks", "/hooks/", "/HOOKS/a/b/c", "/x/..;/hooks/a/b"],
    );
}

#[test]
fn ordinary_paths_pass() {
    let honest = [
        "/",
        "/hooks",
        "/hooks/",
        "/hooks/githubber",
        "/hooks/github-enterprise",
        "/hooks/github/deliveries",
        "/api/hooks/github",
        "/hooks/gitlab",
        "/webhooks/github",
        "/hooks/x/github",
        "/static/app.v1.2.js",
        "/projects/group%2Fname/issues",
        "/search;v=1/hooks;x/gitlab",
        "/caf%C3%A9",
        "/a/../b",
        "/100%25",
        "/hooks%",
        "/hooks/%zz",
    ];
    check("/hooks/github", is_free, &honest);
    check(
        "/hooks/{account}",
        is_free,
        &["/hooks", "/hooks/a/b", "/x/a"],
    );
    check("/", is_free, &["/a", "/a/", "/a%2Fb", "/a;b"]);
    assert_eq!(GuardedPaths::default().judge(b"//\0"), PathVerdict::Free);
}

#[test]
fn paths_that_no_client_sends_are_malformed() {
    check(
        "/hooks/github",
        |verdict| *verdict == PathVerdict::Malformed,
        &[
            "//hooks/github",
            "//x",
            "/a%00",
            "/a%2500",
            "/a%09",
            "/a%0d%0a",
            "/%c0%af",
            "/%c0%ae%c0%ae/x",
            "/%ff",
            "/%25c0%25af",
        ],
    );
    assert!(is_refused(
        &guards(&["/a"]).judge(format!("/{}", "../".repeat(200)).as_bytes())
    ));
    assert!(is_refused(
        &guards(&["/a"]).judge(format!("/%{}41", "25".repeat(20)).as_bytes())
    ));
}

#[test]
fn spellings_of_localhost_are_one_app() {
    let tcp = AppAddress::tcp;
    for same in [
        "localhost",
        "127.0.0.1",
        "::1",
        "127.9.9.9",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "LOCALHOST.",
        "app.localhost",
    ] {
        assert_eq!(tcp(same, 3000), tcp("localhost", 3000), "{same}");
    }
    assert_eq!(tcp("App.example.com.", 80), tcp("app.example.com", 80));
    assert_ne!(tcp("localhost", 3000), tcp("localhost", 3001));
    assert_ne!(tcp("10.0.0.1", 80), tcp("10.0.0.2", 80));
}

/// How one app reads a path. Written apart from the guard: it does, step by step, what such apps do.
#[derive(Clone, Debug)]
struct App {
    /// How often it decodes before, and after, it takes the path apart.
    decodes: (usize, usize),
    /// It takes the path apart once more after the second time.
    resolves_again: bool,
    backslash: bool,
    parameters: Parameters,
    cuts: bool,
    merges_first: bool,
    path_info: bool,
    extension: bool,
}

#[derive(Clone, Copy, Debug)]
enum Parameters {
    Kept,
    OfSegment,
    OfPath,
}

impl App {
    fn reads(&self, target: &str) -> Option<String> {
        let mut path = target.as_bytes().to_vec();
        for _ in 0..self.decodes.0 {
            path = percent_decoded(&path);
        }
        let mut path = self.resolved(&String::from_utf8(path).ok()?);
        let mut late = path.clone().into_bytes();
        for _ in 0..self.decodes.1 {
            late = percent_decoded(&late);
        }
        path = String::from_utf8(late).ok()?;
        if self.resolves_again {
            path = self.resolved(&path);
        }
        let mut path = path.to_lowercase();
        if self.path_info
            && let Some((_, info)) = path.split_once(".php/")
        {
            path = format!("/{info}");
        }
        let trimmed = path.trim_end_matches(['/', '.', ' ']);
        let trimmed = if self.extension {
            trimmed.strip_suffix(".json").unwrap_or(trimmed)
        } else {
            trimmed
        };
        Some(trimmed.trim_end_matches(['/', '.', ' ']).to_owned())
    }

    fn resolved(&self, path: &str) -> String {
        let mut path = path.to_owned();
        if self.cuts {
            path = path.split(['?', '#']).next().unwrap().to_owned();
        }
        if self.backslash {
            path = path.replace('\\', "/");
        }
        match self.parameters {
            Parameters::Kept => {}
            Parameters::OfSegment => {
                path = path
                    .split('/')
                    .map(|segment| segment.split(';').next().unwrap())
                    .collect::<Vec<_>>()
                    .join("/");
            }
            Parameters::OfPath => path = path.split(';').next().unwrap().to_owned(),
        }
        let mut resolved: Vec<&str> = Vec::new();
        for segment in path.split('/').skip(1) {
            match segment {
                "." => {}
                "" if self.merges_first => {}
                ".." => drop(resolved.pop()),
                name => resolved.push(name),
            }
        }
        resolved.retain(|segment| !segment.is_empty());
        format!("/{}", resolved.join("/"))
    }
}

fn percent_decoded(path: &[u8]) -> Vec<u8> {
    percent_pairs(path).unwrap_or_else(|| path.to_vec())
}

fn percent_pairs(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let digits = path
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let octet = digits
            .filter(|digits| !digits.starts_with('+'))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match octet.filter(|_| path[at] == b'%') {
            Some(octet) => {
                decoded.push(octet);
                at += 3;
            }
            None => {
                decoded.push(path[at]);
                at += 1;
            }
        }
    }
    Some(decoded)
}

fn app() -> impl Strategy<Value = App> {
    let parameters = prop_oneof![
        Just(Parameters::Kept),
        Just(Parameters::OfSegment),
        Just(Parameters::OfPath)
    ];
    let flags = proptest::array::uniform6(any::<bool>());
    ((0..4_usize, 0..3_usize), parameters, flags).prop_map(|(decodes, parameters, flags)| {
        let [
            resolves_again,
            backslash,
            cuts,
            merges_first,
            path_info,
            extension,
        ] = flags;
        App {
            decodes,
            resolves_again,
            backslash,
            parameters,
            cuts,
            merges_first,
            path_info,
            extension,
        }
    })
}

/// Generates targets from the fragments of such tricks.
fn fragments() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        6 => Just("/"), 3 => Just("hooks"), 3 => Just("github"), 4 => Just(".."), 2 => Just("."), 1 => Just("x"), 1 => Just(";"), 1 => Just(";a=b"),
        1 => Just("\\"), 1 => Just("%2f"), 1 => Just("%5c"), 1 => Just("%2e"), 1 => Just("%2E%2e"), 1 => Just("%252e"), 1 => Just("%252f"),
        1 => Just("%3b"), 1 => Just("%3f"), 1 => Just("%23"), 1 => Just("%20"), 1 => Just("%68ooks"), 1 => Just("%2567ithub"), 1 => Just("HOOKS"),
        1 => Just(".json"), 1 => Just("a.php"), 1 => Just("%253b"), 1 => Just("%"),
    ];
    proptest::collection::vec(fragment, 1..14)
        .prop_map(|fragments| format!("/{}", fragments.concat()))
}

/// A change of a path that some app undoes.
#[derive(Clone, Debug)]
enum Trick {
    Encode(proptest::sample::Index, usize),
    EncodeAll,
    Insert(proptest::sample::Index, &'static str),
    Backslash(proptest::sample::Index),
    Case(proptest::sample::Index),
    Append(&'static str),
    Prepend(&'static str),
}

impl Trick {
    fn played_on(&self, path: &str) -> String {
        let places = |is: fn(char) -> bool| {
            path.char_indices()
                .filter(|(_, letter)| is(*letter))
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
        };
        match self {
            Self::Encode(index, times) => {
                let places = places(|letter| letter.is_ascii());
                let at = places[index.index(places.len())];
                let mut code = format!("%{:02x}", path.as_bytes()[at]);
                (1..*times).for_each(|_| code = code.replace('%', "%25"));
                if at == 0 {
                    path.to_owned()
                } else {
                    format!("{}{code}{}", &path[..at], &path[at + 1..])
                }
            }
            Self::EncodeAll => format!(
                "/{}",
                path[1..]
                    .bytes()
                    .map(|byte| format!("%{byte:02X}"))
                    .collect::<String>()
            ),
            Self::Insert(index, text) => {
                let places = places(|letter| letter == '/');
                let at = places[index.index(places.len())];
                format!("{}{text}{}", &path[..at], &path[at..])
            }
            Self::Backslash(index) => {
                let places = places(|letter| letter == '/');
                let at = places[index.index(places.len())];
                if at == 0 {
                    path.to_owned()
                } else {
                    format!("{}\\{}", &path[..at], &path[at + 1..])
                }
            }
            Self::Case(index) => {
                let places = places(|letter| letter.is_ascii_alphabetic());
                let Some(&at) = places.get(index.index(places.len().max(1))) else {
                    return path.to_owned();
                };
                format!(
                    "{}{}{}",
                    &path[..at],
                    path[at..=at].to_ascii_uppercase(),
                    &path[at + 1..]
                )
            }
            Self::Append(text) => format!("{path}{text}"),
            Self::Prepend(text) => format!("{text}{path}"),
        }
    }
}

fn trick() -> impl Strategy<Value = Trick> {
    let index = any::<proptest::sample::Index>;
    prop_oneof![
        (index(), 1..4_usize).prop_map(|(index, times)| Trick::Encode(index, times)),
        Just(Trick::EncodeAll),
        (
            index(),
            prop_oneof![
                Just("/."),
                Just("/x/.."),
                Just("/x/y/../.."),
                Just("/;a"),
                Just("/%2e"),
                Just("/x/%2e%2e"),
                Just("/./."),
                Just("/x/..;")
            ]
        )
            .prop_map(|(index, text)| Trick::Insert(index, text)),
        index().prop_map(Trick::Backslash),
        index().prop_map(Trick::Case),
        prop_oneof![
            Just("/"),
            Just("//"),
            Just("/."),
            Just("%20"),
            Just("."),
            Just(";a=b"),
            Just("/x/.."),
            Just(".json"),
            Just("%3fa"),
            Just("%23"),
            Just("/%2e/")
        ]
        .prop_map(Trick::Append),
        prop_oneof![
            Just("/.."),
            Just("/x/.."),
            Just("/%2e"),
            Just("/index.php"),
            Just("/a;b/..")
        ]
        .prop_map(Trick::Prepend),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Checks that the guard refuses every change of the guarded path that some app would undo.
    #[test]
    fn no_known_trick_reaches_a_guarded_path(tricks in proptest::collection::vec(trick(), 0..7)) {
        let target = tricks.iter().fold("/hooks/github".to_owned(), |path, trick| trick.played_on(&path));
        prop_assert!(is_refused(&guards(&["/hooks/github"]).judge(target.as_bytes())), "{}", target);
    }

    /// Checks that no app takes a free target for the guarded path.
    #[test]
    fn no_app_reads_a_guarded_path_that_passed(target in fragments(), app in app()) {
        let reading = app.reads(&target);
        if reading.as_deref() == Some("/hooks/github") {
            prop_assert!(is_refused(&guards(&["/hooks/github"]).judge(target.as_bytes())), "{} by {:?}", target, app);
        }
    }

    /// Checks the same for changed guarded paths: nearly all of these arrive.
    #[test]
    fn no_tampered_path_reaches_a_guarded_app(tricks in proptest::collection::vec(trick(), 0..7), app in app()) {
        let target = tricks.iter().fold("/hooks/github".to_owned(), |path, trick| trick.played_on(&path));
        if app.reads(&target).as_deref() == Some("/hooks/github") {
            prop_assert!(is_refused(&guards(&["/hooks/github"]).judge(target.as_bytes())), "{} by {:?}", target, app);
        }
    }

    /// Paths without any trick in them are refused exactly if they are the guarded one.
    #[test]
    fn plain_path_is_refused_only_if_guarded(path in "(/[a-z]{1,3}){1,4}", guarded in "(/[a-z]{1,2}){1,3}") {
        let is = |path: &str| path == guarded;
        let verdict = guards(&[&guarded]).judge(path.as_bytes());
        prop_assert_eq!(is_refused(&verdict), is(&path), "{} {}", path, guarded);
    }

    /// Checks that arbitrary bytes neither stop nor delay the guard.
    #[test]
    fn any_bytes_get_a_verdict(path in proptest::collection::vec(any::<u8>(), 0..300)) {
        guards(&["/hooks/github", "/{a}/{*rest}"]).judge(&path);
    }
}
