//! A Bluesky repository export: a CAR version 1 file, that is a header and blocks, each with its
//! hash. The header names the commit; the commit has the account's DID and the root of a search
//! tree (MST), whose entries map paths, `app.bsky.feed.post/3k…`, in order of time, to records.
//!
//! Records are found by walking the tree: a block without an entry is a deleted record. Every block
//! read is verified against its hash. The framing is parsed here because the crates for it are
//! asynchronous; hash names and CBOR are parsed by `ipld-core` and `serde_ipld_dagcbor`. Sources:
//! <https://ipld.io/specs/transport/car/carv1/>, <https://atproto.com/specs/repository>.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use ipld_core::cid::Cid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::{Decode, POST, PROFILE, REPOST, Records};
use crate::tweets::error::{Place, ReadError};
use crate::tweets::post::Archive;

/// Maximum size of a header, which names a root or two.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Maximum length of a record's path, in bytes (the protocol's own limit).
const MAX_PATH_BYTES: usize = 1024;

/// Maximum size of all records and their paths, as a multiple of the file's. Records with a block
/// each are smaller than the file; a crafted tree can name one block thousands of times.
const MAX_RATIO: usize = 4;

/// Multihash code of SHA-256.
const SHA2_256: u64 = 0x12;

#[derive(Deserialize)]
struct Header {
    version: u64,
    #[serde(default)]
    roots: Vec<Cid>,
}

#[derive(Deserialize)]
struct Commit {
    did: String,
    data: Cid,
}

/// A node of the search tree.
#[derive(Deserialize)]
struct TreeNode {
    /// The node with all paths before the first entry's.
    #[serde(default)]
    l: Option<Cid>,
    e: Vec<TreeEntry>,
}

#[derive(Deserialize)]
struct TreeEntry {
    /// Number of bytes that the path shares with the previous entry's.
    p: u64,
    /// The rest of the path.
    k: ByteBuf,
    /// The record.
    v: Cid,
    /// The node with all paths between this entry's and the next.
    #[serde(default)]
    t: Option<Cid>,
}

/// Whether the bytes begin like a CAR of either version.
pub fn is_car(head: &[u8]) -> bool {
    let mut rest = head;
    read_varint(&mut rest).is_ok()
        && (rest.starts_with(b"\xa2\x65roots") || rest.starts_with(b"\xa1\x67version"))
}

/// Reads the bytes of an export. `stem` is the file's name, which may be the handle.
///
/// # Errors
/// Cut short, damaged, of another version, or not a repository export. Intact records that do not
/// fit their collection are skipped and counted.
pub fn read(label: &str, stem: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    let car = Car::open(label, bytes)?;
    let commit: Commit = car.decode(&car.root, "its commit")?;
    let mut records = Records::default();
    for (path, cid) in car.records(commit.data)? {
        let block = car.block(&cid, &path)?;
        let collection = path.split('/').next().unwrap_or_default();
        records.take(collection, path.clone(), Cbor { block, path: &path });
    }
    Ok(records.into_archive(stem, Some(&commit.did)))
}

/// A record's block, and its name in messages.
struct Cbor<'a> {
    block: &'a [u8],
    path: &'a str,
}

impl Decode for Cbor<'_> {
    fn decode<T: DeserializeOwned>(self) -> Result<T, String> {
        serde_ipld_dagcbor::from_slice(self.block)
            .map_err(|_| format!("{}: a field is missing or of another kind", self.path))
    }
}

struct Car<'a> {
    label: &'a str,
    bytes: &'a [u8],
    root: Cid,
    blocks: HashMap<Cid, Range<usize>>,
}

impl<'a> Car<'a> {
    fn open(label: &'a str, bytes: &'a [u8]) -> Result<Self, ReadError> {
        let bad = |problem: &str| bad_car(label, problem);
        let mut rest = bytes;
        let header = take_section(&mut rest).map_err(bad)?;
        if header.len() > MAX_HEADER_BYTES {
            return Err(bad("its header is too long"));
        }
        let header: Header =
            serde_ipld_dagcbor::from_slice(header).map_err(|_| bad("its header is no CAR's"))?;
        if header.version != 1 {
            return Err(bad(&format!("it is CAR version {}, version 1 is read", header.version)));
        }
        let root = *header.roots.first().ok_or_else(|| bad("its header names no commit"))?;
        let mut blocks = HashMap::new();
        while !rest.is_empty() {
            let section = take_section(&mut rest).map_err(bad)?;
            let mut data = section;
            let cid = Cid::read_bytes(&mut data).map_err(|_| bad("a block has no hash"))?;
            let end = bytes.len() - rest.len();
            blocks.insert(cid, end - data.len()..end);
        }
        Ok(Self { label, bytes, root, blocks })
    }

    /// The block with this hash, verified.
    fn block(&self, cid: &Cid, what: &str) -> Result<&'a [u8], ReadError> {
        let bad = |problem: &str| bad_car(self.label, &format!("{what} {problem}"));
        let range = self.blocks.get(cid).cloned().ok_or_else(|| bad("is missing"))?;
        let block = self.bytes.get(range).ok_or_else(|| bad("is missing"))?;
        let hash = cid.hash();
        if hash.code() != SHA2_256 {
            return Err(bad("has a hash of an unknown kind"));
        }
        if Sha256::digest(block).as_slice() != hash.digest() {
            return Err(bad("is damaged"));
        }
        Ok(block)
    }

    fn decode<T: DeserializeOwned>(&self, cid: &Cid, what: &str) -> Result<T, ReadError> {
        let block = self.block(cid, what)?;
        serde_ipld_dagcbor::from_slice(block)
            .map_err(|_| bad_car(self.label, &format!("{what} does not have the expected form")))
    }

    /// Path and hash of each record to read, in the order of the tree.
    fn records(&self, root: Cid) -> Result<Vec<(String, Cid)>, ReadError> {
        enum Visit {
            Node(Cid),
            Record(String, Cid),
        }
        const WHAT: &str = "a node of its tree";
        let bad = |problem: &str| bad_car(self.label, &format!("{WHAT} {problem}"));
        let (mut records, mut seen) = (Vec::new(), HashSet::new());
        let mut left = self.bytes.len().saturating_mul(MAX_RATIO);
        let mut stack = vec![Visit::Node(root)];
        while let Some(visit) = stack.pop() {
            let cid = match visit {
                Visit::Record(path, cid) => {
                    records.push((path, cid));
                    continue;
                }
                Visit::Node(cid) => cid,
            };
            if !seen.insert(cid) {
                return Err(bad("stands in it twice"));
            }
            let node: TreeNode = self.decode(&cid, WHAT)?;
            let mut path = Vec::new();
            let mut visits = Vec::new();
            visits.extend(node.l.map(Visit::Node));
            for entry in node.e {
                let shared = usize::try_from(entry.p).unwrap_or(usize::MAX);
                if shared > path.len() || shared + entry.k.len() > MAX_PATH_BYTES {
                    return Err(bad("has a path that cannot be"));
                }
                path.truncate(shared);
                path.extend_from_slice(&entry.k);
                let text = std::str::from_utf8(&path).map_err(|_| bad("has a path that is no text"))?;
                let collection = text.split('/').next().unwrap_or_default();
                if [POST, REPOST, PROFILE].contains(&collection) {
                    let size = text.len() + self.blocks.get(&entry.v).map_or(0, Range::len);
                    left = left.checked_sub(size).ok_or_else(|| bad("names the same records too often"))?;
                    visits.push(Visit::Record(text.to_owned(), entry.v));
                }
                visits.extend(entry.t.map(Visit::Node));
            }
            stack.extend(visits.into_iter().rev());
        }
        Ok(records)
    }
}

fn bad_car(label: &str, problem: &str) -> ReadError {
    ReadError::BadCar { place: Place::file(label), problem: problem.to_owned() }
}

/// An unsigned LEB128 number of at most 63 bits, as in multiformats.
fn read_varint(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or("it is cut short")?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a length is too long")
}

/// A length and that many bytes.
fn take_section<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let length = usize::try_from(read_varint(rest)?).map_err(|_| "a length is too long")?;
    let (section, after) = rest.split_at_checked(length).ok_or("it is cut short")?;
    *rest = after;
    Ok(section)
}

#[cfg(test)]
pub(crate) mod tests {
    use ipld_core::cid::multihash::Multihash;
    use ipld_core::ipld;
    use ipld_core::ipld::Ipld;
    use proptest::prelude::*;

    use super::*;
    use crate::tweets::Unreadable;

    /// Builds an export block by block.
    pub(crate) struct Writer(Vec<(Cid, Vec<u8>)>);

    impl Writer {
        fn put_bytes(&mut self, bytes: Vec<u8>) -> Cid {
            let hash = Multihash::wrap(SHA2_256, &Sha256::digest(&bytes)).unwrap();
            let cid = Cid::new_v1(0x71, hash);
            self.0.push((cid, bytes));
            cid
        }

        fn put(&mut self, value: Ipld) -> Cid {
            self.put_bytes(serde_ipld_dagcbor::to_vec(&value).unwrap())
        }

        fn node(&mut self, left: Option<Cid>, entries: Vec<(u64, &str, Cid, Option<Cid>)>) -> Cid {
            let link = |cid: Option<Cid>| cid.map_or(Ipld::Null, Ipld::Link);
            let entries = entries.into_iter().map(
                |(p, k, v, t)| ipld!({"p": p, "k": Ipld::Bytes(k.into()), "v": Ipld::Link(v), "t": link(t)}),
            );
            let entries = Ipld::List(entries.collect());
            self.put(ipld!({"l": link(left), "e": entries}))
        }

        fn finish(mut self, tree: Cid) -> Vec<u8> {
            let commit = self.put(ipld!({"did": "did:plc:keeper", "version": 3, "data": Ipld::Link(tree),
                "rev": "3k", "prev": null, "sig": Ipld::Bytes(vec![0; 64])}));
            car(&ipld!({"version": 1, "roots": [Ipld::Link(commit)]}), &self.0)
        }
    }

    fn car(header: &Ipld, blocks: &[(Cid, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut section = |parts: &[&[u8]]| {
            let mut length: usize = parts.iter().map(|part| part.len()).sum();
            while length >= 0x80 {
                out.push(length as u8 | 0x80);
                length >>= 7;
            }
            out.push(length as u8);
            parts.iter().for_each(|part| out.extend_from_slice(part));
        };
        section(&[&serde_ipld_dagcbor::to_vec(header).unwrap()]);
        for (cid, bytes) in blocks {
            section(&[&cid.to_bytes(), bytes]);
        }
        out
    }

    fn post(text: &str) -> Ipld {
        ipld!({"$type": POST, "text": text, "createdAt": "2024-05-06T07:08:09.000Z", "langs": ["en"]})
    }

    /// Three posts on two levels of the tree, a repost, a like, a profile with a picture, and a
    /// deleted post that no entry names.
    pub(crate) fn small_export() -> Vec<u8> {
        let mut w = Writer(Vec::new());
        w.put(post("deleted"));
        let text = "Grüße lights.example/lo... now";
        let with_link = w.put(ipld!({"$type": POST, "text": text, "createdAt": "2024-05-06T07:08:09.000Z",
            "langs": ["de"], "facets": [{"index": {"byteStart": 8, "byteEnd": 28},
                "features": [{"$type": "app.bsky.richtext.facet#link", "uri": "https://lights.example/log/1871"}]}]}));
        let picture = Ipld::Link(with_link);
        let profile = w.put(
            ipld!({"$type": PROFILE, "displayName": "The Keeper", "avatar": {"ref": picture, "size": 7}}),
        );
        let first = w.put(post("the first"));
        let answer = w
            .put(ipld!({"$type": POST, "text": "an answer", "createdAt": "2024-05-07T07:08:09.000Z",
            "reply": {"root": {"uri": "at://x"}, "parent": {"uri": "at://x"}}}));
        let repost = w
            .put(ipld!({"$type": REPOST, "createdAt": "2024-01-01T00:00:00Z", "subject": {"uri": "at://x"}}));
        let like = w.put(ipld!({"$type": "app.bsky.feed.like"}));
        let low = w.node(None, vec![(0, "app.bsky.feed.post/3a", first, None), (20, "b", with_link, None)]);
        let left = w.node(
            None,
            vec![(0, "app.bsky.actor.profile/self", profile, None), (9, "feed.like/3a", like, None)],
        );
        let top = w.node(
            Some(left),
            vec![
                (0, "app.bsky.feed.postgate/3a", like, Some(low)),
                (18, "/3c", answer, None),
                (14, "repost/3a", repost, None),
            ],
        );
        w.finish(top)
    }

    #[test]
    fn the_tree_gives_the_records_in_its_order() {
        let bytes = small_export();
        assert!(is_car(&bytes));
        let archive = read("repo.car", "repo", &bytes).unwrap();
        assert_eq!((archive.handle.as_str(), archive.name.as_str()), ("did:plc:keeper", "The Keeper"));
        let texts: Vec<_> = archive.posts.iter().map(|post| (post.text.as_str(), post.is_retweet)).collect();
        assert_eq!(texts, [("the first", false), ("Grüße  now", false), ("an answer", false), ("", true)]);
        assert_eq!(archive.posts[0].id.as_deref(), Some("app.bsky.feed.post/3a"));
        assert_eq!(
            (archive.posts[1].langs.join(","), archive.posts[1].in_reply_to),
            ("de".into(), Some(false))
        );
        assert!(archive.posts[2].in_reply_to == Some(true) && archive.posts[2].langs.is_empty());
    }

    #[test]
    fn every_cut_is_refused_in_one_sentence() {
        let bytes = small_export();
        for end in 0..bytes.len() {
            let error = read("repo.car", "repo", &bytes[..end]).unwrap_err().to_string();
            assert!(error.starts_with("repo.car: ") && error.contains("export it again"), "{end}: {error}");
        }
    }

    #[test]
    fn damage_to_what_is_read_is_found() {
        let bytes = small_export();
        let at = bytes.windows(9).position(|w| w == b"the first").unwrap();
        let mut damaged = bytes.clone();
        damaged[at] = b'T';
        let error = read("repo.car", "repo", &damaged).unwrap_err().to_string();
        assert_eq!(
            error,
            "repo.car: is not a whole Bluesky repository export (app.bsky.feed.post/3a is damaged); export it again"
        );
    }

    #[test]
    fn headers_that_are_none_are_refused() {
        let error = |bytes: &[u8]| read("repo.car", "repo", bytes).unwrap_err().to_string();
        assert!(error(b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f").contains("cut short"));
        assert!(error(&[0xff; 12]).contains("a length is too long"));
        assert!(error(&car(&ipld!({"version": 2, "roots": []}), &[])).contains("it is CAR version 2"));
        assert!(error(&car(&ipld!({"version": 1, "roots": []}), &[])).contains("names no commit"));
        let long = ipld!({"version": 1, "roots": [], "x": Ipld::Bytes(vec![0; MAX_HEADER_BYTES])});
        assert!(error(&car(&long, &[])).contains("header is too long"));
        // Deeply nested lists.
        let mut deep = vec![0x80, 0x80, 0x04];
        deep.extend(vec![0x81; 1 << 16]);
        assert!(error(&deep).contains("header"));
    }

    #[test]
    fn trees_that_cannot_be_are_refused() {
        let refused = |build: &dyn Fn(&mut Writer) -> Cid| {
            let mut w = Writer(Vec::new());
            let tree = build(&mut w);
            read("repo.car", "repo", &w.finish(tree)).unwrap_err().to_string()
        };
        let twice = refused(&|w| {
            let record = w.put(post("x"));
            let low = w.node(None, vec![]);
            w.node(Some(low), vec![(0, "app.bsky.feed.post/3a", record, Some(low))])
        });
        assert!(twice.contains("stands in it twice"), "{twice}");
        let shared = refused(&|w| {
            let record = w.put(post("x"));
            w.node(None, vec![(7, "app.bsky.feed.post/3a", record, None)])
        });
        assert!(shared.contains("path that cannot be"), "{shared}");
        let missing = refused(&|w| {
            let record = w.put(post("x"));
            w.0.pop();
            w.node(None, vec![(0, "app.bsky.feed.post/3a", record, None)])
        });
        assert!(missing.contains("app.bsky.feed.post/3a is missing"), "{missing}");
    }

    #[test]
    fn a_record_named_again_and_again_is_refused() {
        let export = |names: usize| {
            let mut w = Writer(Vec::new());
            let record = w.put(post(&"x".repeat(10_000)));
            let keys: Vec<String> = (0..names).map(|n| format!("app.bsky.feed.post/{n:04}")).collect();
            let tree = w.node(None, keys.iter().map(|key| (0, key.as_str(), record, None)).collect());
            read("repo.car", "repo", &w.finish(tree))
        };
        assert_eq!(export(3).unwrap().posts.len(), 3);
        let error = export(100).unwrap_err().to_string();
        assert!(error.contains("a node of its tree names the same records too often"), "{error}");
    }

    #[test]
    fn what_is_no_post_is_left_out_and_counted() {
        let mut w = Writer(Vec::new());
        let whole = w.put(post("the lamp"));
        let wrong = w.put(ipld!({"text": 7}));
        // Deeply nested lists, as a record and as its facets.
        let deep = |start: &[u8]| [start, &[0x81; 1 << 16], &[0x80]].concat();
        let list = w.put_bytes(deep(&[]));
        let facets = w.put_bytes(deep(b"\xa2\x64text\x61x\x66facets"));
        let odd =
            w.put(ipld!({"text": "the sea", "facets": [7, {"index": {"byteStart": (-1), "byteEnd": 3}}]}));
        let key = "app.bsky.feed.post/3a";
        let entries = vec![
            (0, key, whole, None),
            (20, "b", wrong, None),
            (20, "c", list, None),
            (20, "d", facets, None),
            (20, "e", odd, None),
        ];
        let tree = w.node(None, entries);
        let archive = read("repo.car", "repo", &w.finish(tree)).unwrap();
        let texts: Vec<_> = archive.posts.iter().map(|post| post.text.as_str()).collect();
        assert_eq!(texts, ["the lamp", "the sea"]);
        let first = "app.bsky.feed.post/3b: a field is missing or of another kind".to_owned();
        assert_eq!(archive.unreadable, Unreadable { count: 3, first });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (is_car(&bytes), read("a.car", "a", &bytes));
        }

        #[test]
        fn any_mutation_is_read_or_refused(at: prop::sample::Index, byte: u8) {
            let mut bytes = small_export();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read("a.car", "a", &bytes);
        }

        #[test]
        fn any_record_and_any_node_are_read_or_refused(record: Vec<u8>, node: Vec<u8>, swap: bool) {
            let mut w = Writer(Vec::new());
            let record = w.put_bytes(record);
            let node = if swap { w.put_bytes(node) } else {
                w.node(None, vec![(0, "app.bsky.feed.post/3a", record, None)])
            };
            let _ = read("a.car", "a", &w.finish(node));
        }
    }
}
