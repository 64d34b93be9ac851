//! What one instance may allocate: linear memory and tables.

use wasmtime::ResourceLimiter;

/// Elements of all tables together; a Python interpreter has about ten thousand.
const TABLE_ELEMENTS: usize = 1 << 20;
/// Core instances, memories and tables in one component; those of interpreters have about thirty.
const PARTS: usize = 256;

/// Counts the memory of one instance and refuses what is over its limit: the plugin then sees a failed grow.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: u64,
    memory: u64,
    pub(super) peak: u64,
    table_elements: usize,
    /// A grow was refused: whatever goes wrong afterwards, this is likely why.
    pub(super) refused: bool,
    /// The last grow that was allowed, which may fail all the same.
    growing: u64,
}

impl Limiter {
    /// A limiter for `limit` bytes over all memories.
    pub(super) fn new(limit: u64) -> Self {
        Limiter { limit, memory: 0, peak: 0, table_elements: 0, refused: false, growing: 0 }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growing = desired.saturating_sub(current) as u64;
        let total = self.memory.saturating_add(growing);
        if total > self.limit {
            self.growing = 0;
            self.refused = true;
            return Ok(false);
        }
        self.growing = growing;
        self.memory = total;
        self.peak = self.peak.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory -= std::mem::take(&mut self.growing);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        if total > TABLE_ELEMENTS {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_share_one_limit() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.refused);
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert_eq!(limiter.peak, 100);
    }

    #[test]
    fn tables_share_one_limit() {
        let mut limiter = Limiter::new(0);
        assert!(limiter.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(!limiter.table_growing(0, 1, None).unwrap());
    }
}
