//! Compiling components, in a process of their own that is ended where it takes too long or too much memory.
//!
//! Time and memory grow faster than the functions of a component do: one of a few megabytes is minutes and gigabytes. So a
//! component from a path is compiled by a child process. It is this very program: it reads the component from standard input and
//! writes the compiled code to standard output.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::embed;
use super::engine::{self, Cpu};
use super::instance::bytes;
use super::log::printable;
use crate::error::{Error, Result};
use crate::plan::Limits;

/// Threads that compile one component. Each takes memory of its own.
const THREADS: u64 = 4;
/// Bytes of a compiler's message.
const MESSAGE: u64 = 2048;
/// How often a running compiler is looked at.
const POLL: Duration = Duration::from_millis(5);

/// How the system's calls name a resource.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
type Resource = libc::c_int;

/// Where components are compiled that come from a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// By a child process of this program, which has the command `plugin compile-input`; under [`Limits::compile_time`] and
    /// [`Limits::compile_memory`].
    Child(PathBuf),
    /// In this process, without limits: for tests and measurements that are not this program.
    ThisProcess,
}

impl Compiler {
    /// A child process of the program that runs.
    pub fn this_program() -> Compiler {
        Compiler::Child(embed::running().unwrap_or_else(|_| PathBuf::from("lakeport")))
    }

    /// The compiled code of a component that the configuration calls `name`, for `cpu`.
    ///
    /// # Errors
    /// Of kind `Config`, where it cannot be compiled or goes over a limit.
    pub(super) fn compile(&self, name: &str, component: &[u8], limits: &Limits, cpu: Cpu) -> Result<Vec<u8>> {
        match self {
            Compiler::Child(program) => compile_in_child(program, name, component, limits, cpu),
            Compiler::ThisProcess => {
                let engine = engine::compiling(cpu)?;
                let code = engine::enter(|| engine.precompile_component(component));
                code.map_err(|error| cannot(name, &format!("{error:#}")))
            }
        }
    }
}

fn cannot(name: &str, why: &str) -> Error {
    Error::config(format!("plugin `{name}` cannot be compiled: {}", printable(why.trim(), MESSAGE as usize)))
}

fn compile_in_child(program: &Path, name: &str, component: &[u8], limits: &Limits, cpu: Cpu) -> Result<Vec<u8>> {
    let broken = |error: io::Error| Error::internal(format!("the compiler of plugin `{name}` cannot be run: {error}"));
    let mut command = Command::new(program);
    command.args(["plugin", "compile-input"]);
    command.arg(limits.compile_memory.to_string()).arg(limits.compile_time.as_secs().saturating_add(1).to_string());
    if cpu == Cpu::Any {
        command.arg("--any-cpu");
    }
    command.env("RAYON_NUM_THREADS", THREADS.to_string()).env_remove("RUST_BACKTRACE");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(broken)?;
    let (mut input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (status, code, message) = thread::scope(|scope| {
        // A compiler that ends early reads no further; its exit status says why.
        scope.spawn(move || input.as_mut().map(|input| input.write_all(component)));
        let code = scope.spawn(|| read(output, limits.compile_memory));
        let message = scope.spawn(|| read(errors, MESSAGE));
        let status = wait(&mut child, limits.compile_time);
        let joined = |thread: thread::ScopedJoinHandle<'_, io::Result<Vec<u8>>>| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a reading thread panicked")))
        };
        (status, joined(code), joined(message))
    });
    let (status, code, message) = (status.map_err(broken)?, code.map_err(broken)?, message.map_err(broken)?);
    match status {
        Some(status) if status.success() => Ok(code),
        Some(status) => Err(explain(name, status, &String::from_utf8_lossy(&message), limits)),
        None => Err(too_slow(name, limits)),
    }
}

/// All that a pipe gives, kept up to `most` bytes.
fn read(pipe: Option<impl Read>, most: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.by_ref().take(most).read_to_end(&mut kept)?;
        io::copy(&mut pipe, &mut io::sink())?;
    }
    Ok(kept)
}

/// How `child` ended; `None` where it took longer than `most` and was ended.
fn wait(child: &mut Child, most: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= most {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

fn too_slow(name: &str, limits: &Limits) -> Error {
    let limit = humantime::format_duration(limits.compile_time);
    Error::config(format!("plugin `{name}` cannot be compiled: it took longer than its limit of {limit}"))
        .with_help(format!("build it with smaller functions, or raise `limits.compile-time` of plugin `{name}`"))
}

/// Why a compiler ended without code.
fn explain(name: &str, status: ExitStatus, message: &str, limits: &Limits) -> Error {
    if status.signal() == Some(libc::SIGXCPU) {
        return too_slow(name, limits);
    }
    // What the allocator says, and what the system says of threads and mappings.
    if message.contains("memory allocation of") || message.to_lowercase().contains("cannot allocate memory") {
        let of_process = hard_limit(libc::RLIMIT_DATA).unwrap_or(libc::RLIM_INFINITY);
        let (limit, raise) = match of_process < limits.compile_memory {
            true => (of_process, String::from("the limit of this process (`ulimit -H -d`)")),
            false => (limits.compile_memory, format!("`limits.compile-memory` of plugin `{name}`")),
        };
        let limit = bytes(limit);
        let error =
            Error::config(format!("plugin `{name}` cannot be compiled: it took more memory than its limit of {limit}"));
        return error.with_help(format!("build it with smaller functions, or raise {raise}"));
    }
    match message.strip_prefix("error: ") {
        Some(message) => cannot(name, message),
        None => cannot(name, &format!("the compiler ended with {status}: {message}")),
    }
}

/// Compiles the component from `input` to `output`, within `memory` bytes and `seconds` for each of its threads: what the child
/// process does. The code is for this machine's CPU, or for `any_cpu` of this program's target.
///
/// # Errors
/// Of kind `Config`: what is wrong with the component.
pub fn compile_input(
    memory: u64,
    seconds: u64,
    any_cpu: bool,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> Result<()> {
    let failed = |what: &str, error: io::Error| Error::internal(format!("{what}: {error}"));
    limit(memory, seconds.saturating_mul(THREADS)).map_err(|error| failed("the limits cannot be set", error))?;
    let engine = engine::compiling(if any_cpu { Cpu::Any } else { Cpu::This })?;
    let mut component = Vec::new();
    input.read_to_end(&mut component).map_err(|error| failed("the component cannot be read", error))?;
    let code = engine::enter(|| engine.precompile_component(&component));
    let code = code.map_err(|error| Error::config(format!("{error:#}")))?;
    let written = output.write_all(&code).and_then(|()| output.flush());
    written.map_err(|error| failed("the code cannot be written", error))
}

/// Limits what this process may take of memory that it can write to, and of processor time; it ends with the one that started it.
fn limit(memory: u64, seconds: u64) -> io::Result<()> {
    // SAFETY: the call takes numbers alone.
    #[cfg(target_os = "linux")]
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // At the soft limit of time the process gets a signal that says so, a while later it is killed.
    for (resource, soft, hard) in [
        (libc::RLIMIT_DATA, memory, memory),
        (libc::RLIMIT_CPU, seconds, seconds.saturating_add(5)),
        (libc::RLIMIT_CORE, 0, 0),
    ] {
        // Nobody but a superuser may raise what the system has set.
        let most = hard_limit(resource)?;
        let limit = libc::rlimit { rlim_cur: soft.min(most), rlim_max: hard.min(most) };
        // SAFETY: the pointer is to a value of the type that the call expects, which outlives it.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// What this process may have at most of a resource.
fn hard_limit(resource: Resource) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a value of the type that the call expects, which outlives it.
    match unsafe { libc::getrlimit(resource, &raw mut limit) } {
        0 => Ok(limit.rlim_max),
        _ => Err(io::Error::last_os_error()),
    }
}
