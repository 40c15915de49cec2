//! Work on many rows, split over the processors there are.
//!
//! What must stay true: which rows form a block depends on the number of rows only, and a block is worked on by one
//! thread from its start to its end, so that results do not depend on how many threads there are. Threads end with
//! the call, and inherit the caller's priority, which a pool that outlives it would not.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Rows of a block.
pub(crate) const BLOCK_ROWS: usize = 256;

/// Fills `out`, which has `width` places a row, by `work` of the number of a block's first row and its places.
pub(crate) fn fill<T: Send>(out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    fill_blocks(out, width, BLOCK_ROWS, work);
}

fn fill_blocks<T: Send>(
    out: &mut [T],
    width: usize,
    rows: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    if out.is_empty() {
        return;
    }
    assert!(out.len().is_multiple_of(width), "a row has {width} places");
    let blocks = (out.len() / width).div_ceil(rows);
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(blocks);
    let parts = Mutex::new(out.chunks_mut(rows * width).enumerate());
    let run = || {
        loop {
            let next = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((block, part)) = next else { break };
            work(block * rows, part);
        }
    };
    thread::scope(|scope| {
        for at in 1..threads {
            // Without another thread this one does all.
            let _ = thread::Builder::new()
                .name(format!("scores-{at}"))
                .spawn_scoped(scope, run);
        }
        run();
    });
}

/// What `work` makes of each of few large pieces, one at a time.
pub(crate) fn each<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut out: Vec<Option<T>> = (0..count).map(|_| None).collect();
    fill_blocks(&mut out, 1, 1, |at, place| place[0] = Some(work(at)));
    out.into_iter().flatten().collect()
}
/// What `work` makes of each of `count` rows.
pub(crate) fn map<T: Send + Default + Clone>(
    count: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let mut out = vec![T::default(); count];
    fill(&mut out, 1, |first, part| {
        for (at, place) in part.iter_mut().enumerate() {
            *place = work(first + at);
        }
    });
    out
}
