//! Builds a folder as a power cut could have left it.
//!
//! The model is weaker than any real disk on purpose. What was synced is there. Of the rest:
//!
//! - Each write is 512-byte sectors, and each sector may be there or not, whatever became of the
//!   others; a sector that is missing below the end of the file reads as what was there before, or zeros.
//! - Each cut of a file may have happened or not.
//! - Each name made, changed or removed in a folder may have been so or not until the folder is
//!   synced, whatever became of the file's bytes; a rename happens as one step. A folder removed
//!   with all in it may be found half empty.
//!
//! What must stay true: with [`Survival::All`] the folder is the one that was recorded.

use std::collections::BTreeMap;

use super::random::Random;
use super::recording::{FileNumber, Mark, Step};
use crate::Result;
use crate::storage::{MemoryStorage, Storage};

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// All of it is there: the process died, the machine did not.
    All,
    /// None of it is there.
    Nothing,
    /// Of each file and folder what came first, up to a random point, the last write torn.
    Prefix,
    /// A random part of it, sector by sector and name by name.
    Scattered,
    /// For each file and folder one of the above.
    Mixed,
}

/// A folder after a power cut.
#[derive(Debug)]
pub struct Rebuilt {
    /// The folder.
    pub storage: MemoryStorage,
    /// The marks that were put into the trace before the cut, in order.
    pub marks: Vec<Mark>,
}

/// What is known of a file's bytes.
#[derive(Default)]
struct FileState {
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Where the next write goes.
    end: usize,
}

enum Change {
    Write(usize, bytes::Bytes),
    Cut(usize),
}

/// What a name stands for.
#[derive(Clone, Copy)]
enum Named {
    Folder,
    File(FileNumber),
}

/// A change of names.
struct NameChange {
    kind: NameKind,
    /// The folders it is in that were not synced since.
    unsynced: Vec<String>,
}

enum NameKind {
    Make(String, Named),
    Rename(String, String),
    Remove(String),
    RemoveAll(String),
}

pub(super) fn rebuild(
    base: &[(String, Vec<u8>)],
    steps: &[Step],
    survival: Survival,
    seed: u64,
) -> Result<Rebuilt> {
    let mut random = Random::new(seed);
    let (mut files, mut names, mut marks) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut tree: BTreeMap<String, Named> = BTreeMap::new();
    for (number, (path, bytes)) in base.iter().enumerate() {
        for (at, _) in path.match_indices('/') {
            tree.insert(path[..at].to_owned(), Named::Folder);
        }
        tree.insert(path.clone(), Named::File(number));
        let state = FileState {
            end: bytes.len(),
            durable: bytes.clone(),
            pending: Vec::new(),
        };
        files.insert(number, state);
    }
    for step in steps {
        match step {
            Step::Mark(mark) => marks.push(mark.clone()),
            Step::Reuse(_) | Step::Write(..) | Step::Sync(_) | Step::Truncate(..) => {
                follow_file(&mut files, step);
            }
            _ => follow_names(&mut names, step),
        }
    }
    apply_names(&mut tree, &names, survival, &mut random);
    let storage = MemoryStorage::default();
    for (path, named) in &tree {
        match named {
            Named::Folder => storage.create_dir(path)?,
            Named::File(number) => {
                let bytes = files.get(number).map_or_else(Vec::new, |file| {
                    survivors(file, pick(survival, &mut random), &mut random)
                });
                storage.insert(path, bytes)?;
            }
        }
    }
    Ok(Rebuilt { storage, marks })
}

fn follow_file(files: &mut BTreeMap<FileNumber, FileState>, step: &Step) {
    match step {
        Step::Reuse(number) => files.entry(*number).or_default().end = 0,
        Step::Write(number, bytes) => {
            let file = files.entry(*number).or_default();
            file.pending.push(Change::Write(file.end, bytes.clone()));
            file.end += bytes.len();
        }
        Step::Truncate(number, bytes) => {
            let file = files.entry(*number).or_default();
            file.end = *bytes as usize;
            file.pending.push(Change::Cut(file.end));
        }
        Step::Sync(number) => {
            let file = files.entry(*number).or_default();
            file.durable = survivors(file, Survival::All, &mut Random::new(0));
            file.pending.clear();
        }
        _ => unreachable!("only steps on bytes come here"),
    }
}

fn follow_names(names: &mut Vec<NameChange>, step: &Step) {
    let above = |path: &str| {
        path.rsplit_once('/')
            .map_or("", |(above, _)| above)
            .to_owned()
    };
    let mut push = |kind, unsynced| names.push(NameChange { kind, unsynced });
    match step {
        Step::CreateDir(path) => {
            let ends = path.match_indices('/').map(|(at, _)| at);
            for end in ends.chain([path.len()]) {
                let folder = path[..end].to_owned();
                let unsynced = vec![above(&folder)];
                push(NameKind::Make(folder, Named::Folder), unsynced);
            }
        }
        Step::Create(number, path) => push(
            NameKind::Make(path.clone(), Named::File(*number)),
            vec![above(path)],
        ),
        Step::Rename(from, to) => {
            let mut unsynced = vec![above(from), above(to)];
            unsynced.dedup();
            push(NameKind::Rename(from.clone(), to.clone()), unsynced);
        }
        Step::RemoveFile(path) => push(NameKind::Remove(path.clone()), vec![above(path)]),
        Step::RemoveDir(path) => push(NameKind::RemoveAll(path.clone()), vec![above(path)]),
        Step::SyncDir(path) => {
            for change in names {
                change.unsynced.retain(|folder| folder != path);
            }
        }
        _ => unreachable!("only steps on names come here"),
    }
}

/// Applies the changes of names that were synced or are lucky. A change whose folder did not
/// survive is lost with it.
fn apply_names(
    tree: &mut BTreeMap<String, Named>,
    names: &[NameChange],
    survival: Survival,
    random: &mut Random,
) {
    let chosen = pick(survival, random);
    let unsynced = names.iter().filter(|one| !one.unsynced.is_empty()).count();
    // For `Prefix`: how many of the unsynced changes happened.
    let mut lucky = random.below(unsynced + 1);
    for change in names {
        let happened = change.unsynced.is_empty()
            || match chosen {
                Survival::All => true,
                Survival::Nothing => false,
                Survival::Prefix => {
                    let first = lucky > 0;
                    lucky = lucky.saturating_sub(1);
                    first
                }
                Survival::Scattered | Survival::Mixed => random.flip(),
            };
        let synced = change.unsynced.is_empty();
        match &change.kind {
            NameKind::RemoveAll(path) if !happened && !synced && chosen != Survival::Nothing => {
                // The removal had begun: some of what is below may be gone.
                let below = below(tree, path);
                for name in below {
                    if matches!(tree.get(&name), Some(Named::File(_))) && random.flip() {
                        tree.remove(&name);
                    }
                }
            }
            kind if happened => apply_name(tree, kind),
            _ => {}
        }
    }
}

fn apply_name(tree: &mut BTreeMap<String, Named>, kind: &NameKind) {
    let has_folder = |tree: &BTreeMap<String, Named>, path: &str| {
        path.rsplit_once('/')
            .is_none_or(|(above, _)| matches!(tree.get(above), Some(Named::Folder)))
    };
    match kind {
        NameKind::Make(path, named) => {
            if has_folder(tree, path) {
                // A folder that is there already keeps what is in it.
                tree.entry(path.clone())
                    .and_modify(|old| *old = *named)
                    .or_insert(*named);
            }
        }
        NameKind::Rename(from, to) => {
            if let Some(named) = tree.remove(from)
                && has_folder(tree, to)
            {
                let moved = below(tree, from);
                tree.insert(to.clone(), named);
                for path in moved {
                    if let Some(named) = tree.remove(&path) {
                        tree.insert(format!("{to}{}", &path[from.len()..]), named);
                    }
                }
            }
        }
        NameKind::Remove(path) => {
            tree.remove(path);
        }
        NameKind::RemoveAll(path) => {
            tree.remove(path);
            for path in below(tree, path) {
                tree.remove(&path);
            }
        }
    }
}

fn below(tree: &BTreeMap<String, Named>, path: &str) -> Vec<String> {
    let prefix = format!("{path}/");
    tree.range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .map(|(path, _)| path.clone())
        .collect()
}

/// The bytes of a file after the cut.
fn survivors(file: &FileState, survival: Survival, random: &mut Random) -> Vec<u8> {
    let mut bytes = file.durable.clone();
    // For `Prefix`: the changes before this one happened, and this one in part.
    let torn = random.below(file.pending.len() + 1);
    for (at, change) in file.pending.iter().enumerate() {
        let all = match survival {
            Survival::All => true,
            Survival::Nothing => return bytes,
            Survival::Prefix if at > torn => return bytes,
            Survival::Prefix => at < torn,
            Survival::Scattered | Survival::Mixed => false,
        };
        match change {
            Change::Cut(end) if all || random.flip() => bytes.resize(*end, 0),
            Change::Cut(_) => {}
            Change::Write(offset, written) if all => put(&mut bytes, *offset, written),
            Change::Write(offset, written) => {
                let sectors = written.len().div_ceil(SECTOR) + 1;
                let kept = random.below(sectors + 1);
                let mut from = 0;
                for sector in 0..sectors {
                    let length = SECTOR - (offset + from) % SECTOR;
                    let to = (from + length).min(written.len());
                    let lucky = match survival {
                        Survival::Prefix => sector < kept,
                        _ => random.flip(),
                    };
                    if lucky && from < to {
                        put(&mut bytes, offset + from, &written[from..to]);
                    }
                    from = to;
                }
            }
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

fn pick(survival: Survival, random: &mut Random) -> Survival {
    const EACH: [Survival; 4] = [
        Survival::All,
        Survival::Nothing,
        Survival::Prefix,
        Survival::Scattered,
    ];
    match survival {
        Survival::Mixed => EACH[random.below(EACH.len())],
        one => one,
    }
}
