//! The tokens of the admin API: those of the config, and the one that is generated if it has none.
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::answer::Denied;
use crate::config::snapshot::{Admin, Token};
use crate::web::guard::{self, Head, HostCheck, JsonCheck, Rights};

/// The file of the generated token in the store's directory.
pub const TOKEN_FILE: &str = "admin-token";
/// The file in which a new token is written before it gets its name.
const TEMPORARY_FILE: &str = "admin-token.new";
/// The number of random bytes of a token, which has twice as many digits.
const TOKEN_BYTES: usize = 32;
/// The file mode: for the owner only.
const MODE: u32 = 0o600;

/// The name in the audit log of `admin.token`, and of the generated token.
const ADMIN: &str = "admin";

/// The owner of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name.
    pub name: Arc<str>,
    /// Whether the token has `read`.
    pub read: bool,
    /// Whether the token has `act`.
    pub act: bool,
}

/// A right of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// The right to read.
    Read,
    /// The right to change something.
    Act,
}

/// The token that a request offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// No token is configured.
    NoTokens,
    /// None, or a wrong one.
    Nothing,
    /// A valid token.
    Of(Caller),
}

impl Offered {
    /// Finds the owner of the `offered` token among those of the config, or the `generated` one if the config has none. All tokens are always
    /// compared.
    pub fn find(admin: Option<&Admin>, generated: Option<&Token>, offered: &[u8]) -> Self {
        let named = admin.map_or(&[][..], |admin| &admin.tokens);
        let written = admin.and_then(|admin| admin.token.as_ref());
        let main = written.or(generated.filter(|_| named.is_empty()));
        if main.is_none() && named.is_empty() {
            return Self::NoTokens;
        }
        let all = main.map(|token| (token, ADMIN, true, true)).into_iter();
        let all = all.chain(
            named
                .iter()
                .map(|named| (&named.token, &*named.name, named.read, named.act)),
        );
        let found = all.fold(None, |found, (token, name, read, act)| {
            if token.matches(offered) {
                Some((name, read, act))
            } else {
                found
            }
        });
        match found.filter(|_| !offered.is_empty()) {
            Some((name, read, act)) => Self::Of(Caller {
                name: name.into(),
                read,
                act,
            }),
            None => Self::Nothing,
        }
    }

    /// Returns the owner of the token if it has the right.
    pub(super) fn may(&self, right: Right) -> Result<&Caller, Denied> {
        match (self, right) {
            (Self::Of(caller), Right::Read) if caller.read => Ok(caller),
            (Self::Of(caller), Right::Act) if caller.act => Ok(caller),
            (Self::Of(caller), _) => {
                let (lacks, help) = match right {
                    Right::Read => ("read", "add `read` to its `allow` in `admin.tokens`"),
                    Right::Act => ("act", "add `act` to its `allow` in `admin.tokens`"),
                };
                Err(Denied::new(
                    StatusCode::FORBIDDEN,
                    &format!(
                        "the token of {} does not allow this: it lacks `{lacks}`",
                        caller.name
                    ),
                    help,
                ))
            }
            (Self::NoTokens, _) => {
                let help = "set `admin.token`; or set `store.path`, then a token is generated there, in `admin-token`";
                Err(Denied::new(
                    StatusCode::FORBIDDEN,
                    "no admin token is configured",
                    help,
                ))
            }
            (Self::Nothing, _) => {
                let help = "send `Authorization: Bearer TOKEN` with `admin.token`, or with the content of the file `admin-token` in the store's directory";
                Err(Denied::new(
                    StatusCode::UNAUTHORIZED,
                    "the admin token is missing or wrong",
                    help,
                ))
            }
        }
    }
}

/// A function that finds the owner of an offered token in constant time.
pub type TokenMatcher = Arc<dyn Fn(&[u8]) -> Offered + Send + Sync>;

/// The access rules of an admin listener. Requests that change something need a token everywhere, even on loopback, which the app shares.
pub type Guard = guard::Guard<TokenMatcher>;

impl Rights for TokenMatcher {
    const HOST: HostCheck = HostCheck::Always;
    const JSON: JsonCheck = JsonCheck::Changes;

    type Caller = Offered;
    type Denied = Denied;

    fn caller(&self, token: Option<&[u8]>) -> Offered {
        self(token.unwrap_or_default())
    }

    fn admit(&self, offered: &Offered, head: Head<'_>) -> Result<(), Denied> {
        if !head.reads() {
            offered.may(Right::Act)?;
        } else if !head.is_local {
            offered.may(Right::Read)?;
        }
        Ok(())
    }
}

/// Returns the token that the guard found. Without a guard there is none.
fn offered(parts: &Parts) -> Offered {
    parts.extensions.get().cloned().unwrap_or(Offered::Nothing)
}

/// An extractor that refuses requests without a token that has `read`.
pub(super) struct Reader;

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        offered(parts).may(Right::Read).map(|_| Self)
    }
}

/// Whether the request has a token with `read`.
pub(super) struct MayRead(pub(super) Result<(), Denied>);

impl<S: Send + Sync> FromRequestParts<S> for MayRead {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(offered(parts).may(Right::Read).map(|_| ())))
    }
}

/// The owner of the token of a request that changes something.
pub(super) struct Actor(pub(super) Arc<str>);

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        offered(parts)
            .may(Right::Act)
            .map(|caller| Self(Arc::clone(&caller.name)))
    }
}

/// Returns the token in the store's directory, and generates it first if there is none: 64 hex digits, readable by the owner only.
/// The caller holds the store's lock.
///
/// # Errors
/// If the token can be neither read nor written.
pub fn token_beside(store_dir: &Path) -> io::Result<Vec<u8>> {
    let path = store_dir.join(TOKEN_FILE);
    match fs::read(&path) {
        // a file that was cut short, or contains something else, is not a token
        Ok(bytes)
            if bytes.trim_ascii().len() >= TOKEN_BYTES
                && bytes.trim_ascii().iter().all(u8::is_ascii_graphic) =>
        {
            if fs::metadata(&path)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(&path, Permissions::from_mode(MODE))?;
            }
            return Ok(bytes.trim_ascii().to_vec());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let token = hex::encode(random).into_bytes();
    let fresh = store_dir.join(TEMPORARY_FILE);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&fresh)?;
    file.write_all(&token)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::snapshot::{ListenAddress, NamedToken};

    #[test]
    fn token_identifies_its_caller() {
        let token = |text: &str| Token::new(text.as_bytes().to_vec());
        let named = |name: &str, read, act| NamedToken {
            name: name.into(),
            token: token(name),
            read,
            act,
        };
        let address = ListenAddress::Tcp("127.0.0.1:1".parse().unwrap());
        let mut admin = Admin {
            address,
            token: None,
            tokens: Vec::new(),
        };
        let find = |admin: &Admin, made: Option<&Token>, text: &str| match Offered::find(
            Some(admin),
            made,
            text.as_bytes(),
        ) {
            Offered::NoTokens => "no tokens".to_owned(),
            Offered::Nothing => "nothing".to_owned(),
            Offered::Of(Caller { name, read, act }) => format!("{name} {read} {act}"),
        };
        let made = token("made");
        assert_eq!(find(&admin, None, "made"), "no tokens");
        assert_eq!(Offered::find(None, None, b""), Offered::NoTokens);
        assert_eq!(find(&admin, Some(&made), "made"), "admin true true");
        assert_eq!(find(&admin, Some(&made), ""), "nothing");
        admin.tokens = vec![
            named("anna", true, true),
            named("ben", true, false),
            named("carl", false, true),
        ];
        assert_eq!(
            find(&admin, Some(&made), "made"),
            "nothing",
            "the config has tokens: none is made"
        );
        for (text, is) in [
            ("anna", "anna true true"),
            ("ben", "ben true false"),
            ("carl", "carl false true"),
            ("dora", "nothing"),
        ] {
            assert_eq!(find(&admin, None, text), is);
        }
        admin.token = Some(token("main"));
        assert_eq!(
            (find(&admin, None, "main"), find(&admin, None, "ben")),
            ("admin true true".into(), "ben true false".into())
        );
        let status = |text: &str, right| match Offered::find(Some(&admin), None, text.as_bytes())
            .may(right)
        {
            Ok(_) => 200,
            Err(denied) => denied.status.as_u16(),
        };
        assert_eq!(
            [
                status("ben", Right::Read),
                status("ben", Right::Act),
                status("x", Right::Act)
            ],
            [200, 403, 401]
        );
        assert_eq!(
            [status("carl", Right::Read), status("carl", Right::Act)],
            [403, 200]
        );
    }

    #[test]
    fn token_file_is_created_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let token = token_beside(dir.path()).unwrap();
        let path = dir.path().join(TOKEN_FILE);
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((token.len(), mode()), (64, 0o600));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(
            (token_beside(dir.path()).unwrap() == token, mode()),
            (true, 0o600)
        );
        fs::write(&path, "\n").unwrap();
        let another = token_beside(dir.path()).unwrap();
        assert!(another.len() == 64 && another != token);
        assert_eq!(mode(), 0o600);
    }
}
