//! Which files of an image's archive are layers that the other side has.
//!
//! An Engine since version 25 names a layer's file by its digest, `blobs/sha256/HEX`. Older ones
//! have a directory for each layer, whose name is a hash over the layer's description, the chain of
//! layers up to it, and the name of the directory below; the list that says which is which stands
//! at the end of the archive, behind the layers. So the names are computed: the first description
//! of a layer that is not the top one is all that is missing for it. A name that comes out
//! different is that of a layer which is sent: what is not understood costs bytes and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::store::chain_ids;
use crate::base::hex;

/// The layers of an image, and which of them are not to be sent.
#[derive(Debug)]
pub(crate) struct Layers {
    /// Digests of the layers' archives, `sha256:HEX`, lowest first.
    digests: Vec<String>,
    /// How many of the lowest the other side has.
    held: usize,
    /// Files that are left out.
    left_out: BTreeSet<String>,
}

impl Layers {
    /// Of an image with these layers, the lowest `held` of which are there.
    pub(crate) fn new(digests: Vec<String>, held: usize) -> Layers {
        let held = held.min(digests.len());
        let mut layers = Layers { digests, held, left_out: BTreeSet::new() };
        let plain = (0..layers.held).filter(|&at| !layers.is_needed_above(at));
        layers.left_out = plain.filter_map(|at| blob(&layers.digests[at])).collect();
        layers
    }

    /// Whether the file of this name is a layer that is there.
    pub(crate) fn is_held(&self, name: &str) -> bool {
        self.left_out.contains(name)
    }

    /// The directory whose description this file is, if there is anything to learn from it.
    pub(crate) fn described_by(&self, name: &str) -> Option<String> {
        let directory = name.strip_suffix("/json")?;
        let is_plain = directory.len() == 64 && directory.bytes().all(is_hex);
        (self.held > 0 && is_plain).then(|| directory.to_owned())
    }

    /// Learns from the description of a directory's layer.
    pub(crate) fn learn(&mut self, directory: &str, description: &[u8]) {
        // Engines name a directory before or after they add the system to its description.
        for without in [&["id", "parent", "os"][..], &["id", "parent"]] {
            let names = names(&self.digests, self.held, description, without).unwrap_or_default();
            // Only the description of one of these layers gives its own directory's name.
            if !names.iter().any(|name| name == directory) {
                continue;
            }
            let plain = (0..names.len()).filter(|&at| !self.is_needed_above(at));
            let files: Vec<String> = plain.map(|at| format!("{}/layer.tar", names[at])).collect();
            self.left_out.extend(files);
        }
    }

    /// The file of a layer may be that of one further up, too: a link leads there.
    fn is_needed_above(&self, at: usize) -> bool {
        self.digests[self.held..].contains(&self.digests[at])
    }
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn blob(digest: &str) -> Option<String> {
    Some(format!("blobs/sha256/{}", digest.strip_prefix("sha256:")?))
}

/// The names of the lowest directories, by the description of one of them.
fn names(
    digests: &[String],
    held: usize,
    description: &[u8],
    without: &[&str],
) -> Option<Vec<String>> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(description).ok()?;
    fields.retain(|name, _| !without.contains(&name.as_str()));
    let quoted = |text: &str| RawValue::from_string(format!("\"{text}\"")).ok();
    let mut names: Vec<String> = Vec::new();
    for chain in chain_ids(&digests[..held]) {
        fields.insert("layer_id".to_owned(), quoted(&chain)?);
        if let Some(parent) = names.last() {
            fields.insert("parent".to_owned(), quoted(&format!("sha256:{parent}"))?);
        }
        names.push(hex::text(&Sha256::digest(serde_json::to_vec(&fields).ok()?)));
    }
    Some(names)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What Docker 20.10 wrote for an image of three layers.
    pub(crate) const DIGESTS: [&str; 3] = [
        "sha256:5530d9f82c2a234fc0c36a2e9f4acba7076ab3e78255764be41d44a9c9ab1356",
        "sha256:c203b3702b2c38954c823c3810d8cf8c6e1d6809f0eb191633d640384c67df85",
        "sha256:e248d4fcdb6dd1d87d724de30e50056960d3cff6e431846d3fe9437ff6049245",
    ];
    pub(crate) const DIRECTORIES: [&str; 3] = [
        "c0eaf8d4d00eb863d9652cd95906c246f843b45ca6635533ae6ba916549d7049",
        "e0c6cd72e61f702bc14f9a93b3594c3e077fa16395f705e4986dd6d82706157d",
        "24b61b3a52397f1623b82efe625dd359d4bf2322a4832a6d0a426d45af3d90c7",
    ];
    const FIELDS: &str = "\"created\":\"1970-01-01T00:00:00Z\",\"container_config\":{\
        \"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\
        \"AttachStdout\":false,\"AttachStderr\":false,\"Tty\":false,\"OpenStdin\":false,\
        \"StdinOnce\":false,\"Env\":null,\"Cmd\":null,\"Image\":\"\",\"Volumes\":null,\
        \"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":null},\
        \"os\":\"linux\"}";

    /// The description of one of the two lower layers.
    pub(crate) fn description(at: usize) -> String {
        match at {
            0 => format!("{{\"id\":\"{}\",{FIELDS}", DIRECTORIES[0]),
            _ => {
                let [parent, id, _] = DIRECTORIES;
                format!("{{\"id\":\"{id}\",\"parent\":\"{parent}\",{FIELDS}")
            }
        }
    }

    pub(crate) fn layers(held: usize) -> Layers {
        Layers::new(DIGESTS.map(str::to_owned).to_vec(), held)
    }

    fn file(at: usize) -> String {
        format!("{}/layer.tar", DIRECTORIES[at])
    }

    #[test]
    fn directories_are_known_by_any_description_of_a_lower_layer() {
        for (from, directory) in DIRECTORIES.iter().take(2).enumerate() {
            let mut layers = layers(2);
            assert!(!layers.is_held(&file(0)) && !layers.is_held(&file(1)));
            layers.learn(directory, description(from).as_bytes());
            let held: Vec<bool> = (0..3).map(|at| layers.is_held(&file(at))).collect();
            assert_eq!(held, [true, true, false]);
        }
        let mut one = layers(1);
        one.learn(DIRECTORIES[0], description(0).as_bytes());
        assert!(one.is_held(&file(0)) && !one.is_held(&file(1)));
    }

    #[test]
    fn what_is_not_understood_is_sent() {
        let good = description(0);
        for length in 0..good.len() {
            let mut layers = layers(2);
            layers.learn(DIRECTORIES[0], &good.as_bytes()[..length]);
            assert!(!layers.is_held(&file(0)), "cut at {length}");
        }
        let mut layers = layers(2);
        layers.learn(DIRECTORIES[2], good.as_bytes());
        layers.learn(DIRECTORIES[0], good.replace("Tty", "tty").as_bytes());
        assert!(!layers.is_held(&file(0)));
        assert_eq!(layers.described_by("../json"), None);
    }

    #[test]
    fn a_layer_that_is_needed_again_further_up_is_sent() {
        let digests = [DIGESTS[0], DIGESTS[1], DIGESTS[0]].map(str::to_owned);
        let layers = Layers::new(digests.to_vec(), 2);
        assert!(!layers.is_held(&blob(DIGESTS[0]).unwrap()));
        assert!(layers.is_held(&blob(DIGESTS[1]).unwrap()));
    }
}
