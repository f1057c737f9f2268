//! Kernels as callable memory: a cache that compiles what is missing, in parallel, into modules of their own.
//!
//! A batch of descriptors becomes one JIT module. Every [`Kernel`] keeps its module alive, and the last one to go
//! frees the module's memory. Memory is writable or executable, never both.

use crate::emit::{Code, EmitError, cranelift};
use crate::kernels;
use cranelift_codegen::ir::{AbiParam, Signature, types::I64};
use cranelift_codegen::isa::CallConv;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module as _};
use rectify_ir::kernel::Descriptor;
use rectify_ir::target::{Level, Target};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The entry point of a kernel; `rectify_ir::kernel` documents the arguments.
pub type Entry = unsafe extern "sysv64" fn(
    pointers: *const *mut u8,
    args: *const i64,
    begin: i64,
    end: i64,
    scratch: *mut u8,
);

/// A compiled kernel. Cheap to clone; the code lives as long as any clone does.
#[derive(Clone)]
pub struct Kernel {
    entry: Entry,
    code_bytes: usize,
    _module: Arc<Module>,
}

impl Kernel {
    /// The function. It stays valid as long as this kernel or a clone of it.
    pub fn entry(&self) -> Entry {
        self.entry
    }

    pub fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Calls the kernel on the tasks `begin..end`.
    ///
    /// # Safety
    /// `args` was built for this kernel's descriptor, `pointers` has as many entries as the descriptor says, every
    /// byte of the arguments' spans (with the descriptor's over-read) is valid, the range is within the tasks, and
    /// `scratch` has the descriptor's size and belongs to this call alone.
    pub unsafe fn call(&self, pointers: &[*mut u8], args: &[i64], begin: i64, end: i64, scratch: *mut u8) {
        // Safety: the caller promises what the generated code relies on.
        unsafe { (self.entry)(pointers.as_ptr(), args.as_ptr(), begin, end, scratch) }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernel({} bytes)", self.code_bytes)
    }
}

/// Why kernels could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JitError {
    #[error("kernel `{descriptor}`: {error}")]
    Kernel { descriptor: String, error: EmitError },
    #[error("cannot make code memory: {0}")]
    Memory(String),
    #[error("code for {0} does not run on this machine's architecture")]
    Foreign(Level),
}

/// All kernels compiled so far for one target. Shared by whatever compiles in a process.
pub struct KernelCache {
    target: Target,
    kernels: Mutex<HashMap<Descriptor, Kernel>>,
}

impl KernelCache {
    pub fn new(target: Target) -> Self {
        KernelCache { target, kernels: Mutex::new(HashMap::new()) }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Number of kernels held.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all kernels. Those still held elsewhere stay valid.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The kernels of these descriptors, in their order. What is not there yet is compiled on up to `threads`
    /// threads, without holding up other users of the cache.
    pub fn get(&self, descriptors: &[Descriptor], threads: usize) -> Result<Vec<Kernel>, JitError> {
        let missing: Vec<&Descriptor> = {
            let known = self.lock();
            let mut seen = HashSet::new();
            descriptors.iter().filter(|key| !known.contains_key(key) && seen.insert(*key)).collect()
        };
        let compiled = compile(&missing, &self.target, threads)?;
        let mut known = self.lock();
        for (descriptor, kernel) in missing.into_iter().zip(compiled) {
            known.entry(descriptor.clone()).or_insert(kernel);
        }
        Ok(descriptors.iter().filter_map(|key| known.get(key).cloned()).collect())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Descriptor, Kernel>> {
        // Kernels are inserted whole, so a panic elsewhere leaves no broken entry.
        self.kernels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiles descriptors into one module.
pub fn compile(
    descriptors: &[&Descriptor],
    target: &Target,
    threads: usize,
) -> Result<Vec<Kernel>, JitError> {
    if descriptors.is_empty() {
        return Ok(Vec::new());
    }
    let native = match target.level {
        Level::X86V1 | Level::X86V2 | Level::X86V3 | Level::X86V4 => cfg!(target_arch = "x86_64"),
        Level::Aarch64 => cfg!(target_arch = "aarch64"),
    };
    if !native {
        return Err(JitError::Foreign(target.level));
    }
    let codes = generate(descriptors, target, threads)?;
    link(&codes, target)
}

/// Machine code of each descriptor, in order.
fn generate(descriptors: &[&Descriptor], target: &Target, threads: usize) -> Result<Vec<Code>, JitError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(descriptor) = descriptors.get(index) else { break };
            let result = kernels::compile(descriptor, target)
                .map_err(|error| JitError::Kernel { descriptor: descriptor.to_string(), error });
            results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    let available = std::thread::available_parallelism().map_or(1, NonZero::get);
    let helpers = threads.min(descriptors.len()).min(available).saturating_sub(1);
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Makes code callable: one function per entry, all in one module.
pub fn link(codes: &[Code], target: &Target) -> Result<Vec<Kernel>, JitError> {
    let memory = |error: &dyn fmt::Display| JitError::Memory(error.to_string());
    let isa = cranelift::isa_for(target).map_err(|error| memory(&error))?;
    let mut module = JITModule::new(JITBuilder::with_isa(isa, cranelift_module::default_libcall_names()));
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(I64); 5];
    let mut functions = Vec::new();
    for (index, code) in codes.iter().enumerate() {
        let function = module
            .declare_function(&format!("kernel{index}"), Linkage::Export, &signature)
            .map_err(|error| memory(&error))?;
        module
            .define_function_bytes(function, code.alignment, &code.bytes, &[])
            .map_err(|error| memory(&error))?;
        functions.push(function);
    }
    module.finalize_definitions().map_err(|error| memory(&error))?;
    let addresses: Vec<*const u8> =
        functions.iter().map(|&function| module.get_finalized_function(function)).collect();
    let module = Arc::new(Module(Mutex::new(Some(module))));
    let kernels = codes.iter().zip(addresses).map(|(code, address)| {
        // Safety: the address is the start of a function of exactly this signature and calling convention.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(address) };
        Kernel { entry, code_bytes: code.bytes.len(), _module: Arc::clone(&module) }
    });
    Ok(kernels.collect())
}

// Sessions share kernels between threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Kernel>();
    shared::<KernelCache>();
};

/// Owner of a batch's code memory. The mutex is there for `Sync` alone: nothing but `drop` looks inside.
struct Module(Mutex<Option<JITModule>>);

impl Drop for Module {
    fn drop(&mut self) {
        let module = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(module) = module {
            // Safety: every `Kernel`, hence every call and every pointer that may be called, holds an `Arc` of this.
            unsafe { module.free_memory() };
        }
    }
}
