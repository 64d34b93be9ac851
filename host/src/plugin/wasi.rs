//! What a plugin sees of the world: nothing, a clock that stands, and chance from a seed.
//!
//! WASI is there so that any language's toolchain works. Files, sockets, arguments and environment are empty or refused by
//! `wasmtime-wasi` as it is configured here; clocks and chance are this module's own, so that a run can be repeated and so that
//! nothing a plugin imports can block: a sleep is over at once.

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, async_trait};

use super::Moment;
use super::limits::Limiter;
use super::log::Log;

/// Streams, pollables and the like that a plugin may hold at once.
const HANDLES: usize = 1024;
/// Random bytes a plugin may ask for at once.
const RANDOM: u64 = 1 << 20;

/// What plugins may import, without the version.
pub(super) const ALLOWED: &[&str] = &[
    "lakeport:plugin/records",
    "lakeport:plugin/schema",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// What the host keeps for one instance.
pub(super) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    moment: Moment,
    /// The state of the random numbers.
    chance: u64,
    pub(super) limiter: Limiter,
    pub(super) log: Log,
}

impl State {
    pub(super) fn new(moment: Moment, limiter: Limiter, log: Log) -> Self {
        let wasi = WasiCtx::builder()
            .stdout(log.stdout())
            .stderr(log.stderr())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        State { wasi, table, moment, chance: moment.seed, limiter, log }
    }

    /// Sets the clock, and starts the random numbers afresh.
    pub(super) fn set_moment(&mut self, moment: Moment) {
        self.moment = moment;
        self.chance = moment.seed;
    }

    /// SplitMix64: any seed gives a good sequence.
    fn next_random(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        if count > RANDOM {
            wasmtime::bail!("asked for {count} random bytes at once, more than {RANDOM}");
        }
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next_random().to_le_bytes()).collect();
        bytes.truncate(count as usize);
        Ok(bytes)
    }

    fn ready_at_once(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let ready = self.table.push(Ready)?;
        subscribe(&mut self.table, ready)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Adds everything in [`ALLOWED`] to `linker`.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    struct Own;
    impl HasData for Own {
        type Data<'a> = &'a mut State;
    }
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    wall_clock::add_to_linker::<State, Own>(linker, |state| state)?;
    monotonic_clock::add_to_linker::<State, Own>(linker, |state| state)?;
    random::add_to_linker::<State, Own>(linker, |state| state)?;
    insecure::add_to_linker::<State, Own>(linker, |state| state)?;
    insecure_seed::add_to_linker::<State, Own>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A pollable that never waits.
struct Ready;

#[async_trait]
impl Pollable for Ready {
    async fn ready(&mut self) {}
}

impl wall_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        // WASI has no time before 1970.
        let microseconds = u64::try_from(self.moment.write_time).unwrap_or(0);
        let nanoseconds = (microseconds % 1_000_000) as u32 * 1_000;
        Ok(wall_clock::Datetime { seconds: microseconds / 1_000_000, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000 })
    }
}

impl monotonic_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.moment.write_time).unwrap_or(0).saturating_mul(1_000))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000)
    }

    fn subscribe_instant(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.ready_at_once()
    }

    fn subscribe_duration(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.ready_at_once()
    }
}

impl random::Host for State {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(count)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next_random())
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(count)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next_random())
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.next_random(), self.next_random()))
    }
}
