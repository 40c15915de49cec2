//! The columns of an answer.
//!
//! What must stay true: only columns that were asked for are read; rows come out in the order of
//! the locations; an answer that its columns cannot hold is refused, not cut.

use super::{Location, Snapshot};
use crate::asker;
use crate::model::{Embeddings, Fetched, Include, MetadataColumn, OptionalStrings, Strings};
use crate::segments::Keys;
use crate::{Error, Result};

/// Locations whose documents are read in the order of their parts before they are put in order.
const SORTED_READS: usize = 4096;
/// Bytes that a row takes in an answer besides what is in it.
const ROW_BYTES: usize = 16;

/// The records at `locations`.
pub(super) fn fetch(
    snapshot: &Snapshot,
    locations: &[Location],
    include: Include,
) -> Result<Fetched> {
    asker::still_waits()?;
    Ok(Fetched {
        ids: ids(snapshot, locations)?,
        embeddings: include
            .embeddings
            .then(|| embeddings(snapshot, locations))
            .transpose()?,
        documents: include
            .documents
            .then(|| documents(snapshot, locations))
            .transpose()?,
        uris: include
            .uris
            .then(|| uris(snapshot, locations))
            .transpose()?,
        metadatas: include
            .metadatas
            .then(|| metadatas(snapshot, locations))
            .transpose()?,
    })
}

fn ids(snapshot: &Snapshot, locations: &[Location]) -> Result<Strings> {
    let mut ids = Strings::with_capacity(locations.len(), locations.len() * 16);
    for locations in locations.chunks(SORTED_READS) {
        let before = ids.text().len();
        for location in locations {
            let id = snapshot.parts[location.part].source.id(location.row)?;
            check_room(ids.text(), id)?;
            ids.push(id);
        }
        asker::take(ids.text().len() - before + locations.len() * ROW_BYTES)?;
    }
    Ok(ids)
}

fn embeddings(snapshot: &Snapshot, locations: &[Location]) -> Result<Embeddings> {
    let dimension = snapshot.dimension.unwrap_or(0) as usize;
    asker::take(locations.len().saturating_mul(dimension * size_of::<f32>()))?;
    let mut values = Vec::with_capacity(locations.len() * dimension);
    for run in locations.chunk_by(|a, b| a.part == b.part && a.row + 1 == b.row) {
        let source = &snapshot.parts[run[0].part].source;
        values.extend_from_slice(source.vectors(run[0].row, run.len() as u32)?);
    }
    Embeddings::new(dimension, values)
        .ok_or_else(|| Error::internal("a stored vector has not the dimension of its collection"))
}

fn documents(snapshot: &Snapshot, locations: &[Location]) -> Result<OptionalStrings> {
    let mut documents = OptionalStrings::with_capacity(locations.len(), 0);
    let read = |location: &Location| snapshot.parts[location.part].source.document(location.row);
    let mut pushed = 0;
    let mut push = |document: Option<&str>, pushed: &mut usize| -> Result<()> {
        check_room(documents.values().text(), document.unwrap_or(""))?;
        *pushed += document.map_or(0, str::len);
        documents.push(document);
        Ok(())
    };
    for locations in locations.chunks(SORTED_READS) {
        if locations.is_sorted() {
            for location in locations {
                push(read(location)?.as_deref(), &mut pushed)?;
            }
            asker::take(std::mem::take(&mut pushed))?;
            continue;
        }
        // Neighbours in a part share a compressed block, which is decoded once if they are read
        // one after the other.
        let mut order: Vec<usize> = (0..locations.len()).collect();
        order.sort_unstable_by_key(|at| locations[*at]);
        let mut found = vec![None; locations.len()];
        for at in order {
            found[at] = read(&locations[at])?;
        }
        for document in found {
            push(document.as_deref(), &mut pushed)?;
        }
        asker::take(std::mem::take(&mut pushed))?;
    }
    Ok(documents)
}

fn uris(snapshot: &Snapshot, locations: &[Location]) -> Result<OptionalStrings> {
    let mut uris = OptionalStrings::with_capacity(locations.len(), 0);
    for locations in locations.chunks(SORTED_READS) {
        let before = uris.values().text().len();
        for location in locations {
            let uri = snapshot.parts[location.part].source.uri(location.row)?;
            check_room(uris.values().text(), uri.unwrap_or(""))?;
            uris.push(uri);
        }
        asker::take(uris.values().text().len() - before)?;
    }
    Ok(uris)
}

fn metadatas(snapshot: &Snapshot, locations: &[Location]) -> Result<MetadataColumn> {
    let mut metadatas = MetadataColumn::default();
    for locations in locations.chunks(SORTED_READS) {
        let before = metadatas.len();
        for location in locations {
            let source = &snapshot.parts[location.part].source;
            source.push_metadata(location.row, Keys::All, &mut metadatas)?;
        }
        let cells = (before..metadatas.len()).flat_map(|row| metadatas.cells(row));
        asker::take(
            cells
                .map(|cell| size_of_val(cell) + cell.1.heap_bytes())
                .sum(),
        )?;
    }
    Ok(metadatas)
}

/// Fails where `more` would make a column longer than it can be.
fn check_room(text: &str, more: &str) -> Result<()> {
    if u32::try_from(text.len() + more.len()).is_ok() {
        return Ok(());
    }
    Err(Error::invalid(
        "The answer has a column of more than 4 GiB; ask for fewer records (limit and offset) or \
         for fewer columns (include)",
    ))
}
