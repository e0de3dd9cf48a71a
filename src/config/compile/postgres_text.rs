//! Reads the secret texts of `store.postgres`, to check them. The store reads them again at each connect.
use zeroize::Zeroizing;

use crate::config::compile::context::Context;
use crate::config::diagnostic::{Place, unknown};
use crate::config::file;
use crate::config::secret::{MAX_BYTES, check_secret_text, without_line_feed};
use crate::config::snapshot::TextPlace;
use crate::config::source::{Unread, read_regular};

/// A text that is read when it is needed.
pub(super) struct Written {
    /// The place from which it is read.
    pub(super) place: TextPlace,
    /// The place in the config that names it.
    pub(super) at: Place,
    /// Whether it is hidden from readers of the config.
    pub(super) is_secret: bool,
}

impl Written {
    /// Returns a text of the config itself.
    pub(super) fn in_config(text: &str, at: &Place) -> Self {
        Self {
            place: TextPlace::Written(text.to_owned()),
            at: at.clone(),
            is_secret: false,
        }
    }
}

/// Returns where a text is read, and reports a source that is missing or ambiguous.
pub(super) fn place_of(
    source: &file::TextSource,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Written> {
    let (at, place) = match (&source.file, &source.env) {
        (Some(path), None) => {
            let path = cx.loader.base.join(path);
            cx.loader.origins.files.push(path.clone());
            (place.key("file"), TextPlace::File(path))
        }
        (None, Some(name)) => {
            cx.loader.origins.variables += 1;
            (place.key("env"), TextPlace::Variable(name.clone()))
        }
        (None, None) | (Some(_), Some(_)) => {
            let is_spoiled = ["file", "env", "insecure_inline"]
                .iter()
                .any(|key| cx.problems.is_spoiled(&place.key(key)));
            if !is_spoiled {
                let message = "the source of this text is missing or ambiguous";
                let help = "use exactly one of `file` and `env`".to_owned();
                cx.problems.error(place, message, help);
            }
            return None;
        }
    };
    Some(Written {
        place,
        at,
        is_secret: true,
    })
}

/// Reads a text, and reports one that cannot be used. A running gateway keeps the last good text, so a reload reports nothing and goes on with it.
pub(super) fn read(written: &Written, cx: &mut Context<'_>) -> Option<Zeroizing<String>> {
    let read = text(written, cx);
    let read = match (read, &written.place, cx.loader.previous) {
        (Err(_), TextPlace::File(path), Some(previous)) => {
            previous.connect_text(path).cloned().map(Ok)
        }
        (Err(_), TextPlace::Variable(_) | TextPlace::Written(_), Some(_)) => None,
        (read, ..) => Some(read),
    };
    match read? {
        Ok(text) => {
            if let TextPlace::File(path) = &written.place {
                cx.loader.cache.keep_connect_text(path, text.clone());
            }
            return Some(text);
        }
        Err((why, help)) => {
            let what = match &written.place {
                TextPlace::Variable(name) => {
                    format!("the environment variable `{}`", unknown(name))
                }
                TextPlace::File(_) | TextPlace::Written(_) => "the secret file".to_owned(),
            };
            cx.problems
                .error(&written.at, format!("{what} {why}"), help);
        }
    }
    None
}

/// Returns the text without a trailing newline, or what is wrong with it and what to do.
fn text(
    written: &Written,
    cx: &Context<'_>,
) -> Result<Zeroizing<String>, (String, Option<String>)> {
    let bytes = match &written.place {
        TextPlace::Written(text) => return Ok(Zeroizing::new(text.clone())),
        TextPlace::File(path) => match read_regular(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(why) => {
                let help = match why {
                    Unread::Absent => "write it, mode 0600",
                    Unread::Forbidden => {
                        "make it readable by the gateway's user, and by nobody else"
                    }
                    Unread::NotRegular | Unread::TooLarge(_) | Unread::Other(_) => {
                        "write the text into a regular file"
                    }
                };
                return Err((why.to_string(), Some(help.to_owned())));
            }
        },
        TextPlace::Variable(name) => match (cx.loader.env)(name) {
            Some(text) => Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(text)),
            None => {
                let help = "set it for the gateway's process, or use `file`";
                return Err(("is not set".to_owned(), Some(help.to_owned())));
            }
        },
    };
    let (bytes, _) = without_line_feed(bytes);
    if let Err((why, help)) = check_secret_text(&bytes, true) {
        return Err((why.to_owned(), Some(help.to_owned())));
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Ok(Zeroizing::new(text.to_owned()))
}
