//! The keys that a running server knows, and whose a request's credentials are.
//!
//! What must stay true: secrets are compared by their hashes, in a time that does not depend on how
//! much of them is right; a file that changes is read again, and one that has become unreadable
//! leaves the keys as they were and is told in the log.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::{Mutex, RwLock};
use subtle::ConstantTimeEq;

use super::keys::{Hash, KeyFile, KeysError, SECRET_MIN, hash};
use super::{Identity, Role, Scope};

/// The header of Chroma's clients for a token.
const CHROMA_TOKEN: &str = "x-chroma-token";
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The name of the key that the environment gives.
const ENVIRONMENT_KEY: &str = "environment";

/// Keys by the beginning of their hashes.
type Known = HashMap<[u8; 8], Vec<(Hash, Identity)>>;

/// What tells whether a file is still the one that was read.
type Stamp = Option<(SystemTime, u64)>;

/// The keys of a running server.
#[derive(Debug)]
pub(crate) struct Keyring {
    file: Option<PathBuf>,
    environment: Option<Hash>,
    known: RwLock<Arc<Known>>,
    /// Of the file as it was before it was read last.
    seen: Mutex<Stamp>,
}

impl Keyring {
    /// The keys of `file` and the administrator's `secret` of the environment; `None` where neither
    /// is given, and nobody is asked who they are.
    pub(crate) fn open(
        file: Option<PathBuf>,
        secret: Option<&str>,
    ) -> Result<Option<Self>, KeysError> {
        if file.is_none() && secret.is_none() {
            return Ok(None);
        }
        if secret.is_some_and(|secret| secret.len() < SECRET_MIN) {
            return Err(KeysError {
                message: format!("the administrator's key has less than {SECRET_MIN} characters"),
                hint: Some("`vermilion key create` makes one that nobody can guess".to_owned()),
            });
        }
        let ring = Self {
            file,
            environment: secret.map(hash),
            known: RwLock::default(),
            seen: Mutex::default(),
        };
        *ring.seen.lock() = ring.stamp();
        ring.read()?;
        Ok(Some(ring))
    }

    /// Reads the file again.
    fn read(&self) -> Result<(), KeysError> {
        let mut known = Known::new();
        let mut add = |hash: Hash, identity: Identity| {
            known
                .entry(beginning(&hash))
                .or_default()
                .push((hash, identity));
        };
        if let Some(hash) = self.environment {
            let identity = Identity {
                name: ENVIRONMENT_KEY.to_owned(),
                role: Role::Admin,
                scope: Scope::default(),
            };
            add(hash, identity);
        }
        if let Some(path) = &self.file {
            for key in KeyFile::open(path)?.keys() {
                let identity = Identity {
                    name: key.name.clone(),
                    role: key.role,
                    scope: key.scope.clone(),
                };
                add(key.hash(), identity);
            }
        }
        *self.known.write() = Arc::new(known);
        Ok(())
    }

    /// Reads the file again whenever it changes, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let ring = self.clone();
            let look = move || {
                let now = ring.stamp();
                let before = std::mem::replace(&mut *ring.seen.lock(), now);
                if now != before {
                    match ring.read() {
                        Ok(()) => tracing::info!("the file of API keys was read again"),
                        Err(error) => {
                            tracing::error!(%error, "the API keys stay as they were");
                        }
                    }
                }
            };
            // It fails only where the runtime ends, and then nobody asks any more.
            let _ = tokio::task::spawn_blocking(look).await;
        }
    }

    fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(self.file.as_ref()?).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    /// Whose the credentials in `headers` are; `None` where there are none, or they are wrong.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Option<Identity> {
        let (user, secret) = credentials(headers)?;
        let hash = hash(&secret);
        let known = self.known.read().clone();
        let found = known.get(&beginning(&hash))?;
        let found = found.iter().find(|(own, _)| own.ct_eq(&hash).into());
        let (_, identity) = found?;
        let named = user.is_none_or(|user| user == identity.name);
        named.then(|| identity.clone())
    }
}

fn beginning(hash: &Hash) -> [u8; 8] {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&hash[..8]);
    beginning
}

/// The user, where one is named, and the secret that a request brings.
fn credentials(headers: &HeaderMap) -> Option<(Option<String>, String)> {
    if let Some(given) = headers.get(AUTHORIZATION) {
        let (scheme, rest) = given.to_str().ok()?.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some((None, rest.to_owned()));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            let (user, secret) = text.split_once(':')?;
            return Some((Some(user.to_owned()), secret.to_owned()));
        }
        return None;
    }
    let token = headers.get(CHROMA_TOKEN)?.to_str().ok()?;
    Some((None, token.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn credentials_are_taken_in_each_of_the_three_ways() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let mut file = KeyFile::open_or_new(&path).unwrap();
        let secret = file.create("app", Role::Read, Scope::default()).unwrap();
        let other = file.create("other", Role::Read, Scope::default()).unwrap();
        let ring = Keyring::open(Some(path), None).unwrap().unwrap();
        let who = |name, value: &str| ring.identify(&headers(name, value)).map(|who| who.name);
        let app = Some("app".to_owned());
        assert_eq!(who("authorization", &format!("Bearer {secret}")), app);
        assert_eq!(who("x-chroma-token", &secret), app);
        let basic = |user: &str, secret: &str| {
            format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))
        };
        assert_eq!(who("authorization", &basic("app", &secret)), app);
        assert_eq!(who("authorization", &basic("app", &other)), None);
        assert_eq!(who("authorization", &format!("Digest {secret}")), None);
        assert_eq!(who("authorization", "Bearer"), None);
        assert_eq!(who("authorization", "Basic !"), None);
        assert_eq!(who("x-chroma-token", &secret[..secret.len() - 1]), None);
        assert_eq!(ring.identify(&HeaderMap::new()), None);
    }

    #[test]
    fn the_environment_gives_an_administrator_unless_its_secret_is_short() {
        assert!(Keyring::open(None, None).unwrap().is_none());
        Keyring::open(None, Some("short")).unwrap_err();
        let secret = "s".repeat(SECRET_MIN);
        let ring = Keyring::open(None, Some(&secret)).unwrap().unwrap();
        let who = ring.identify(&headers("x-chroma-token", &secret)).unwrap();
        assert_eq!(
            (who.name.as_str(), who.role),
            (ENVIRONMENT_KEY, Role::Admin)
        );
    }
}
