//! The admin token that is made when the config has none.
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The file in the store's directory.
pub const TOKEN_FILE: &str = "admin-token";
const FRESH: &str = "admin-token.new";
/// Random bytes of a token; it has twice as many digits.
const RANDOM: usize = 32;
/// For the owner alone.
const MODE: u32 = 0o600;

/// The token beside the store, made if there is none yet: 64 hex digits, readable by the owner alone.
/// The store's lock is held by whoever calls this.
///
/// # Errors
/// If it can be neither read nor made.
pub fn token_beside(store_dir: &Path) -> io::Result<Vec<u8>> {
    let path = store_dir.join(TOKEN_FILE);
    match fs::read(&path) {
        // a file cut short, by hand or by a crash, is no token
        Ok(bytes) if bytes.trim_ascii().len() >= RANDOM => {
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
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&fresh)?;
    file.write_all(&token)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let token = token_beside(dir.path()).unwrap();
        let path = dir.path().join(TOKEN_FILE);
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((token.len(), mode()), (64, 0o600));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!((token_beside(dir.path()).unwrap() == token, mode()), (true, 0o600));
        fs::write(&path, "\n").unwrap();
        let another = token_beside(dir.path()).unwrap();
        assert!(another.len() == 64 && another != token);
        assert_eq!(mode(), 0o600);
    }
}
