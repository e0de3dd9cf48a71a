//! Who asks: the tokens of the config, and the one that is made when it has none.
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

/// The file in the store's directory.
pub const TOKEN_FILE: &str = "admin-token";
const FRESH: &str = "admin-token.new";
/// Random bytes of a token; it has twice as many digits.
const RANDOM: usize = 32;
/// For the owner alone.
const MODE: u32 = 0o600;

/// The name that stands in the audit for `admin.token`, and for the one beside the store.
const ADMIN: &str = "admin";

/// Somebody with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name.
    pub name: Arc<str>,
    /// Whether it is good for looking.
    pub read: bool,
    /// Whether it is good for acting.
    pub act: bool,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Looking.
    Read,
    /// Acting.
    Act,
}

/// What a request offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// There is no token now that could be right.
    NoTokens,
    /// None, or a wrong one.
    Nothing,
    /// That of somebody.
    Of(Caller),
}

impl Offered {
    /// Whose the `offered` token is: one of the config, or the one that was `made` where the config has none. Each is compared, whatever the
    /// others say.
    pub fn find(admin: Option<&Admin>, made: Option<&Token>, offered: &[u8]) -> Self {
        let named = admin.map_or(&[][..], |admin| &admin.tokens);
        let written = admin.and_then(|admin| admin.token.as_ref());
        let main = written.or(made.filter(|_| named.is_empty()));
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

    /// Who it is, if the token is good for that.
    pub(super) fn may(&self, right: Right) -> Result<&Caller, Denied> {
        match (self, right) {
            (Self::Of(caller), Right::Read) if caller.read => Ok(caller),
            (Self::Of(caller), Right::Act) if caller.act => Ok(caller),
            (Self::Of(caller), _) => {
                let (lacks, help) = match right {
                    Right::Read => ("look", "give it `read` in `admin.tokens`, under `allow`"),
                    Right::Act => ("act", "give it `act` in `admin.tokens`, under `allow`"),
                };
                Err(Denied::new(
                    StatusCode::FORBIDDEN,
                    &format!(
                        "the token of {} is not good for this: it may not {lacks}",
                        caller.name
                    ),
                    help,
                ))
            }
            (Self::NoTokens, _) => {
                let help = "configure `admin.token`, or `store.path`: then a token is made there, in `admin-token`";
                Err(Denied::new(
                    StatusCode::FORBIDDEN,
                    "no admin token is configured",
                    help,
                ))
            }
            (Self::Nothing, _) => {
                let help = "send `Authorization: Bearer TOKEN` with `admin.token`, or with what is in the file `admin-token` beside the store";
                Err(Denied::new(
                    StatusCode::UNAUTHORIZED,
                    "the admin token is missing or wrong",
                    help,
                ))
            }
        }
    }
}

/// Takes what the guard found, or nothing where there is no guard.
fn offered(parts: &Parts) -> Offered {
    parts.extensions.get().cloned().unwrap_or(Offered::Nothing)
}

/// Somebody who may be shown bodies.
pub(super) struct Reader;

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        offered(parts).may(Right::Read).map(|_| Self)
    }
}

/// Whether bodies may be shown.
pub(super) struct MayRead(pub(super) Result<(), Denied>);

impl<S: Send + Sync> FromRequestParts<S> for MayRead {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(offered(parts).may(Right::Read).map(|_| ())))
    }
}

/// Somebody who may act.
pub(super) struct Actor(pub(super) Arc<str>);

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        offered(parts)
            .may(Right::Act)
            .map(|caller| Self(Arc::clone(&caller.name)))
    }
}

/// The token beside the store, made if there is none yet: 64 hex digits, readable by the owner alone.
/// The store's lock is held by whoever calls this.
///
/// # Errors
/// If it can be neither read nor made.
pub fn token_beside(store_dir: &Path) -> io::Result<Vec<u8>> {
    let path = store_dir.join(TOKEN_FILE);
    match fs::read(&path) {
        // a file cut short, by hand or by a crash, or of junk, is no token
        Ok(bytes)
            if bytes.trim_ascii().len() >= RANDOM
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
    let mut random = [0; RANDOM];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let token = hex::encode(random).into_bytes();
    let fresh = store_dir.join(FRESH);
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
    fn a_token_is_somebodys() {
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
    fn a_token_is_made_once_for_the_owner_alone() {
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
