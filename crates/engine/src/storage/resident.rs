//! Which mapped files are in memory, and giving their memory back.
//!
//! What must stay true: nothing here changes what is read from a mapping; where a system cannot tell
//! or do something, nothing is known and nothing is done.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the system tells of mappings in a file"
)]

use hashbrown::HashMap;

use super::mapped;

/// Bytes of mapped files that are in this process's memory.
#[derive(Debug, Default)]
pub(crate) struct Resident {
    by_address: HashMap<usize, u64>,
}

impl Resident {
    /// Looks at all mappings of this process; takes milliseconds where there are thousands.
    pub(crate) fn look() -> Self {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        Self::read(&text)
    }

    /// Reads what the system writes of mappings.
    fn read(text: &str) -> Self {
        let mut by_address = HashMap::new();
        let mut address = None;
        for line in text.lines() {
            if let Some(kibibytes) = line.strip_prefix("Rss:") {
                let kibibytes = kibibytes.trim().trim_end_matches("kB").trim();
                if let (Some(address), Ok(kibibytes)) = (address, kibibytes.parse::<u64>()) {
                    by_address.insert(address, kibibytes * 1024);
                }
            } else if let Some((from, _)) = line.split_once('-')
                && let Ok(from) = usize::from_str_radix(from, 16)
            {
                address = Some(from);
            }
        }
        Self { by_address }
    }

    /// Bytes in memory of the file that is mapped whole as `bytes`; 0 for bytes that are no mapping.
    pub(crate) fn of(&self, bytes: &[u8]) -> u64 {
        let known = self.by_address.get(&bytes.as_ptr().addr());
        known.copied().unwrap_or(0).min(bytes.len() as u64)
    }
}

/// Gives the memory of `bytes` back to the system, which reads it from its file again once somebody
/// asks for it. What the system cannot take at this moment, such as pages that it is writing, leaves
/// this process all the same.
pub(crate) fn give_back(bytes: &[u8]) {
    mapped::page_out(bytes);
    mapped::let_go(bytes);
}

/// Takes the memory of `bytes` out of this process, which is quick; the system may keep it. What is
/// no mapped file stays.
pub(crate) fn let_go(bytes: &[u8]) {
    mapped::let_go(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_known_by_where_they_begin() {
        let text = "7f0000001000-7f0000005000 r--s 00000000 fe:00 12 /data/vectors.index\n\
                    Size:                 16 kB\n\
                    KernelPageSize:        4 kB\n\
                    Rss:                  12 kB\n\
                    Pss:                  12 kB\n\
                    VmFlags: rd sh mr mw me ms sd\n\
                    7f0000005000-7f0000006000 rw-p 00000000 00:00 0\n\
                    Rss:                   4 kB\n";
        let resident = Resident::read(text);
        let expected = [(0x7f00_0000_1000, 12 << 10), (0x7f00_0000_5000, 4 << 10)];
        assert_eq!(resident.by_address, expected.into_iter().collect());
        assert_eq!(resident.of(&[1, 2, 3]), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_given_back_holds_what_it_held() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        give_back(&bytes);
        give_back(&[]);
        assert!(
            bytes
                .iter()
                .zip(0_u32..)
                .all(|(byte, at)| *byte == at as u8)
        );
        assert!(!Resident::look().by_address.is_empty());
    }
}
