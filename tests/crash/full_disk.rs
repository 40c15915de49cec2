//! A disk that fills up: a small file system in memory, where this machine lets us mount one.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ledger::{Ledger, write_until_refused};
use crate::support::Server;

/// A mounted file system that goes when this is dropped.
struct Mount {
    folder: tempfile::TempDir,
}

impl Mount {
    fn new(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let arguments = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        let mut mount = Command::new("mount");
        let output = mount.args(arguments).arg(folder.path()).output().ok()?;
        output.status.success().then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    if let Some(file) = std::env::var_os("TEST_SKIPS") {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        writeln!(file, "{why}").unwrap();
    }
}

#[test]
fn on_a_full_disk_writes_get_507_reads_go_on_and_space_heals_it_without_a_restart() {
    let Some(mount) = Mount::new(24) else {
        skip("full disk: no file system can be mounted here");
        return;
    };
    let data = mount.path().join("data");
    let ballast = mount.path().join("ballast");
    fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let flags = ["--free-disk-bytes-min", "4MiB", "--log-file-bytes", "1MiB"];
    let server = Server::start(&data, &flags);
    let client = server.client();
    let id = client.collection("records");
    let mut ledger = Ledger::default();
    let refused = write_until_refused(&client, &id, &mut ledger, 20_000);
    assert_eq!(refused, Some(507));
    let (acknowledged, refused) = (ledger.acknowledged(), client.count(&id));
    assert!(acknowledged > 1 && refused > 0);
    ledger.check(&client, &id);
    fs::remove_file(&ballast).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while write_until_refused(&client, &id, &mut ledger, 1).is_some() {
        assert!(Instant::now() < deadline, "writes did not come back");
        std::thread::sleep(Duration::from_millis(200));
    }
    ledger.check(&client, &id);
    assert_eq!(server.stop().0, 0);
    let server = Server::start(&data, &flags);
    ledger.check(&server.client(), &id);
}

#[test]
fn a_server_that_was_killed_starts_on_a_disk_without_a_free_byte() {
    starts_on_a_full_disk(Server::kill);
}

#[test]
fn a_server_that_was_stopped_starts_on_a_disk_without_a_free_byte() {
    starts_on_a_full_disk(|server| assert_eq!(server.stop().0, 0));
}

fn starts_on_a_full_disk(end: impl Fn(Server)) {
    let Some(mount) = Mount::new(16) else {
        skip("start on a full disk: no file system can be mounted here");
        return;
    };
    let data = mount.path().join("data");
    let server = Server::start(&data, &[]);
    let client = server.client();
    let id = client.collection("records");
    let mut ledger = Ledger::default();
    write_until_refused(&client, &id, &mut ledger, 3);
    let fill = |name: &str| {
        let mut ballast = fs::File::create(mount.path().join(name)).unwrap();
        while ballast.write(&[1; 512]).is_ok_and(|count| count > 0) {}
    };
    fill("ballast");
    end(server);
    // The end may have given room back.
    fill("more");
    // Twice: the first start leaves no less than it found.
    for _ in 0..2 {
        let server = Server::start(&data, &[]);
        ledger.check(&server.client(), &id);
        end(server);
    }
    fs::remove_file(mount.path().join("more")).unwrap();
    fs::remove_file(mount.path().join("ballast")).unwrap();
    let server = Server::start(&data, &[]);
    let client = server.client();
    write_until_refused(&client, &id, &mut ledger, 3);
    ledger.check(&client, &id);
    assert_eq!(server.stop().0, 0);
}
