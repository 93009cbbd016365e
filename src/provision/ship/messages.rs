//! What both sides of a transfer tell each other, and what Engines tell them.
//!
//! The receiver gets an [`ImageOffer`] as one line, answers [`ReceiverMessage::Have`], takes frames
//! unless it has all, and ends with [`ReceiverMessage::Loaded`] or [`ReceiverMessage::Failed`].

use serde::{Deserialize, Serialize};

use crate::docker::{DockerError, DockerResponse};
use crate::limits::SHIP_LAYERS_MAX;

/// An image that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageOffer {
    /// Its id at the source.
    pub(crate) id: String,
    /// The name that it is to have.
    pub(crate) name: String,
    /// Digests of its layers' archives, lowest first.
    pub(crate) layers: Vec<String>,
    /// Whether all of it comes, whatever is there: a try without has failed.
    pub(crate) whole: bool,
}

/// Which image a sender is to send, as another program tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageRequest {
    /// Its name with its tag.
    pub(crate) image: String,
    /// Whether all of it is to be sent, whatever is there.
    pub(crate) whole: bool,
}

/// What the receiver says, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ReceiverMessage {
    /// What is there.
    Have {
        /// So many of the lowest layers.
        layers: usize,
        /// Whether the image itself is: then nothing is to be sent.
        is_there: bool,
        /// Why nothing can be left out, if that is so.
        why_whole: Option<String>,
    },
    /// The image is there, is what was offered, and has the name.
    Loaded {
        /// SHA-256 of the archive as it arrived; empty if none was sent.
        sha256: String,
        /// Its bytes.
        bytes: u64,
    },
    /// It does not have the name: one sentence.
    Failed { error: String },
}

/// What an Engine says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InspectedImage {
    pub(crate) id: String,
    /// Digests of its layers' archives, lowest first.
    pub(crate) layers: Vec<String>,
    /// Bytes of all layers.
    pub(crate) size: u64,
}

impl ImageOffer {
    /// What the Engine is asked to call the image: name and tag.
    ///
    /// # Errors
    /// One sentence, if it is no name that we give, or has no layers or too many.
    pub(crate) fn check(&self) -> Result<(&str, &str), String> {
        let is_digest = |text: &str| {
            let hex = text.strip_prefix("sha256:").unwrap_or_default();
            hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if !is_digest(&self.id) || !self.layers.iter().all(|layer| is_digest(layer)) {
            return Err("the offer names an image or a layer by something that is no digest".into());
        }
        if self.layers.is_empty() || self.layers.len() > SHIP_LAYERS_MAX {
            return Err(format!("an image of {} layers is not taken", self.layers.len()));
        }
        split_name(&self.name)
    }

    /// How many of the lowest layers an image has in common with the offered one.
    pub(crate) fn common(&self, layers: &[String]) -> usize {
        self.layers.iter().zip(layers).take_while(|(ours, theirs)| ours == theirs).count()
    }
}

/// Cuts an image's name from its tag.
///
/// # Errors
/// One sentence, if it has no tag or is no name.
pub(crate) fn split_name(name: &str) -> Result<(&str, &str), String> {
    let is_good = |part: &str, more: &str, max: usize| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte);
        let begins = part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        begins && part.len() <= max && part.bytes().all(is_known)
    };
    match name.rsplit_once(':') {
        Some((name, tag)) if is_good(name, "._-/:", 255) && is_good(tag, "._-", 128) => {
            Ok((name, tag))
        }
        _ => Err(format!("{name:?} is no image's name with a tag, as convocate:0.1.0 is")),
    }
}

/// Reads the answer to a question after one image. `None` if it is not there.
///
/// # Errors
/// The Engine's words, or what is wrong with them.
pub(crate) fn inspected(response: DockerResponse) -> Result<Option<InspectedImage>, DockerError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Image {
        id: String,
        #[serde(default)]
        size: u64,
        #[serde(rename = "RootFS")]
        root_fs: RootFs,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct RootFs {
        #[serde(default)]
        layers: Vec<String>,
    }
    match response.accepted() {
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
        Ok(response) => {
            let image: Image = serde_json::from_slice(&response.body)
                .map_err(|error| DockerError::Unexpected(format!("decode image: {error}")))?;
            let Image { id, size, root_fs } = image;
            Ok(Some(InspectedImage { id, layers: root_fs.layers, size }))
        }
    }
}

/// Whether an Engine keeps images in containerd's store, which takes no archive that lacks a layer.
///
/// # Errors
/// As of [`inspected`].
pub(crate) fn is_containerd_store(info: DockerResponse) -> Result<bool, DockerError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info {
        #[serde(default)]
        driver_status: Option<Vec<Vec<String>>>,
    }
    let info: Info = serde_json::from_slice(&info.accepted()?.body)
        .map_err(|error| DockerError::Unexpected(format!("decode info: {error}")))?;
    let status = info.driver_status.unwrap_or_default();
    Ok(status.iter().flatten().any(|text| text.starts_with("io.containerd.snapshotter")))
}

/// The id of the image that an Engine has just taken, if its answer says so.
pub(crate) fn loaded_id(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Progress {
        #[serde(default)]
        stream: String,
    }
    let lines = serde_json::Deserializer::from_slice(answer).into_iter::<Progress>();
    let id = |line: Progress| {
        line.stream.strip_prefix("Loaded image ID: ").map(|id| id.trim().to_owned())
    };
    lines.filter_map(Result::ok).find_map(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> DockerResponse {
        DockerResponse { status, body: body.as_bytes().to_vec() }
    }

    fn digest(sign: char) -> String {
        format!("sha256:{}", sign.to_string().repeat(64))
    }

    #[test]
    fn an_offer_is_checked() {
        let good = ImageOffer {
            id: digest('a'),
            name: "here:5000/convocate:0.1.0".into(),
            layers: vec![digest('b'), digest('c')],
            whole: false,
        };
        assert_eq!(good.check(), Ok(("here:5000/convocate", "0.1.0")));
        assert_eq!(good.common(&[digest('b'), digest('d'), digest('c')]), 1);
        for name in ["convocate", "a:", ":b", "a b:c", "../x:y", "-a:b", "a:-b", "a:b/c"] {
            assert!(ImageOffer { name: name.into(), ..good.clone() }.check().is_err(), "{name}");
        }
        assert!(ImageOffer { id: "convocate:1".into(), ..good.clone() }.check().is_err());
        assert!(ImageOffer { layers: Vec::new(), ..good.clone() }.check().is_err());
        let many = vec![digest('b'); SHIP_LAYERS_MAX + 1];
        assert!(ImageOffer { layers: many, ..good }.check().is_err());
    }

    #[test]
    fn what_engines_say_is_read() {
        let image = r#"{"Id":"sha256:1","Size":5,"RootFS":{"Type":"layers","Layers":["a","b"]}}"#;
        let wanted =
            InspectedImage { id: "sha256:1".into(), layers: vec!["a".into(), "b".into()], size: 5 };
        assert_eq!(inspected(response(200, image)), Ok(Some(wanted)));
        assert_eq!(inspected(response(404, "{}")), Ok(None));
        assert!(inspected(response(500, "{}")).is_err() && inspected(response(200, "{}")).is_err());

        let containerd = r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#;
        assert_eq!(is_containerd_store(response(200, containerd)), Ok(true));
        let plain = r#"{"DriverStatus":[["Backing Filesystem","extfs"]]}"#;
        assert_eq!(is_containerd_store(response(200, plain)), Ok(false));

        let answer = b"{\"stream\":\"Loaded image ID: sha256:ab\\n\"}\r\n";
        assert_eq!(loaded_id(answer).as_deref(), Some("sha256:ab"));
        assert_eq!(loaded_id(b"{\"stream\":\"Loaded image: a:1\\n\"}"), None);
    }
}
