//! The Unix socket beside the port: the same HTTP for clients on this machine, which can hand over
//! records in memory.
//!
//! What must stay true: whoever may not open the folder never connects, not even for a moment; a
//! socket that a killed server left is replaced, a file that is none is not touched; a server that
//! cannot have its socket serves without it. How clients find it is in `docs/reference/local.md`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::{UnixListener, UnixStream};

mod descriptors;
mod segment;

pub(crate) use descriptors::{LocalStream, Passed};
pub(crate) use segment::Handed;

/// Where the socket of a server of the folder `data` is unless another place is named: in a folder of
/// this user, made where it is not there. It is not in `data`, so that whoever copies that meets
/// files only. `None`, and a line in the log, where somebody else could open the folder.
pub fn usual_place(data: &Path) -> Option<PathBuf> {
    own_place(data)
        .inspect_err(|error| tracing::warn!(%error, "there will be no local socket"))
        .ok()
}

fn own_place(data: &Path) -> io::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = match runtime.filter(|folder| folder.is_absolute() && folder.is_dir()) {
        Some(folder) => folder.join("vermilion"),
        None => std::env::temp_dir().join(format!("vermilion-{user}")),
    };
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        let folder = folder.display();
        let told = format!("{folder} is not a folder that this user alone can open");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, told));
    }
    let data = fs::canonicalize(data).or_else(|_| std::path::absolute(data))?;
    let digest = Sha256::digest(data.as_os_str().as_bytes());
    let (name, _) = digest.split_first_chunk().expect("a digest is longer");
    Ok(folder.join(format!("{:016x}.sock", u64::from_be_bytes(*name))))
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Who may connect: the owner of the folder.
const MODE: u32 = 0o600;

/// A Unix socket that is listened on, removed with its owner.
#[derive(Debug)]
pub(crate) struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
}

impl LocalListener {
    /// Listens at `path`; must be called within a runtime.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        check_place(path)?;
        // Under another name until it has its mode, so that nobody else ever sees it.
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        remove_socket(&beside)?;
        let address = SocketAddrUnix::new(&beside).map_err(|error| {
            let told = format!("the path is too long for a socket ({error})");
            io::Error::new(io::ErrorKind::InvalidInput, told)
        })?;
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::empty(),
            None,
        )?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::net::bind(&socket, &address)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(MODE))?;
        let metadata = fs::symlink_metadata(&beside)?;
        rustix::net::listen(&socket, BACKLOG)?;
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        fs::rename(&beside, path)?;
        Ok(Self {
            listener,
            path: fs::canonicalize(path)?,
            file: (metadata.dev(), metadata.ino()),
        })
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // Another server may have put its own there.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the local socket could not be removed");
        }
    }
}

/// Refuses a place where something is that a new socket must not replace.
fn check_place(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        )),
        Ok(_) if BlockingStream::connect(path).is_ok() => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
        Ok(_) => Ok(()),
    }
}

/// Removes what an earlier start may have left half made.
fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// What tells clients where the socket is, and lets them see that they and the server mean the same.
#[derive(Debug)]
pub(crate) struct Advert {
    path: Option<String>,
    boot_id: Option<String>,
    nonce: String,
}

impl Advert {
    /// Of a server that listens at `path`, if anywhere.
    pub(crate) fn new(path: Option<&Path>) -> Self {
        // A path that is no text cannot be told, and a system that does not name its run neither.
        let path = path.and_then(Path::to_str).map(str::to_owned);
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self {
            path,
            boot_id: boot_id.map(|id| id.trim().to_owned()),
            nonce: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// As JSON; callers from elsewhere learn nothing.
    pub(crate) fn to_json(&self, near: bool) -> String {
        let near = near && self.path.is_some() && self.boot_id.is_some();
        let told = |text: Option<&str>| text.filter(|_| near).map(str::to_owned);
        json!({
            "path": told(self.path.as_deref()),
            "boot_id": told(self.boot_id.as_deref()),
            "nonce": told(Some(&self.nonce)),
            "memory": near && segment::TAKES_MEMORY,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_is_its_owners_alone_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let listener = LocalListener::bind(&path).unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.mode() & 0o777, 0o600);
        let error = LocalListener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        BlockingStream::connect(&path).unwrap();
        drop(listener);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn usual_place_is_this_users_alone_and_one_for_each_folder() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = usual_place(one.path()).unwrap();
        assert_eq!(place, usual_place(&one.path().join(".")).unwrap());
        assert_ne!(place, usual_place(two.path()).unwrap());
        assert!(!place.starts_with(one.path()));
        let folder = fs::symlink_metadata(place.parent().unwrap()).unwrap();
        assert_eq!(folder.mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn left_sockets_are_replaced_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        for left in ["s.sock", "s.sock.new"] {
            drop(std::os::unix::net::UnixListener::bind(folder.path().join(left)).unwrap());
        }
        let listener = LocalListener::bind(&path).unwrap();
        BlockingStream::connect(&path).unwrap();
        // Whoever replaces it keeps what is theirs.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a text").unwrap();
        drop(listener);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a text");
        let error = LocalListener::bind(&path).unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a text");
    }

    #[tokio::test]
    async fn path_that_is_too_long_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = LocalListener::bind(&folder.path().join("s".repeat(150))).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
