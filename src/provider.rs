//! The presets: one YAML file a provider, embedded when hookgate is built; a config may add a directory of its own.
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use include_dir::{Dir, include_dir};

use crate::config::diagnostic::Diagnostics;
use crate::config::file;
use crate::config::report::Report;
use crate::config::source::Source;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/providers");
static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read(files()).0);

/// A provider's preset and its name.
#[derive(Debug)]
pub struct Preset {
    /// What a config calls it: the name of its file.
    pub name: Arc<str>,
    /// What the file says.
    pub provider: file::Provider,
}

impl Preset {
    /// The provider's name as people write it.
    pub fn title(&self) -> &str {
        if self.provider.title.is_empty() { &self.name } else { &self.provider.title }
    }
}

/// Presets by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    presets: BTreeMap<Arc<str>, Arc<Preset>>,
}

impl Catalogue {
    /// The embedded presets.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads presets; what is wrong with them is in the report, and they are left out.
    fn read<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> (Self, Report) {
        let mut catalogue = Self::default();
        let mut problems = Diagnostics::default();
        let mut sources = Vec::new();
        for (index, (name, bytes)) in files.enumerate() {
            let mut source = Source::new(format!("providers/{name}.yaml"), bytes);
            let provider = source.parse(index, &mut problems);
            catalogue.add(name, provider);
            sources.push(source);
        }
        let report = Report::new(&sources, &problems);
        (catalogue, report)
    }

    /// Adds a preset; `false` if there is one of that name already.
    pub fn add(&mut self, name: &str, provider: file::Provider) -> bool {
        if self.presets.contains_key(name) {
            return false;
        }
        let name: Arc<str> = name.into();
        self.presets.insert(Arc::clone(&name), Arc::new(Preset { name, provider }));
        true
    }

    /// The preset of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Preset>> {
        self.presets.get(name).cloned()
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.presets.keys().map(|name| &**name)
    }

    /// All presets, sorted by name.
    pub fn presets(&self) -> impl Iterator<Item = &Arc<Preset>> {
        self.presets.values()
    }
}

/// Name and bytes of every embedded preset.
fn files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FILES.files().filter_map(|file| {
        let path = file.path();
        let is_preset = path.extension().is_some_and(|extension| extension == "yaml");
        path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_preset).map(|name| (name, file.contents()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_preset_can_be_read() {
        let (catalogue, report) = Catalogue::read(files());
        assert!(report.findings.is_empty(), "{}", report.render(false));
        assert_eq!(catalogue.get("github").unwrap().title(), "GitHub");
        assert!(catalogue.names().count() >= 25);
    }
}
