//! Kernels: a variant of a WGSL file, its bindings and its pipeline.

use std::{
    borrow::Cow,
    cell::RefCell,
    hash::{Hash, Hasher},
    rc::Rc,
};

use hashbrown::HashMap;

use super::{
    device::{Abilities, Device},
    source::{Definition, SourceError, expand},
};

/// Returns the source of a shader file in `kernels/`.
pub fn file(name: &str) -> Option<&'static str> {
    Some(match name {
        "attention" => include_str!("kernels/attention.wgsl"),
        "attention_quads" => include_str!("kernels/attention_quads.wgsl"),
        "bound" => include_str!("kernels/bound.wgsl"),
        "collect" => include_str!("kernels/collect.wgsl"),
        "dense" => include_str!("kernels/dense.wgsl"),
        "embed" => include_str!("kernels/embed.wgsl"),
        "gelu" => include_str!("kernels/gelu.wgsl"),
        "linear" => include_str!("kernels/linear.wgsl"),
        "linear_quads" => include_str!("kernels/linear_quads.wgsl"),
        "maxima" => include_str!("kernels/maxima.wgsl"),
        "norm" => include_str!("kernels/norm.wgsl"),
        "norm_quads" => include_str!("kernels/norm_quads.wgsl"),
        "order" => include_str!("kernels/order.wgsl"),
        "pack" => include_str!("kernels/pack.wgsl"),
        "piece" => include_str!("kernels/piece.wgsl"),
        "product" => include_str!("kernels/product.wgsl"),
        "quads" => include_str!("kernels/quads.wgsl"),
        "quantise" => include_str!("kernels/quantise.wgsl"),
        "reduce" => include_str!("kernels/reduce.wgsl"),
        "rounded" => include_str!("kernels/rounded.wgsl"),
        "select" => include_str!("kernels/select.wgsl"),
        "store" => include_str!("kernels/store.wgsl"),
        "weights" => include_str!("kernels/weights.wgsl"),
        _ => return None,
    })
}

/// How a kernel uses a binding; bindings are listed in the order of their numbers. The first is
/// always [`Binding::Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// A uniform with the kernel's dimensions.
    Shape,
    /// The current piece of the batch: a uniform with a dynamic offset.
    Piece,
    Read,
    Write,
}

/// A variant of a kernel. One is created for every dispatch, about a hundred per token, so it
/// allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Name of its file.
    pub name: &'static str,
    pub bindings: &'static [Binding],
    pub definitions: Definitions,
}

/// Maximum number of definitions of a variant.
const MAX_DEFINITIONS: usize = 12;

/// The preprocessor definitions of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definitions {
    all: [Definition; MAX_DEFINITIONS],
    count: usize,
}

impl Definitions {
    /// Concatenates two lists, of at most [`MAX_DEFINITIONS`] together.
    pub fn of(some: &[Definition], others: &[Definition]) -> Self {
        let mut all = [("", 0); MAX_DEFINITIONS];
        let count = some.len() + others.len();
        // The tests create every variant.
        debug_assert!(count <= MAX_DEFINITIONS, "a variant of {count} definitions");
        all[..some.len()].copy_from_slice(some);
        all[some.len()..count].copy_from_slice(others);
        Self { all, count }
    }

    pub fn as_slice(&self) -> &[Definition] {
        &self.all[..self.count]
    }
}

/// Hashes values only: variants of a file differ in them.
impl Hash for Variant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.definitions.as_slice().iter().for_each(|definition| definition.1.hash(state));
    }
}

impl Variant {
    /// Returns its WGSL for a device with these features. `exact`: the device's compiler rounds every
    /// float operation as written.
    pub fn wgsl(&self, abilities: Abilities, exact: bool, enables: &str) -> Result<String, SourceError> {
        let mut definitions = self.definitions.as_slice().to_vec();
        definitions.push(("SUBGROUPS", abilities.subgroups.into()));
        definitions.push(("EXACT", exact.into()));
        definitions.push(("F16", abilities.f16.into()));
        definitions.push(("PACKED_DOT", abilities.packed_dot.into()));
        Ok(format!("{enables}{}", expand(self.name, &definitions, file)?))
    }
}

/// A compiled kernel.
#[derive(Debug)]
pub struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// Identifies the pipeline in bind-group keys.
    pub id: u32,
    /// Whether it takes the piece's offset.
    pub by_piece: bool,
}

/// The compiled kernels of a device; each variant is compiled once.
#[derive(Debug, Default)]
pub struct Pipelines {
    compiled: RefCell<HashMap<Variant, Rc<Pipeline>>>,
}

impl Pipelines {
    /// Returns a kernel, compiling it on first use.
    pub fn get(&self, device: &Device, variant: &Variant) -> Rc<Pipeline> {
        if let Some(found) = self.compiled.borrow().get(variant) {
            return found.clone();
        }
        let mut compiled = self.compiled.borrow_mut();
        let pipeline = Rc::new(compile(device, variant, compiled.len() as u32));
        compiled.insert(*variant, pipeline.clone());
        pipeline
    }

    /// Returns the number of kernels compiled so far.
    pub fn count(&self) -> usize {
        self.compiled.borrow().len()
    }
}

fn compile(device: &Device, variant: &Variant, id: u32) -> Pipeline {
    let source =
        variant.wgsl(device.abilities, device.as_software, &device.enables).unwrap_or_else(|error| {
            device.health.report(format!("shader {}: {error}", variant.name));
            String::new()
        });
    let module = device.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(variant.name),
        source: wgpu::ShaderSource::Wgsl(Cow::Owned(source)),
    });
    let entries: Vec<_> = (0..).zip(variant.bindings).map(|(i, binding)| entry(i, *binding)).collect();
    let layout = device.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(variant.name),
        entries: &entries,
    });
    let pipeline_layout = device.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(variant.name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(variant.name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            // No kernel reads workgroup memory before writing it.
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    Pipeline { pipeline, layout, id, by_piece: variant.bindings.contains(&Binding::Piece) }
}

fn entry(binding: u32, kind: Binding) -> wgpu::BindGroupLayoutEntry {
    let ty = match kind {
        Binding::Shape | Binding::Piece => wgpu::BufferBindingType::Uniform,
        Binding::Read | Binding::Write => {
            wgpu::BufferBindingType::Storage { read_only: kind == Binding::Read }
        }
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: kind == Binding::Piece,
            min_binding_size: None,
        },
        count: None,
    }
}
