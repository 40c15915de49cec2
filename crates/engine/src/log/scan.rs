//! Looks at a log without changing it: what its files hold, what is damaged, what is missing.
//!
//! What must stay true: it finds whatever would keep a start from opening the log; beside a server, a
//! file that comes or goes meanwhile is no damage.

use hashbrown::HashMap;

use super::clean_end::{self, CleanEnd};
use super::format::{FILE_HEADER_BYTES, Flaw, FrameHeader, FrameKind, file_path};
use super::reader::{Beginning, read_beginning};
use super::recovery::{
    Candidate, OpenedFile, check_first, check_generation, check_last, check_newest_number,
    find_files, not_following,
};
use super::{CatalogSays, FOLDER, newest, payload};
use crate::model::{CollectionId, SeqId};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// What [`scan`] found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The files, oldest first.
    pub files: Vec<LogFile>,
    /// What is damaged, with file and offset.
    pub damaged: Vec<Error>,
    /// Where the SeqIds of a collection begin, or leave some out.
    steps: Vec<Step>,
    /// The number of the newest file.
    newest_file: u64,
    /// The highest generation of the catalogue that a mark tells.
    generation: u64,
}

/// A frame that does not follow on the one before it of its collection.
#[derive(Debug)]
struct Step {
    collection: CollectionId,
    first: SeqId,
    /// The last SeqId before it in the log; `None` where it is the first.
    after: Option<SeqId>,
    path: String,
    offset: u64,
}

impl Scan {
    /// Whether the log and a catalogue that says this of itself are of one time; otherwise which of the
    /// two is older than it was.
    pub fn check_catalog(&self, says: CatalogSays) -> Result<()> {
        check_generation(says.generation, self.generation)?;
        if self.damaged.is_empty() {
            check_newest_number(says.newest_file, self.newest_file)?;
        }
        Ok(())
    }

    /// What is missing of the log of collections of which segments hold everything up to `applied`: a
    /// start would refuse the folder for it.
    pub fn missing(&self, applied: &HashMap<CollectionId, SeqId>) -> Vec<Error> {
        let of_step = |step: &Step| {
            let applied = *applied.get(&step.collection)?;
            let after = match step.after {
                None if step.first <= applied.plus(1) => return None,
                None => applied,
                Some(after) => after,
            };
            let (path, first) = (&step.path, step.first);
            Some(not_following(
                path,
                step.offset,
                first,
                step.collection,
                after,
            ))
        };
        self.steps.iter().filter_map(of_step).collect()
    }
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its path in the data folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Batches in it.
    pub batches: u64,
    /// Records in it.
    pub records: u64,
    /// The last SeqId in it of each collection.
    pub highest: HashMap<CollectionId, SeqId>,
}

/// Checks every frame of the log without changing anything; may run beside a server. A torn tail
/// of the last file is no damage: the next start cuts it.
pub fn scan(storage: &dyn Storage) -> Result<Scan> {
    let mut found = Scan::default();
    if !storage.exists(FOLDER)? {
        return Ok(found);
    }
    // Read before the files are listed: a server may begin one meanwhile.
    let noted = newest::noted(storage)?;
    let candidates = match listed(storage) {
        Ok(candidates) => candidates,
        Err(error) if error.kind() == ErrorKind::Corrupted => {
            found.damaged.push(error);
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let (mut opened, mut newest) = (Vec::with_capacity(candidates.len()), 0);
    for (at, file) in candidates.iter().enumerate() {
        let last = at + 1 == candidates.len();
        match read_beginning(storage, file.number) {
            Ok(Beginning::Good(header, chain)) => opened.push(OpenedFile {
                header,
                chain,
                bytes: file.bytes,
            }),
            Ok(Beginning::Bad(_)) if last && file.bytes <= FILE_HEADER_BYTES => {}
            // A server removed it meanwhile, and may have written over it since.
            _ if !storage.exists(&file_path(file.number))? => newest = file.number,
            Ok(Beginning::Bad(detail)) => {
                let error = Error::corrupted(&file_path(file.number), 0, detail);
                found.damaged.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    let all_read = found.damaged.is_empty();
    found.newest_file = newest.max(opened.last().map_or(0, |file| file.header.number));
    let lost = check_newest_number(noted, found.newest_file).err();
    found.damaged.extend(lost.filter(|_| all_read));
    let clean_end = match CleanEnd::read(storage)? {
        None => None,
        Some(Ok(clean)) => Some(clean),
        Some(Err(flaw)) => {
            let detail = match flaw {
                Flaw::Damaged(detail) => detail,
                Flaw::Newer(version) => format!("it has the unknown version {version}"),
            };
            let error = Error::corrupted(&clean_end::path(), 0, detail);
            found.damaged.push(error);
            None
        }
    };
    if let Some(error) = clean_end.and_then(|clean| check_first(&clean, &opened).err()) {
        found.damaged.push(error);
    }
    let mut last = HashMap::new();
    for (at, file) in opened.iter().enumerate() {
        let next = opened.get(at + 1);
        scan_file(storage, file, next, clean_end, &mut last, &mut found)?;
    }
    Ok(found)
}

/// The log files by number. Names come and go while a server's folder is listed, so that a number may seem to be missing;
/// it is where two lists in a row lack it: what a server removes is gone from the next list with all before it, and
/// what it makes is there.
fn listed(storage: &dyn Storage) -> Result<Vec<Candidate>> {
    let mut before: Option<Error> = None;
    loop {
        let error = match find_files(storage) {
            Err(error) if error.kind() == ErrorKind::Corrupted => error,
            other => return other,
        };
        if before.is_some_and(|before| before.message() == error.message()) {
            return Err(error);
        }
        before = Some(error);
    }
}

fn scan_file(
    storage: &dyn Storage,
    file: &OpenedFile,
    next: Option<&OpenedFile>,
    clean_end: Option<CleanEnd>,
    last: &mut HashMap<CollectionId, SeqId>,
    found: &mut Scan,
) -> Result<()> {
    let path = file_path(file.header.number);
    let mut summary = LogFile {
        path: path.clone(),
        bytes: file.bytes,
        batches: 0,
        records: 0,
        highest: HashMap::new(),
    };
    let (steps, generation) = (&mut found.steps, &mut found.generation);
    let mut each = |frame: &FrameHeader, payload: &[u8]| -> Result<()> {
        *generation = frame.generation().max(*generation);
        if frame.kind == FrameKind::Batch {
            payload::decode(payload, frame.count)
                .map_err(|detail| Error::corrupted(&path, frame.offset, detail))?;
            summary.batches += 1;
            summary.records += u64::from(frame.count);
            summary.highest.insert(frame.collection, frame.last());
            let after = last.insert(frame.collection, frame.last());
            if after.is_none_or(|after| frame.first != after.plus(1)) {
                steps.push(Step {
                    collection: frame.collection,
                    first: frame.first,
                    after,
                    path: path.clone(),
                    offset: frame.offset,
                });
            }
        }
        Ok(())
    };
    let end = next
        .filter(|next| next.header.number == file.header.number + 1)
        .and_then(|next| next.header.previous);
    let walked = match (file.walk(storage, end, &mut each), clean_end) {
        (Ok(walked), Some(clean)) if next.is_none() => check_last(&clean, file, walked),
        (Ok(_), _) => Ok(()),
        (Err(error), _) => Err(error),
    };
    match walked {
        Ok(()) => {}
        // A server removed it meanwhile, and may have written over it since.
        Err(_) if !storage.exists(&path)? => return Ok(()),
        Err(error) if error.kind() == ErrorKind::Corrupted => found.damaged.push(error),
        Err(error) => return Err(error),
    }
    found.files.push(summary);
    Ok(())
}
