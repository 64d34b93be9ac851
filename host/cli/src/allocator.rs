//! The memory allocator of the process: jemalloc. Rows of tables are allocated by one thread and freed by another, and an export's
//! threads come and go with its work; glibc's allocator then keeps up to twice as much memory. `bench/README.md` has figures.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The settings of jemalloc. All threads share four arenas. Freed memory goes back to the system after a second, from an idle process
/// too. `_RJEM_MALLOC_CONF` in the environment overrides them.
// SAFETY: jemalloc reads a symbol of this name as a pointer to a string that ends with a zero byte. No other item has the name.
#[unsafe(export_name = "_rjem_malloc_conf")]
static CONFIGURATION: &[u8; 95] =
    b"narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true,max_background_threads:1\0";
