//! Known tools against the gate. A tool that is not there is said; one that finds something fails the run.
use std::fmt;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::support::flood::arena::{Arena, SECRET};
use crate::support::sign;

/// The verdict of one tool.
pub struct Finding {
    tool: &'static str,
    what: String,
    found: String,
    fine: bool,
}

impl Finding {
    pub fn wrong(&self) -> Option<String> {
        (!self.fine).then(|| format!("{}: {}", self.tool, self.found))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} | {} |", self.tool, self.what, self.found)
    }
}

pub fn run_all(arena: &Arena) -> Vec<Finding> {
    let target = arena.target();
    let mut findings = vec![h2load(arena, target.tls)];
    findings.extend(slowhttptest(target.plain));
    findings.push(sslscan(target.tls));
    findings.push(testssl(target.tls));
    findings.push(h2spec(target.tls));
    findings
}

/// The output of a tool; `None` if it is not installed.
fn said(tool: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("timeout")
        .arg("240")
        .arg(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code() != Some(127)).then_some(text)
}

fn absent(tool: &'static str, what: String) -> Finding {
    Finding {
        tool,
        what,
        found: "not here: `tools/torture` installs what the distribution has".to_owned(),
        fine: true,
    }
}

/// Honest load over HTTP/2: signed requests, all of which must be answered with 200.
fn h2load(arena: &Arena, to: SocketAddr) -> Finding {
    const REQUESTS: usize = 20_000;
    let what = format!("{REQUESTS} signed requests, 16 connections of 6 streams");
    let body = vec![b'x'; 1024];
    let path = arena.gate.dir().join("body");
    std::fs::write(&path, &body).unwrap();
    let headers: Vec<_> = sign::github(SECRET, "load", &body)
        .into_iter()
        .map(|(name, value)| format!("-H{name}: {value}"))
        .collect();
    let (count, url, path) = (
        REQUESTS.to_string(),
        format!("https://{to}/webhooks/again"),
        path.display().to_string(),
    );
    let mut arguments = vec!["-n", &count, "-c", "16", "-m", "6", "-d", &path];
    arguments.extend(headers.iter().map(String::as_str));
    arguments.push(&url);
    let Some(text) = said("h2load", &arguments) else {
        return absent("h2load", what);
    };
    let line = |begins: &str| {
        text.lines()
            .find(|line| line.starts_with(begins))
            .unwrap_or_default()
            .to_owned()
    };
    let (codes, speed) = (line("status codes:"), line("finished in"));
    let fine = codes.contains(&format!("{REQUESTS} 2xx"));
    let why = if fine {
        String::new()
    } else {
        format!("; {}", arena.gate.admin("/-/refusals"))
    };
    Finding {
        tool: "h2load",
        what,
        fine,
        found: format!("{codes}; {speed}{why}"),
    }
}

/// Slow heads, slow bodies, slow reading: the service has to stay available to the tool's own probe.
fn slowhttptest(to: SocketAddr) -> Vec<Finding> {
    let url = format!("http://{to}/webhooks/github");
    let modes = [
        ("-H", "900 slow heads", vec!["-i", "2"]),
        ("-B", "900 slow bodies", vec!["-i", "2", "-s", "100000"]),
        (
            "-X",
            "900 slow readers",
            vec!["-w", "1", "-y", "8", "-n", "2", "-z", "1"],
        ),
    ];
    let run = |(mode, what, more): (&str, &str, Vec<&str>)| {
        let mut arguments = vec![
            mode, "-c", "900", "-r", "300", "-l", "15", "-p", "3", "-t", "POST", "-u", &url,
        ];
        arguments.extend(more);
        let Some(text) = said("slowhttptest", &arguments) else {
            return absent("slowhttptest", what.to_owned());
        };
        let text: String = strip_colour(&text);
        let last = |name: &str| {
            text.lines()
                .rev()
                .find_map(|line| line.trim().strip_prefix(name))
                .unwrap_or("?")
                .trim()
                .to_owned()
        };
        let (closed, end) = (last("closed:"), last("Exit status:"));
        let denied = text
            .lines()
            .filter(|line| line.contains("service available:") && line.contains("NO"))
            .count();
        let found = format!(
            "service available: {}; closed by the gate: {closed}; {end}",
            if denied == 0 { "always" } else { "NOT ALWAYS" }
        );
        Finding {
            tool: "slowhttptest",
            what: what.to_owned(),
            fine: denied == 0 && text.contains("service available:"),
            found,
        }
    };
    modes.into_iter().map(run).collect()
}

/// Versions, ciphers and known holes of TLS.
fn sslscan(to: SocketAddr) -> Finding {
    let what = "versions and ciphers of TLS".to_owned();
    let Some(text) = said("sslscan", &["--no-colour", &to.to_string()]) else {
        return absent("sslscan", what);
    };
    let enabled: Vec<_> = text
        .lines()
        .filter(|line| {
            (line.starts_with("SSLv") || line.starts_with("TLSv")) && line.ends_with("enabled")
        })
        .collect();
    let weak = text
        .lines()
        .filter(|line| line.starts_with("Accepted") || line.starts_with("Preferred"))
        .any(|line| !line.contains("GCM") && !line.contains("CHACHA20"));
    let old = enabled
        .iter()
        .any(|line| !line.starts_with("TLSv1.2") && !line.starts_with("TLSv1.3"));
    let vulnerable = text
        .lines()
        .any(|line| line.contains("vulnerable") && !line.contains("not vulnerable"));
    let versions: Vec<_> = enabled
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let found = format!(
        "{}; ciphers {}; heartbleed {}",
        versions.join(", "),
        if weak { "WEAK" } else { "AEAD alone" },
        if vulnerable { "FOUND" } else { "not found" }
    );
    Finding {
        tool: "sslscan",
        what,
        fine: !weak && !old && !vulnerable && enabled.len() == 2,
        found,
    }
}

/// Protocols, server defaults and vulnerabilities. The certificate is the test's own: what is said of it is left out.
fn testssl(to: SocketAddr) -> Finding {
    let what = "protocols, forward secrecy, vulnerabilities".to_owned();
    let file = std::env::temp_dir().join(format!("testssl-{}.csv", std::process::id()));
    let csv = file.display().to_string();
    let arguments = [
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "batch",
        "--nodns",
        "none",
        "-p",
        "-f",
        "-U",
        "--csvfile",
        &csv,
        &to.to_string(),
    ];
    let Some(text) = said("testssl", &arguments) else {
        return absent("testssl", what);
    };
    let table = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::remove_file(&file).ok();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map(|line| {
            line.split("\",\"")
                .map(|cell| cell.trim_matches('"'))
                .collect()
        })
        .collect();
    let looked = rows.iter().filter(|row| row.len() > 4).count();
    let bad: Vec<_> = rows
        .iter()
        .filter(|row| row.len() > 4 && ["LOW", "MEDIUM", "HIGH", "CRITICAL"].contains(&row[3]))
        .map(|row| format!("{} {}: {}", row[3], row[0], row[4]))
        .collect();
    if looked < 10 {
        let last: Vec<_> = text.lines().rev().take(3).collect();
        return Finding {
            tool: "testssl",
            what,
            found: format!("broke off: {}", last.join(" ")),
            fine: false,
        };
    }
    let found = if bad.is_empty() {
        format!("{looked} findings, none of them low or worse")
    } else {
        bad.join("; ")
    };
    Finding {
        tool: "testssl",
        what,
        found,
        fine: bad.is_empty(),
    }
}

/// Conformance of HTTP/2.
fn h2spec(to: SocketAddr) -> Finding {
    let what = "conformance of HTTP/2".to_owned();
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let Some(text) = said(
        "h2spec",
        &[
            "-t",
            "-k",
            "-h",
            &host,
            "-p",
            &port,
            "-P",
            "/webhooks/github",
        ],
    ) else {
        return Finding {
            tool: "h2spec",
            what,
            found: "not in the distribution, so not run".to_owned(),
            fine: true,
        };
    };
    let line = text
        .lines()
        .find(|line| line.contains("tests,"))
        .unwrap_or("broke off")
        .to_owned();
    Finding {
        tool: "h2spec",
        what,
        fine: line.contains(" 0 failed"),
        found: line,
    }
}

fn strip_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for character in text.chars() {
        match character {
            '\u{1b}' => inside = true,
            'm' if inside => inside = false,
            _ if inside => {}
            other => plain.push(other),
        }
    }
    plain
}
