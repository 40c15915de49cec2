//! A data folder in memory.

/// A data folder in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {}

impl crate::storage::Storage for MemoryStorage {
    fn create_dir(&self, _: &str) -> crate::Result<()> {
        unimplemented!()
    }
    fn create(&self, _: &str) -> crate::Result<Box<dyn crate::storage::StorageFile>> {
        unimplemented!()
    }
    fn append(&self, _: &str) -> crate::Result<Box<dyn crate::storage::StorageFile>> {
        unimplemented!()
    }
    fn map(&self, _: &str) -> crate::Result<bytes::Bytes> {
        unimplemented!()
    }
    fn read(&self, _: &str) -> crate::Result<Vec<u8>> {
        unimplemented!()
    }
    fn read_at(&self, _: &str, _: u64, _: usize) -> crate::Result<Vec<u8>> {
        unimplemented!()
    }
    fn list(&self, _: &str) -> crate::Result<Vec<crate::storage::Entry>> {
        unimplemented!()
    }
    fn exists(&self, _: &str) -> crate::Result<bool> {
        unimplemented!()
    }
    fn rename(&self, _: &str, _: &str) -> crate::Result<()> {
        unimplemented!()
    }
    fn remove_file(&self, _: &str) -> crate::Result<()> {
        unimplemented!()
    }
    fn remove_dir(&self, _: &str) -> crate::Result<()> {
        unimplemented!()
    }
    fn sync_dir(&self, _: &str) -> crate::Result<()> {
        unimplemented!()
    }
    fn free_bytes(&self) -> crate::Result<u64> {
        unimplemented!()
    }
}
