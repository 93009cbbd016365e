//! What an image's archive has where, in each of the layouts that Engines write.
//!
//! `manifest.json` names the file of the configuration and the file of each layer, lowest first; it
//! stands behind them. A configuration says the diff ID of each layer in the same order. So one
//! reading of the archive tells which file is which layer, and a second one can leave files out.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;

use super::entries::{EntryPiece, EntryReader};
use super::tar::TarFault;
use crate::base::sorted_map::SortedMap;
use crate::base::ustar;
use crate::limits::SHIP_CONFIGURATION_BYTES_MAX;

/// The list of an archive's images.
const MANIFEST: &str = "manifest.json";
const FILE_MODE: u32 = 0o644;

/// An image in its Engine's archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchivedImage {
    /// The image's configuration, as it is.
    pub(crate) configuration: Vec<u8>,
    /// The file of each layer and its size, by diff ID.
    layers: SortedMap<String, (String, u64)>,
}

impl ArchivedImage {
    /// The files that are the layers `digests`, and the diff ID of each.
    pub(crate) fn files(&self, digests: &BTreeSet<&String>) -> SortedMap<String, String> {
        let wanted = self.layers.iter().filter(|(digest, _)| digests.contains(digest));
        wanted.map(|(digest, (file, _))| (file.clone(), digest.clone())).collect()
    }

    /// Bytes of the layers `digests` in the archive.
    pub(crate) fn size(&self, digests: &BTreeSet<&String>) -> u64 {
        let wanted = self.layers.iter().filter(|(digest, _)| digests.contains(digest));
        wanted.map(|(_, (_, size))| size).sum()
    }

    /// What an archive of this image begins with, whose layers have these diff IDs:
    /// configuration and `manifest.json`, in the layout that every Engine and either store takes.
    pub(crate) fn archive_head(&self, digests: &[String]) -> Vec<u8> {
        let name = "config.json";
        let layers: Vec<String> = digests.iter().map(|digest| layer_name(digest)).collect();
        let manifest = json!([{ "Config": name, "RepoTags": null, "Layers": layers }]).to_string();
        let files = [(name, self.configuration.as_slice()), (MANIFEST, manifest.as_bytes())];
        let mut archive = Vec::new();
        for (name, content) in files {
            let length = content.len() as u64;
            archive.extend_from_slice(&ustar::header(name, FILE_MODE, length));
            archive.extend_from_slice(content);
            archive.extend_from_slice(ustar::padding(length));
        }
        archive
    }
}

/// What stands before a layer in an archive with [`ArchivedImage::archive_head`]; `None` if it is
/// too long for that.
pub(super) fn layer_head(digest: &str, length: u64) -> Option<[u8; ustar::BLOCK_BYTES]> {
    (length <= ustar::FILE_BYTES_MAX).then(|| ustar::header(&layer_name(digest), FILE_MODE, length))
}

fn layer_name(digest: &str) -> String {
    format!("{}/layer.tar", digest.strip_prefix("sha256:").unwrap_or(digest))
}

/// The layers of an image whose lowest `held` layers the receiver has: those that it has and that
/// are not needed again further up, and those that are to be sent.
pub(crate) fn divide(digests: &[String], held: usize) -> (BTreeSet<&String>, BTreeSet<&String>) {
    let (lower, upper) = digests.split_at(held.min(digests.len()));
    let sent: BTreeSet<&String> = upper.iter().collect();
    (lower.iter().filter(|digest| !sent.contains(digest)).collect(), sent)
}

/// Looks for an image in an archive as it passes.
#[derive(Debug)]
pub(crate) struct ArchiveScan<'a> {
    /// Diff IDs of the image's layers, lowest first.
    digests: &'a [String],
    entries: EntryReader,
    /// The size of each file.
    sizes: SortedMap<String, u64>,
    /// The file that passes, if it may be one of the two that are looked at.
    open: Option<OpenFile>,
    configuration: Option<(String, Vec<u8>)>,
    manifest: Vec<u8>,
}

#[derive(Debug)]
struct OpenFile {
    name: String,
    size: usize,
    content: Vec<u8>,
}

impl<'a> ArchiveScan<'a> {
    /// For an image whose layers have these diff IDs.
    pub(crate) fn new(digests: &'a [String]) -> ArchiveScan<'a> {
        ArchiveScan {
            digests,
            entries: EntryReader::default(),
            sizes: SortedMap::new(),
            open: None,
            configuration: None,
            manifest: Vec::new(),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`TarFault`], from then on always.
    pub(crate) fn push(&mut self, mut input: &[u8]) -> Result<(), TarFault> {
        while !input.is_empty() {
            let (taken, piece) = self.entries.push(input)?;
            match piece {
                EntryPiece::None => {}
                EntryPiece::File { name, size } => {
                    self.sizes.insert(name.clone(), size);
                    let size = usize::try_from(size).ok();
                    let size = size.filter(|&size| size <= SHIP_CONFIGURATION_BYTES_MAX);
                    self.open = size.map(|size| OpenFile { name, size, content: Vec::new() });
                }
                EntryPiece::Data(data) => self.look_at(data),
            }
            input = &input[taken..];
        }
        Ok(())
    }

    /// Collects what may be the manifest or the configuration.
    fn look_at(&mut self, data: &[u8]) {
        let Some(mut file) = self.open.take() else { return };
        file.content.extend_from_slice(data);
        if file.name != MANIFEST && file.content[0] != b'{' {
            return;
        }
        match file {
            file if file.content.len() < file.size => self.open = Some(file),
            OpenFile { name, content, .. } if name == MANIFEST => self.manifest = content,
            OpenFile { name, content, .. } if is_configuration(&content, self.digests) => {
                self.configuration = Some((name, content));
            }
            _ => {}
        }
    }

    /// No more comes. `None` if the archive does not tell which files the image's layers are.
    ///
    /// # Errors
    /// [`TarFault::Cut`] if that is too early.
    pub(crate) fn finish(self) -> Result<Option<ArchivedImage>, TarFault> {
        self.entries.finish()?;
        Ok(self.image())
    }

    fn image(self) -> Option<ArchivedImage> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            config: String,
            layers: Vec<String>,
        }
        let (name, configuration) = self.configuration?;
        let images: Vec<Listed> = serde_json::from_slice(&self.manifest).ok()?;
        let image = images.into_iter().find(|image| image.config == name)?;
        if image.layers.len() != self.digests.len() {
            return None;
        }
        let mut layers = SortedMap::new();
        for (digest, file) in self.digests.iter().zip(image.layers) {
            // A layer that occurs twice is a file and a link to it in the older layout.
            if let Some(&size) = self.sizes.get(&file) {
                layer_head(digest, size)?;
                layers.insert(digest.clone(), (file, size));
            }
        }
        let is_whole = self.digests.iter().all(|digest| layers.contains_key(digest));
        is_whole.then_some(ArchivedImage { configuration, layers })
    }
}

/// Whether this is the configuration of an image whose layers have these diff IDs.
fn is_configuration(content: &[u8], digests: &[String]) -> bool {
    #[derive(Deserialize)]
    struct Configuration {
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<String>,
    }
    serde_json::from_slice::<Configuration>(content)
        .is_ok_and(|found| found.rootfs.diff_ids == digests)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::entries::tests::entry;
    use super::*;

    /// Who writes an archive.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Layout {
        /// Engines before version 25: a directory for each layer.
        Directories,
        /// Engines since version 25, and containerd's store: OCI's layout, and `manifest.json`.
        Oci,
    }

    impl Layout {
        pub(crate) const ALL: [Layout; 2] = [Layout::Directories, Layout::Oci];
    }

    /// Three layers, of which the third is the first again.
    pub(crate) fn digests() -> Vec<String> {
        ["a", "b", "a", "c"].map(|sign| format!("sha256:{}", sign.repeat(64))).to_vec()
    }

    fn configuration() -> String {
        json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": digests() } }).to_string()
    }

    /// An image as an Engine saves it: the layers' content is not of their digests, as where
    /// containerd's store keeps compressed ones.
    pub(crate) fn archive(layout: Layout) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut add = |name: &str, content: &[u8]| bytes.extend(entry(name, b'0', content));
        let (configuration, contents) = (configuration(), [[1; 700], [2; 700], [3; 700]]);
        let (name, layers) = match layout {
            Layout::Directories => {
                for (directory, content) in ["x", "y", "w"].iter().zip(&contents) {
                    add(&format!("{directory}/VERSION"), b"1.0");
                    add(&format!("{directory}/json"), br#"{"id":"x","os":"linux"}"#);
                    add(&format!("{directory}/layer.tar"), content);
                }
                add("c.json", configuration.as_bytes());
                ("c.json", ["x/layer.tar", "y/layer.tar", "z/layer.tar", "w/layer.tar"])
            }
            Layout::Oci => {
                // By the digests of the blobs, which are others.
                add("blobs/sha256/1", &contents[1]);
                add("blobs/sha256/2", configuration.as_bytes());
                add("blobs/sha256/3", &contents[0]);
                add("blobs/sha256/4", br#"{"schemaVersion":2,"config":{},"layers":[]}"#);
                add("blobs/sha256/5", &contents[2]);
                add("index.json", br#"{"schemaVersion":2,"manifests":[]}"#);
                let [first, second, third] = ["3", "1", "5"];
                let names = [first, second, first, third];
                let names: Vec<String> =
                    names.iter().map(|name| format!("blobs/sha256/{name}")).collect();
                let manifest = json!([{ "Config": "blobs/sha256/2", "RepoTags": ["a:1"],
                    "Layers": names }]);
                add(MANIFEST, manifest.to_string().as_bytes());
                add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
                bytes.extend_from_slice(&ustar::END);
                return bytes;
            }
        };
        bytes.extend(entry("z/layer.tar", b'2', b""));
        let manifest = json!([{ "Config": name, "RepoTags": null, "Layers": layers }]);
        bytes.extend(entry(MANIFEST, b'0', manifest.to_string().as_bytes()));
        bytes.extend_from_slice(&ustar::END);
        bytes
    }

    fn scan(bytes: &[u8], digests: &[String]) -> Option<ArchivedImage> {
        let mut scan = ArchiveScan::new(digests);
        scan.push(bytes).unwrap();
        scan.finish().unwrap()
    }

    #[test]
    fn layers_are_found_in_each_layout() {
        let digests = digests();
        for (layout, first, last) in [
            (Layout::Directories, "x/layer.tar", "w/layer.tar"),
            (Layout::Oci, "blobs/sha256/3", "blobs/sha256/5"),
        ] {
            let bytes = archive(layout);
            let image = scan(&bytes, &digests).expect("it is there");
            assert_eq!(image.configuration, configuration().as_bytes());
            let (held, sent) = divide(&digests, 3);
            assert_eq!(
                image.files(&sent),
                SortedMap::from_iter([(last.to_owned(), digests[3].clone())])
            );
            assert_eq!(
                (image.files(&held)[first].clone(), image.size(&held)),
                (digests[0].clone(), 1400)
            );
            // Another image, and what ends too early.
            assert_eq!(scan(&bytes, &digests[1..]), None);
            for length in 0..bytes.len() - ustar::END.len() {
                let mut scan = ArchiveScan::new(&digests);
                scan.push(&bytes[..length]).unwrap();
                assert_eq!(scan.finish(), Err(TarFault::Cut));
            }
        }
    }

    #[test]
    fn an_archive_that_does_not_tell_its_layers_is_none() {
        let text = String::from_utf8(archive(Layout::Oci)).expect("text");
        for (from, to) in [("Config", "config"), ("sha256/5\"]", "sha256/6\"]"), ("diff_", "dift_")]
        {
            assert!(text.contains(from));
            assert_eq!(scan(text.replace(from, to).as_bytes(), &digests()), None, "{from}");
        }
    }

    #[test]
    fn a_layer_that_is_needed_again_further_up_is_sent() {
        let digests = digests();
        let counts = |held| {
            let (lower, upper) = divide(&digests, held);
            (lower.len(), upper.len())
        };
        assert_eq!(
            [0, 1, 2, 3, 4, 9].map(counts),
            [(0, 3), (0, 3), (1, 2), (2, 1), (3, 0), (3, 0)]
        );
    }
}
