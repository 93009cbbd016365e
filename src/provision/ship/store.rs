//! Where an Engine keeps the parts of an image, and the archive that they make.
//!
//! An Engine that is asked for an image packs all of its layers first, also those that nobody
//! needs. Whoever may read its store, which is root on the same host, takes only what is to be
//! sent:
//!
//! ```text
//! ROOT/image/DRIVER/imagedb/content/sha256/ID            the image's configuration
//! ROOT/image/DRIVER/layerdb/sha256/CHAIN/cache-id        where the layer lies: its directory
//! ROOT/image/DRIVER/layerdb/sha256/CHAIN/tar-split.json.gz   its index, see `split`
//! ROOT/DRIVER/CACHE-ID/diff                              its files
//! ```
//!
//! This is the layout of the graph drivers that mount overlays; it is the Engine's own affair and
//! may change. So nothing of it is believed: the configuration must have the image's id, and each
//! layer its digest. Where something is not as it should be, the Engine is asked after all.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::base::{hex, ustar};
use crate::docker::DockerResponse;

/// Drivers whose layout this is.
const DRIVERS: [&str; 2] = ["overlay2", "fuse-overlayfs"];
/// The list of an archive's images, for the Engine that takes it.
const MANIFEST: &str = "manifest.json";
const FILE_MODE: u32 = 0o644;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    root: PathBuf,
    driver: String,
}

/// The files of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerFiles {
    /// Names the directory of its files.
    pub(crate) cache_id: PathBuf,
    pub(crate) index: PathBuf,
}

impl Store {
    /// By what an Engine says of itself; `None` if its store is laid out in another way.
    pub(crate) fn of(info: DockerResponse) -> Option<Store> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            docker_root_dir: PathBuf,
            driver: String,
        }
        let info: Info = serde_json::from_slice(&info.accepted().ok()?.body).ok()?;
        let is_known =
            DRIVERS.contains(&info.driver.as_str()) && info.docker_root_dir.is_absolute();
        is_known.then_some(Store { root: info.docker_root_dir, driver: info.driver })
    }

    /// The configuration of an image.
    pub(crate) fn configuration(&self, id: &str) -> PathBuf {
        self.image().join("imagedb/content/sha256").join(digits(id))
    }

    /// The files of a layer, by its place in the chain.
    pub(crate) fn layer(&self, chain: &str) -> LayerFiles {
        let directory = self.image().join("layerdb/sha256").join(digits(chain));
        LayerFiles {
            cache_id: directory.join("cache-id"),
            index: directory.join("tar-split.json.gz"),
        }
    }

    /// The directory of a layer's files, by the content of its `cache-id`; `None` if that is none.
    pub(crate) fn files(&self, cache_id: &[u8]) -> Option<PathBuf> {
        let name = std::str::from_utf8(cache_id).ok()?.trim_end();
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_name.then(|| self.root.join(&self.driver).join(name).join("diff"))
    }

    fn image(&self) -> PathBuf {
        self.root.join("image").join(&self.driver)
    }
}

/// What identifies each layer with all that is below it (OCI image specification, ChainID), for
/// layers with these digests, lowest first.
pub(crate) fn chain_ids(digests: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for digest in digests {
        let id = match chain.last() {
            None => digest.clone(),
            Some(below) => digest_of(format!("{below} {digest}").as_bytes()),
        };
        chain.push(id);
    }
    chain
}

/// SHA-256 of some bytes as Engines write it.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    text_of(&Sha256::digest(bytes))
}

/// A finished SHA-256 as Engines write it.
pub(crate) fn text_of(hash: &[u8]) -> String {
    format!("sha256:{}", hex::text(hash))
}

/// What an archive begins with: configuration and list of an image with layers of these digests.
pub(crate) fn archive_head(id: &str, configuration: &[u8], digests: &[String]) -> Vec<u8> {
    let name = format!("{}.json", digits(id));
    let layers: Vec<String> = digests.iter().map(|digest| layer_name(digest)).collect();
    let manifest = json!([{ "Config": name, "RepoTags": null, "Layers": layers }]).to_string();
    let mut archive = Vec::new();
    for (name, content) in [(name.as_str(), configuration), (MANIFEST, manifest.as_bytes())] {
        let length = content.len() as u64;
        archive.extend_from_slice(&ustar::header(name, FILE_MODE, length));
        archive.extend_from_slice(content);
        archive.extend_from_slice(ustar::padding(length));
    }
    archive
}

/// What stands before a layer's archive of this length in that of the image; `None` if it is too
/// long for that.
pub(crate) fn layer_head(digest: &str, length: u64) -> Option<[u8; ustar::BLOCK_BYTES]> {
    (length <= ustar::FILE_BYTES_MAX).then(|| ustar::header(&layer_name(digest), FILE_MODE, length))
}

fn layer_name(digest: &str) -> String {
    format!("{}/layer.tar", digits(digest))
}

/// A digest without the name of what it was made by.
fn digits(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::super::layer_filter::LayerFilter;
    use super::super::layers::Layers;
    use super::*;

    fn info(body: &str) -> Option<Store> {
        Store::of(DockerResponse { status: 200, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn parts_are_found() {
        let store = info(r#"{"DockerRootDir":"/d","Driver":"overlay2","More":1}"#).unwrap();
        let at = |path: &str| PathBuf::from(path);
        let configuration = store.configuration("sha256:ab");
        assert_eq!(configuration, at("/d/image/overlay2/imagedb/content/sha256/ab"));
        let layer = store.layer("sha256:cd");
        assert_eq!(layer.cache_id, at("/d/image/overlay2/layerdb/sha256/cd/cache-id"));
        assert_eq!(layer.index, at("/d/image/overlay2/layerdb/sha256/cd/tar-split.json.gz"));
        assert_eq!(store.files(b"ef01\n"), Some(at("/d/overlay2/ef01/diff")));
        for wrong in ["", "..", "a/b", "a b"] {
            assert_eq!(store.files(wrong.as_bytes()), None, "{wrong}");
        }
        for other in ["{}", r#"{"DockerRootDir":"/d","Driver":"overlayfs"}"#] {
            assert_eq!(info(other), None, "{other}");
        }
    }

    #[test]
    fn the_chain_is_that_of_the_specification() {
        let digests = ["sha256:aa", "sha256:bb", "sha256:cc"].map(str::to_owned);
        let second = digest_of(b"sha256:aa sha256:bb");
        let third = digest_of(format!("{second} sha256:cc").as_bytes());
        assert_eq!(chain_ids(&digests), [digests[0].clone(), second, third]);
    }

    #[test]
    fn what_is_made_is_an_archive() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mut archive = archive_head(&digest, b"{}", std::slice::from_ref(&digest));
        archive.extend_from_slice(&layer_head(&digest, 1024).unwrap());
        archive.extend_from_slice(&[7; 1024]);
        archive.extend_from_slice(&ustar::END);
        let (mut sieve, mut out) =
            (LayerFilter::new(Layers::new(vec![digest.clone()], 0)), Vec::new());
        sieve.push(&archive, &mut out).unwrap();
        assert_eq!((sieve.finish(), out == archive), (Ok(()), true));
        assert_eq!(layer_head(&digest, 1 << 33), None);
    }
}
