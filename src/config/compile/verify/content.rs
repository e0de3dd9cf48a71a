//! Compiles `signed_content`.
use super::Compiler;
use crate::config::diagnostic::{did_you_mean, unknown};
use crate::verify::{
    BadTemplate, Format, Locator, PLACEHOLDERS, Part, SignedTime, Source, SourcePlace, Template,
};

impl Compiler<'_> {
    /// Parses the template.
    pub(super) fn content(&mut self) -> Option<Template> {
        let text = self.block.signed_content.as_deref().unwrap_or("{body}");
        let place = self.place.key("signed_content");
        match Template::parse(text) {
            Ok(template) => return Some(template),
            Err(BadTemplate::Unknown(name)) => {
                let all = PLACEHOLDERS
                    .map(|known| format!("`{{{known}}}`"))
                    .join(", ");
                let help = did_you_mean(&name, PLACEHOLDERS.into_iter()).unwrap_or_else(|| {
                    format!("use one of {all}; write a literal brace as `{{{{`")
                });
                self.problems.error(
                    &place,
                    format!("unknown placeholder `{{{}}}`", unknown(&name)),
                    help,
                );
            }
            Err(BadTemplate::Wrong { message, help }) => self.problems.error(&place, message, help),
        }
        None
    }

    /// Checks that the parts of the content have locations, and that their borders are unambiguous.
    pub(super) fn parts(
        &mut self,
        content: &Template,
        time: Option<&SignedTime>,
        delivery_id: Option<&Locator>,
    ) {
        let place = self.place.key("signed_content");
        let has = |wanted: &Part| content.parts().contains(wanted);
        if has(&Part::Timestamp)
            && time.is_none()
            && !self.problems.is_spoiled(&self.place.key("timestamp"))
            && self.block.timestamp.is_none()
        {
            let help = "add `timestamp: { header: X-Timestamp, format: unix }`".to_owned();
            self.problems.error(
                &place,
                "`{timestamp}` is signed, but `timestamp` is missing",
                help,
            );
        }
        if has(&Part::Id) && delivery_id.is_none() && self.block.delivery_id.is_none() {
            let help = "add `delivery_id: { header: X-Delivery }`".to_owned();
            self.problems.error(
                &place,
                "`{id}` is signed, but `delivery_id` is missing",
                help,
            );
        }
        match self.block.concatenated.as_deref().map(str::trim) {
            Some("") => self.problems.error(
                &self.place.key("concatenated"),
                "`concatenated` is empty",
                "write the reason why it is safe".to_owned(),
            ),
            Some(_) => {}
            None => {
                if let Some((left, right)) =
                    content.ambiguous_border(time.map_or(Format::Unix, |time| time.format))
                {
                    let message = format!("the border between `{left}` and `{right}` is ambiguous");
                    let help = format!(
                        "put a literal between them with a byte that cannot occur in `{left}`; if the provider signs them this way, write why it is safe: `concatenated: REASON`"
                    );
                    self.problems.error(&place, message, help);
                }
            }
        }
    }

    /// Reports a signature that would cover itself.
    pub(super) fn circular(&mut self, content: &Template, source: &Source) {
        let covers_itself = content.parts().iter().any(|piece| match piece {
            Part::Header(name) => source.headers().contains(name),
            Part::Query | Part::Url => source.query().is_some(),
            Part::Body => matches!(source.place, SourcePlace::Json(_)),
            Part::Json(pointer) => {
                matches!(&source.place, SourcePlace::Json(signature) if signature == pointer)
            }
            Part::Literal(_) | Part::Timestamp | Part::Id | Part::Method | Part::Path => false,
        });
        if covers_itself {
            let help =
                "remove the part that contains the signature from `signed_content`".to_owned();
            self.problems.error(
                &self.place.key("signed_content"),
                "the signature would cover itself",
                help,
            );
        }
    }
}
