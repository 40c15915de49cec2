//! The file of API keys, and how one is made, listed and revoked.
//!
//! What must stay true: the file never holds a secret, only its SHA-256. That is enough, since a
//! secret is 256 random bits and never chosen by a person: there is nothing to guess. A change
//! replaces the file in one step, readable by its owner only.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vermilion_protocol::ascii::hexadecimal;

use super::{Role, Scope};

/// The form of the file.
const VERSION: u32 = 1;
/// How every secret begins, so that scanners for leaked secrets find it.
const SECRET_PREFIX: &str = "vml_";
/// Bytes of chance in a secret.
const SECRET_BYTES: usize = 32;
/// Characters of the longest name.
const NAME_MAX: usize = 128;
/// Characters of the shortest secret that is taken from the environment.
pub const SECRET_MIN: usize = 32;

/// SHA-256 of a secret.
pub(crate) type Hash = [u8; 32];

/// Why a file of keys cannot be used or changed, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for KeysError {}

fn error(message: String, hint: &str) -> KeysError {
    KeysError {
        message,
        hint: Some(hint.to_owned()),
    }
}

/// One key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name: the user of basic authentication, and what the audit log shows.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where.
    #[serde(default)]
    pub scope: Scope,
    /// SHA-256 of the secret, in hexadecimal.
    sha256: String,
}

impl Key {
    /// SHA-256 of the secret.
    pub(crate) fn hash(&self) -> Hash {
        let mut hash = [0; 32];
        for (byte, digits) in hash
            .iter_mut()
            .zip(self.sha256.as_bytes().as_chunks::<2>().0)
        {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        hash
    }

    fn validate(&self) -> Result<(), String> {
        check_name(&self.name)?;
        let plain = |c: char| c.is_ascii_hexdigit();
        if self.sha256.len() != 64 || !self.sha256.chars().all(plain) {
            return Err(format!(
                "the sha256 of `{}` is not 64 hexadecimal digits",
                self.name
            ));
        }
        if self.scope.tenant.is_none() && !self.scope.databases.is_empty() {
            return Err(format!("`{}` names databases but no tenant", self.name));
        }
        Ok(())
    }
}

/// All keys of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    keys: Vec<Key>,
}

/// A file of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
    keys: Vec<Key>,
}

impl KeyFile {
    /// Reads the file at `path`.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let text = std::fs::read(path).map_err(|cause| {
            error(
                format!(
                    "the file of API keys {} cannot be read: {cause}",
                    path.display()
                ),
                "make it with `vermilion key create NAME --role admin --file FILE`",
            )
        })?;
        Self::parse(path, &text).map_err(|what| {
            error(
                format!("{} is no file of API keys: {what}", path.display()),
                "put it back from a backup, or move it away and make the keys anew",
            )
        })
    }

    /// The same, but a file that is not there has no keys.
    pub fn open_or_new(path: &Path) -> Result<Self, KeysError> {
        if path.exists() {
            return Self::open(path);
        }
        Ok(Self {
            path: path.to_owned(),
            keys: Vec::new(),
        })
    }

    fn parse(path: &Path, text: &[u8]) -> Result<Self, String> {
        let contents: Contents = serde_json::from_slice(text).map_err(|cause| cause.to_string())?;
        if contents.version != VERSION {
            let found = contents.version;
            return Err(format!("its version is {found}; {VERSION} can be read"));
        }
        let mut names = std::collections::BTreeSet::new();
        for key in &contents.keys {
            key.validate()?;
            if !names.insert(&key.name) {
                return Err(format!("there are two keys `{}`", key.name));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            keys: contents.keys,
        })
    }

    /// The keys, in the order they were made.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Adds a key and answers its secret, which nobody can ever show again.
    pub fn create(&mut self, name: &str, role: Role, scope: Scope) -> Result<String, KeysError> {
        let hint = "`vermilion key list` shows the keys there are";
        check_name(name).map_err(|what| error(what, hint))?;
        if self.keys.iter().any(|key| key.name == name) {
            return Err(error(format!("there is a key `{name}` already"), hint));
        }
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random)
            .map_err(|cause| error(format!("the system gives no random bytes: {cause}"), hint))?;
        let secret = format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let key = Key {
            name: name.to_owned(),
            role,
            scope,
            sha256: hexadecimal(&hash(&secret)),
        };
        key.validate()
            .map_err(|what| error(what, "give --tenant with --database"))?;
        self.keys.push(key);
        self.save()?;
        Ok(secret)
    }

    /// Removes a key.
    pub fn revoke(&mut self, name: &str) -> Result<(), KeysError> {
        let before = self.keys.len();
        self.keys.retain(|key| key.name != name);
        if self.keys.len() == before {
            return Err(error(
                format!("there is no key `{name}`"),
                "`vermilion key list` shows the keys there are",
            ));
        }
        self.save()
    }

    fn save(&self) -> Result<(), KeysError> {
        self.replace().map_err(|cause| {
            error(
                format!("{} cannot be written: {cause}", self.path.display()),
                "the folder must be there and writable",
            )
        })
    }

    fn replace(&self) -> std::io::Result<()> {
        let contents = Contents {
            version: VERSION,
            keys: self.keys.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&contents)?;
        text.push(b'\n');
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = folder.join(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

/// SHA-256 of a secret.
pub(crate) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Names stand before a colon in basic authentication and in lines of logs.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is no name of a key: 1 to {NAME_MAX} letters, digits, `-`, `_`, `.` and `@` are allowed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_hashes_only_and_knows_its_keys_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let mut file = KeyFile::open_or_new(&path).unwrap();
        let scope = Scope {
            tenant: Some("t".to_owned()),
            databases: vec!["d".to_owned()],
        };
        let secret = file.create("app", Role::Write, scope.clone()).unwrap();
        let other = file.create("ops", Role::Admin, Scope::default()).unwrap();
        assert!(secret.starts_with(SECRET_PREFIX) && secret.len() > SECRET_MIN);
        assert_ne!(secret, other);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&secret[SECRET_PREFIX.len()..]), "{text}");
        let again = KeyFile::open(&path).unwrap();
        assert_eq!(again, file);
        assert_eq!(
            (&again.keys()[0].scope, again.keys()[0].hash()),
            (&scope, hash(&secret))
        );
        file.revoke("app").unwrap();
        assert_eq!(KeyFile::open(&path).unwrap().keys().len(), 1);
        assert!(
            file.revoke("app")
                .unwrap_err()
                .message
                .contains("no key `app`")
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_no_file_of_keys_is_refused_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let missing = KeyFile::open(&path).unwrap_err();
        assert!(missing.hint.unwrap().contains("vermilion key create"));
        let sha = "0".repeat(64);
        for (text, why) in [
            ("", "EOF"),
            (r#"{"version":2,"keys":[]}"#, "version is 2"),
            (r#"{"version":1,"keys":[],"more":1}"#, "unknown field"),
            (
                r#"{"version":1,"keys":[{"name":"a","role":"root","sha256":""}]}"#,
                "root",
            ),
            (
                r#"{"version":1,"keys":[{"name":"a","role":"read","sha256":"12"}]}"#,
                "64 hexadecimal",
            ),
            (
                &format!(
                    r#"{{"version":1,"keys":[{{"name":"a:b","role":"read","sha256":"{sha}"}}]}}"#
                ),
                "no name",
            ),
            (
                &format!(
                    r#"{{"version":1,"keys":[{{"name":"a","role":"read","sha256":"{sha}","scope":{{"databases":["d"]}}}}]}}"#
                ),
                "no tenant",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = KeyFile::open(&path).unwrap_err();
            assert!(error.message.contains(why), "{} for {text}", error.message);
        }
    }

    #[test]
    fn a_second_key_of_a_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = KeyFile::open_or_new(&folder.path().join("keys.json")).unwrap();
        file.create("a", Role::Read, Scope::default()).unwrap();
        file.create("a", Role::Admin, Scope::default()).unwrap_err();
        file.create("", Role::Admin, Scope::default()).unwrap_err();
        assert_eq!(file.keys().len(), 1);
    }
}
