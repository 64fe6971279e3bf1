//! `pytorch_model.bin`: a zip of raw storages and a pickle that describes the tensors as
//! views of them.
//!
//! The pickle is run by candle's stack machine, one operation at a time and within a budget,
//! because a pickle of a few bytes can describe an object of any size. The resulting object
//! is then validated here.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use candle_core::pickle::{Object, Stack};
use zip::ZipArchive;

use super::{CheckpointError, FloatType};

/// Size limit of the pickle. GPT-2 XL's has 100 kB.
const MAX_PICKLE_BYTES: u64 = 8 << 20;
/// Maximum nesting of objects; a parameter in a dictionary needs 8.
const MAX_DEPTH: usize = 32;
/// Maximum number of objects visited, where the topmost one is visited again after each
/// operation; GPT-2 XL needs some 100,000. Bounds memory at about 50 bytes per object.
const MAX_WORK: usize = 2 << 20;

/// A tensor's location.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    shape: Vec<usize>,
    /// Class of the storage, for example `FloatStorage`.
    storage_class: String,
    /// Name of the storage in the zip.
    storage: String,
    /// Offset into the storage, in values.
    offset: usize,
    /// Whether the values are in row-major order.
    contiguous: bool,
}

/// An open `pytorch_model.bin` whose pickle has been parsed.
pub struct PickleFile {
    pub path: PathBuf,
    zip: ZipArchive<BufReader<fs::File>>,
    entries: BTreeMap<String, Entry>,
}

impl PickleFile {
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let format = |reason: String| CheckpointError::Format { file: path.to_path_buf(), reason };
        let file = fs::File::open(path)
            .map_err(|source| CheckpointError::Io { file: path.to_path_buf(), source })?;
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| {
            format(format!("{error} (files of PyTorch before 1.6 must be saved again, best as safetensors)"))
        })?;
        let names: Vec<String> = zip.file_names().flatten().map(|name| name.into_owned()).collect();
        let Some(name) = names.iter().find(|name| name.ends_with("/data.pkl")) else {
            return Err(format("it has no data.pkl".into()));
        };
        let root = name.strip_suffix(".pkl").unwrap_or(name);
        let mut pickle = Vec::new();
        zip.by_name(name)
            .map_err(|e| format(e.to_string()))?
            .take(MAX_PICKLE_BYTES + 1)
            .read_to_end(&mut pickle)
            .map_err(|e| format(e.to_string()))?;
        if pickle.len() as u64 > MAX_PICKLE_BYTES {
            return Err(format(format!("its data.pkl has over {MAX_PICKLE_BYTES} bytes")));
        }
        let mut entries = state_dict(&pickle).map_err(format)?;
        entries.values_mut().for_each(|entry| entry.storage = format!("{root}/{}", entry.storage));
        Ok(Self { path: path.to_path_buf(), zip, entries })
    }

    /// Returns name -> shape.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.entries.iter().map(|(name, entry)| (name.clone(), entry.shape.clone())).collect()
    }

    /// Reads one tensor's values.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let file = self.path.clone();
        let Some(entry) = self.entries.get(name) else {
            return Err(CheckpointError::Missing { file, name: name.into(), expected: vec![] });
        };
        let float = match entry.storage_class.as_str() {
            "FloatStorage" => FloatType::F32,
            "HalfStorage" => FloatType::F16,
            "BFloat16Storage" => FloatType::Bf16,
            other => {
                return Err(CheckpointError::Dtype { file, name: name.into(), found: other.into() });
            }
        };
        let format = |reason: String| CheckpointError::Format { file: file.clone(), reason };
        if !entry.contiguous {
            return Err(format(format!("tensor `{name}` is not stored contiguously; save it again")));
        }
        let bytes = |values: Option<usize>| values.and_then(|n| n.checked_mul(float.size()));
        let len = bytes(entry.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
        let (Some(len), Some(skip)) = (len, bytes(Some(entry.offset))) else {
            return Err(format(format!("tensor `{name}` is too large")));
        };
        let mut storage = self.zip.by_name(&entry.storage).map_err(|e| format(e.to_string()))?;
        let mut data = Vec::new();
        // Grows with the bytes actually present, whatever the pickle claims.
        std::io::copy(&mut storage.by_ref().take(skip as u64), &mut std::io::sink())
            .and_then(|_| storage.take(len as u64).read_to_end(&mut data))
            .map_err(|e| format(e.to_string()))?;
        if data.len() != len {
            return Err(format(format!("tensor `{name}` has {} bytes; expected {len}", data.len())));
        }
        Ok(float.decode(&data))
    }
}

/// Parses the tensors of a pickled state dictionary.
fn state_dict(pickle: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let items = match unpickle(pickle)? {
        Object::Dict(items) => items,
        // `OrderedDict` with attributes.
        Object::Build { callable, .. } => match *callable {
            Object::Dict(items) => items,
            _ => return Err("its pickle is not a dictionary of tensors".into()),
        },
        _ => return Err("its pickle is not a dictionary of tensors".into()),
    };
    let mut entries = BTreeMap::new();
    for (name, value) in items {
        if let (Object::Unicode(name), Some(entry)) = (name, entry(value)) {
            entries.insert(name, entry);
        }
    }
    match entries.is_empty() {
        true => Err("it has no tensors".into()),
        false => Ok(entries),
    }
}

/// Runs the stack machine to the end, within limits.
fn unpickle(mut pickle: &[u8]) -> Result<Object, String> {
    let mut stack = Stack::empty();
    let mut work = 0;
    loop {
        match pickle {
            // BINUNICODE: candle allocates the claimed length before reading it.
            [b'X', a, b, c, d, rest @ ..]
                if u32::from_le_bytes([*a, *b, *c, *d]) as u64 > rest.len() as u64 =>
            {
                return Err("a string reaches beyond the end of its pickle".into());
            }
            // LONG1: longer integers could overflow candle's shifts into an `i64`.
            [0x8a, len, ..] if *len > 7 => {
                return Err(format!("an integer of {len} bytes in its pickle"));
            }
            _ => {}
        }
        if stack.read(&mut pickle).map_err(|e| first_line(&e.to_string()))? {
            break;
        }
        if let Some(top) = stack.stack().last() {
            measure(top, MAX_DEPTH, &mut work)?;
        }
    }
    stack.finalize().map_err(|e| first_line(&e.to_string()))
}

/// Bytes of a string that count as one object.
const STRING_UNIT: usize = 32;

/// Adds the object's size to `work`. Fails if the total or the depth exceeds its limit.
fn measure(object: &Object, depth: usize, work: &mut usize) -> Result<(), String> {
    *work += 1;
    if *work > MAX_WORK || depth == 0 {
        return Err("its pickle is too large or nested too deep".into());
    }
    match object {
        Object::Unicode(text) => *work += text.len() / STRING_UNIT,
        Object::Class { module_name, class_name } => {
            *work += (module_name.len() + class_name.len()) / STRING_UNIT
        }
        _ => {}
    }
    let mut within = |object: &Object| measure(object, depth - 1, work);
    match object {
        Object::Tuple(items) | Object::List(items) => items.iter().try_for_each(within),
        Object::Dict(items) => items.iter().try_for_each(|(key, value)| {
            within(key)?;
            within(value)
        }),
        Object::Reduce { callable, args } | Object::Build { callable, args } => {
            within(callable)?;
            within(args)
        }
        Object::PersistentLoad(id) => within(id),
        Object::Unicode(_)
        | Object::Class { .. }
        | Object::Int(_)
        | Object::Long(_)
        | Object::Float(_)
        | Object::Bool(_)
        | Object::None
        | Object::Mark => Ok(()),
    }
}

/// Parses the tensor that an object rebuilds. Returns `None` for other objects.
fn entry(object: Object) -> Option<Entry> {
    let (mut callable, mut args) = object.reduce().ok()?;
    if let Object::Class { class_name, .. } = &callable
        && class_name == "_rebuild_parameter"
    {
        let tensor = args.tuple().ok()?.into_iter().next()?;
        (callable, args) = tensor.reduce().ok()?;
    }
    let (module, class) = callable.class().ok()?;
    if module != "torch._utils" || class != "_rebuild_tensor_v2" {
        return None;
    }
    // Storage, offset, size, stride, and arguments that only matter for training.
    let mut args = args.tuple().ok()?.into_iter();
    let storage = args.next()?.persistent_load().ok()?;
    let offset = usize::try_from(args.next()?.int_or_long().ok()?).ok()?;
    let shape = sizes(args.next()?)?;
    let strides = sizes(args.next()?)?;
    // "storage", class, key, device, length.
    let mut storage = storage.tuple().ok()?.into_iter().skip(1);
    let (_, storage_class) = storage.next()?.class().ok()?;
    let key = storage.next()?.unicode().ok()?;
    let contiguous = is_contiguous(&shape, &strides);
    Some(Entry { shape, storage_class, storage: key, offset, contiguous })
}

fn sizes(object: Object) -> Option<Vec<usize>> {
    let items = object.tuple().ok()?;
    items.into_iter().map(|item| usize::try_from(item.int_or_long().ok()?).ok()).collect()
}

fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected = expected.saturating_mul(size);
            fits
        })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tuples_without_end_are_refused() {
        let mut nested = vec![b')'; 1];
        nested.extend(std::iter::repeat_n(0x85, 1 << 20));
        assert!(unpickle(&nested).unwrap_err().contains("too deep"));
    }

    #[test]
    fn doubling_is_refused() {
        // Push (), then repeatedly: memo 0 = top; top = (top, memo 0).
        let mut doubling = vec![b')'];
        for _ in 0..60 {
            doubling.extend([b'q', 0, b'h', 0, 0x86]);
        }
        assert!(unpickle(&doubling).is_err());
    }

    #[test]
    fn a_string_longer_than_the_pickle_is_refused() {
        assert!(unpickle(b"X\xff\xff\xff\xffabc").unwrap_err().contains("string"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = state_dict(&bytes);
        }

        /// Random sequences of valid operations get further than random bytes.
        #[test]
        fn arbitrary_operations_are_no_panic(
            operations in proptest::collection::vec(proptest::sample::select(vec![
                &b"("[..], b")", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"Q", b"}", b"]", b"a", b"e", b"s",
                b"u", b"d", b"N", b"\x88", b"K\x01", b"J\xff\xff\xff\xff", b"X\x01\0\0\0a", b"q\0", b"h\0",
                b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
                b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n", b"\x81", b"\x8a\x01\x05",
            ]), 0..60),
        ) {
            let mut bytes = operations.concat();
            bytes.push(b'.');
            let _ = state_dict(&bytes);
        }
    }
}
