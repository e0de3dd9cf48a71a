//! The names of the files of a catalogue.

/// The largest number of a version.
const MAX_NUMBER: u32 = 9_999;

/// A file in the folder of a type, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// `about.md`.
    About,
    /// `type.yaml`.
    Settings,
    /// `2.schema.json`.
    Schema(u32),
    /// `2.example.json`.
    Example(u32),
    /// `2-to-1.yaml`.
    Mapping(u32, u32),
    /// A name that means nothing here.
    Unknown,
}

impl FileName {
    /// Reads the name of a file.
    pub(super) fn new(name: &str) -> Self {
        let versioned = |ending: &str| name.strip_suffix(ending).and_then(number);
        let mapping = || {
            let (from, to) = name.strip_suffix(".yaml")?.split_once("-to-")?;
            Some(Self::Mapping(number(from)?, number(to)?))
        };
        match name {
            "about.md" => Self::About,
            "type.yaml" => Self::Settings,
            _ => versioned(".schema.json")
                .map(Self::Schema)
                .or_else(|| versioned(".example.json").map(Self::Example))
                .or_else(mapping)
                .unwrap_or(Self::Unknown),
        }
    }
}

/// Reads the number of a version: from 1, without zeros in front.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse()
        .ok()
        .filter(|number| is_plain && *number <= MAX_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        for (name, file) in [
            ("about.md", FileName::About),
            ("type.yaml", FileName::Settings),
            ("1.schema.json", FileName::Schema(1)),
            ("12.example.json", FileName::Example(12)),
            ("12-to-3.yaml", FileName::Mapping(12, 3)),
            ("0.schema.json", FileName::Unknown),
            ("01.schema.json", FileName::Unknown),
            ("+1.schema.json", FileName::Unknown),
            ("10000.schema.json", FileName::Unknown),
            ("1.schema.yaml", FileName::Unknown),
            ("1-to-.yaml", FileName::Unknown),
            ("", FileName::Unknown),
        ] {
            assert_eq!(FileName::new(name), file, "{name}");
        }
    }
}
