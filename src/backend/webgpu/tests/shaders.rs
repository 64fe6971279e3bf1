//! Every shader variant: valid within WebGPU's defaults, and rounding every float operation
//! (`kernels/rounded.wgsl`).

use naga::{
    Block, Expression, Function, Handle, MathFunction as Math, Module, ScalarKind, Statement,
    valid::{Capabilities, FunctionInfo, ModuleInfo, SubgroupOperationSet, ValidationFlags, Validator},
};

use super::{super::source::expand, *};
use crate::backend::webgpu::kernel::{Binding, Variant, file};

/// Variants with tunings in which their devices' compilers are exact or not.
fn all_variants() -> Vec<(Variant, bool)> {
    let mut all = Vec::new();
    for exact in [false, true] {
        let mut variants = vec![variants::dense()];
        variants.extend([0, variants::MAX_VISIBLE].map(variants::attention));
        variants.extend(top::variants());
        if exact {
            variants.extend([96, 768].map(variants::norm_quads));
            for (width, head) in [(96, 32), (768, 64), (256, 128)] {
                let visible = [0, variants::MAX_VISIBLE];
                variants.extend(visible.map(|visible| variants::attention_quads(visible, width, head)));
            }
        }
        let tunings = if exact { &[Tuning::SOFTWARE, Tuning::QUADS][..] } else { &[Tuning::HARDWARE] };
        for &tuning in tunings {
            variants.extend([
                variants::norm(tuning),
                variants::pack(tuning),
                variants::store(tuning),
                variants::select(tuning),
            ]);
            variants.extend([Format::Dense, Format::Q8, Format::Q4].map(|f| variants::embed(f, tuning)));
            variants.extend(products().map(|linear| linear.variant(tuning)));
        }
        all.extend(variants.into_iter().map(|variant| (variant, exact)));
    }
    all
}

fn products() -> impl Iterator<Item = Linear> {
    let formats = [Format::Q8, Format::Q4].into_iter();
    let tiled = formats.flat_map(|format| {
        [(1, 1), (4, 1), (4, 2), (4, 4)].map(|(tile, tiles)| Linear {
            format,
            blocks: 24,
            tile,
            tiles,
            bias: false,
            epilogue: Epilogue::Store,
            quantise: false,
        })
    });
    let ended = tiled.flat_map(|linear| {
        [Epilogue::Store, Epilogue::Gelu, Epilogue::Add].map(|epilogue| Linear { epilogue, ..linear })
    });
    ended.flat_map(|linear| {
        [(true, true), (true, false), (false, true), (false, false)].map(|(bias, quantise)| Linear {
            bias,
            quantise,
            ..linear
        })
    })
}

/// Parses and validates a variant's WGSL.
fn validated(variant: &Variant, exact: bool, abilities: Abilities) -> (Module, ModuleInfo) {
    let enables = if abilities.f16 { "enable f16;\n" } else { "" };
    let source = variant.wgsl(abilities, exact, enables).unwrap();
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|e| panic!("{variant:?}\n{}", e.emit_to_string(&source)));
    // Halves packed in words are every WebGPU's.
    let mut allowed = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    allowed.set(Capabilities::SHADER_FLOAT16, abilities.f16);
    allowed.set(Capabilities::SUBGROUP, abilities.subgroups);
    let mut validator = Validator::new(ValidationFlags::all(), allowed);
    if abilities.subgroups {
        validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
        let quads = SubgroupOperationSet::QUAD_FRAGMENT_COMPUTE;
        validator.subgroup_operations(SubgroupOperationSet::BASIC | SubgroupOperationSet::ARITHMETIC | quads);
    }
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{variant:?}\n{e:?}"));
    (module, info)
}

#[test]
fn every_variant_is_valid_within_webgpus_defaults() {
    for (variant, exact) in all_variants() {
        let abilities = every_ability().filter(|a| a.subgroups || !variant.name.ends_with("quads"));
        for abilities in abilities {
            let (module, _) = validated(&variant, exact, abilities);
            // 8 storage buffers, 256 invocations, 16 KiB of workgroup memory.
            let storage = variant.bindings.iter().filter(|b| matches!(b, Binding::Read | Binding::Write));
            assert!(storage.count() <= 8, "{variant:?}");
            for entry in &module.entry_points {
                assert!(entry.workgroup_size.iter().product::<u32>() <= 256, "{variant:?}");
            }
            let mut layouter = naga::proc::Layouter::default();
            layouter.update(module.to_ctx()).unwrap();
            let shared =
                module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
            let bytes: u32 = shared.map(|(_, v)| layouter[v.ty].size).sum();
            assert!(bytes <= 16384, "{variant:?}: {bytes} bytes of workgroup memory");
        }
    }
}

/// Functions that may compute as a compiler likes: integers held in floats, and estimates that are
/// corrected in integers.
fn is_free(name: &str) -> bool {
    name.starts_with("exact_") || ["quotient", "root"].contains(&name)
}

/// Names of the functions that round their argument.
const ROUNDING: [&str; 3] = ["rounded", "rounded4", "rounded_row"];

/// Float operations of a function whose result a compiler may fuse or round otherwise.
fn unrounded(module: &Module, info: &FunctionInfo, function: &Function) -> Vec<Expression> {
    let mut rounded = Vec::new();
    collect_rounded(module, &function.body, &mut rounded);
    let is_float = |handle: Handle<Expression>| {
        info[handle].ty.inner_with(&module.types).scalar_kind() == Some(ScalarKind::Float)
    };
    let expressions = function.expressions.iter().filter(|(handle, expression)| {
        use naga::BinaryOperator::{Add, Divide, Modulo, Multiply, Subtract};
        match expression {
            Expression::Binary { op: Add | Subtract | Multiply, .. } => {
                is_float(*handle) && !rounded.contains(handle)
            }
            Expression::Binary { op: Divide | Modulo, .. } => is_float(*handle),
            // These select, or are exact.
            Expression::Math {
                fun: Math::Abs | Math::Min | Math::Max | Math::Clamp | Math::Round, ..
            } => false,
            Expression::Math { fun: Math::Unpack2x16float, .. } => false,
            Expression::Math { .. } => is_float(*handle),
            _ => false,
        }
    });
    expressions.map(|(_, expression)| expression.clone()).collect()
}

/// The arguments of calls that round.
fn collect_rounded(module: &Module, block: &Block, rounded: &mut Vec<Handle<Expression>>) {
    for statement in block {
        match statement {
            Statement::Call { function, arguments, .. } => {
                let name = module.functions[*function].name.as_deref().unwrap_or_default();
                if ROUNDING.contains(&name) {
                    rounded.extend(arguments);
                }
            }
            Statement::Block(block) => collect_rounded(module, block, rounded),
            Statement::If { accept, reject, .. } => {
                collect_rounded(module, accept, rounded);
                collect_rounded(module, reject, rounded);
            }
            Statement::Loop { body, continuing, .. } => {
                collect_rounded(module, body, rounded);
                collect_rounded(module, continuing, rounded);
            }
            Statement::Switch { cases, .. } => {
                cases.iter().for_each(|case| collect_rounded(module, &case.body, rounded));
            }
            _ => {}
        }
    }
}

#[test]
fn every_float_operation_is_rounded() {
    let mut linted = 0;
    for (variant, _) in all_variants().into_iter().filter(|(_, exact)| !exact) {
        for abilities in every_ability() {
            let (module, info) = validated(&variant, false, abilities);
            for (handle, function) in module.functions.iter() {
                let name = function.name.as_deref().unwrap_or_default();
                let found = unrounded(&module, &info[handle], function);
                assert!(found.is_empty() || is_free(name), "{variant:?}, {name}: {found:?}");
                linted += usize::from(!is_free(name));
            }
            let main = &module.entry_points[0].function;
            let found = unrounded(&module, info.get_entry_point(0), main);
            assert!(found.is_empty(), "{variant:?}: {found:?}");
            // The zero is set before it is used.
            let computes = !module.functions.iter().all(|(_, f)| f.name.as_deref() != Some("rounded"));
            assert_eq!(computes, begins_rounding(&module, &main.body), "{variant:?}");
        }
    }
    assert!(linted > 0);
}

fn begins_rounding(module: &Module, body: &Block) -> bool {
    body.iter().any(|statement| match statement {
        Statement::Call { function, .. } => {
            module.functions[*function].name.as_deref() == Some("begin_rounding")
        }
        _ => false,
    })
}

/// Divides pairs of floats, and takes the roots of the first of each.
const PAIRS: &str = "
@group(0) @binding(0) var<storage, read> pairs: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> results: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < arrayLength(&pairs)) {
    let pair = pairs[id.x];
    results[id.x] = vec2<f32>(divided(pair.x, pair.y), root(abs(pair.x)));
  }
}
";

#[test]
fn quotients_and_roots_are_correctly_rounded_from_inexact_estimates() {
    let exact = expand("rounded", &[("EXACT", 0)], file).unwrap();
    let (quotient, root) = ("f32(dividend) / f32(divisor)", "sqrt(f32(radicand))");
    assert!(exact.contains(quotient) && exact.contains(root));
    let mut random = Random(11);
    let mut pairs: Vec<(f32, f32)> = vec![(0.0, 3.0), (-0.0, 3.0), (3e38, 0.7), (1.0, 1.0)];
    // All significands near powers of two, and random ones, over many exponents.
    for i in 0..40_000 {
        let mut float = |sign: u32| {
            let significand = match i % 4 {
                0 => random.next() & 7,
                1 => 0x7f_ffff - (random.next() & 7),
                _ => random.next() & 0x7f_ffff,
            };
            f32::from_bits(sign << 31 | (67 + random.next() % 120) << 23 | significand)
        };
        pairs.push((float(i % 2), float(0)));
    }
    let Some(gpu) = gpus().into_iter().next() else { return };
    // As a device has them, and as far off as WGSL allows, to either side.
    for factor in ["1.0", "1.0000003", "0.9999997"] {
        let source = exact
            .replace(quotient, &format!("{quotient} * {factor}"))
            .replace(root, &format!("{root} * {factor}"));
        let results = computed(&gpu, &format!("{source}{PAIRS}"), &pairs);
        for (&(a, b), found) in pairs.iter().zip(results) {
            let expected = [a / b, a.abs().sqrt()];
            assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits), "{a:e} / {b:e} by {factor}");
        }
    }
}

/// The results of [`PAIRS`].
fn computed(gpu: &Gpu, source: &str, pairs: &[(f32, f32)]) -> Vec<[f32; 2]> {
    use wgpu::{BufferUsages, util::DeviceExt};
    let device = &gpu.device.device;
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let contents: Vec<f32> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
    let from = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(&contents),
        usage: BufferUsages::STORAGE,
    });
    let bytes = 8 * pairs.len() as u64;
    let to = gpu.device.buffer("results", bytes, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
    let entries = [(0, &from), (1, &to)]
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(pairs.len().div_ceil(64) as u32, 1, 1);
    }
    let mut reader = Reader::default();
    let words = words(&pollster::block_on(reader.read(&gpu.device, encoder, &to, bytes)).unwrap());
    words.as_chunks::<2>().0.iter().map(|pair| pair.map(f32::from_bits)).collect()
}
