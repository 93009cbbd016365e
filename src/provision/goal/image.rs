//! Goal: an image of the Docker Engine, built from sources that we have.
//!
//! The hash of the sources is a label of the image, so that other sources make another image. An
//! image of the name that has no such label came from elsewhere and is left as it is.

use serde_json::{Value, json};

use crate::docker::{DockerResponse, call};
use crate::provision::order::{Action, Answer, Question};
use crate::provision::step::{Change, Goal, StepVerdict};

/// The label that tells what an image was built from.
pub(crate) const LABEL_SOURCES: &str = "convocate.sources";

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its name with its tag.
    pub(crate) tag: String,
    /// The image that it is built on; the sources' own choice if none.
    pub(crate) base: Option<String>,
    /// Its sources as a tar archive.
    pub(crate) context: Vec<u8>,
    /// What tells these sources from others.
    pub(crate) hash: String,
}

impl Goal for Image {
    fn questions(&self) -> Vec<Question> {
        vec![Question::Engine(call::image_inspect(&self.tag))]
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Engine(answer)] = answers else { return StepVerdict::mismatch() };
        let response = match answer {
            Ok(response) => response,
            Err(why) => return StepVerdict::refuse(why.clone(), "start the Docker engine"),
        };
        match response.status {
            200 => match sources(response).filter(|sources| *sources != self.hash) {
                None => StepVerdict::Holds,
                Some(_) => self.build("build it again, for its sources have changed"),
            },
            404 => self.build(&match &self.base {
                Some(base) => format!("build {} on {base}", self.tag),
                None => format!("build {}", self.tag),
            }),
            status => StepVerdict::refuse(
                format!("docker: {status}: {}", String::from_utf8_lossy(&response.body)),
                "see what the Docker engine says: journalctl -u docker",
            ),
        }
    }
}

impl Image {
    fn build(&self, effect: &str) -> StepVerdict {
        let arguments = self.base.as_ref().map_or(json!({}), |base| json!({ "BASE": base }));
        let labels = json!({ (LABEL_SOURCES): self.hash });
        let context = self.context.clone();
        let request = call::image_build(&self.tag, &arguments, &labels, context);
        let mut change = Change::default();
        change.add(effect, Action::Build(request));
        StepVerdict::Differs(change)
    }
}

/// The sources that an image says it was built from.
fn sources(response: &DockerResponse) -> Option<String> {
    let image: Value = serde_json::from_slice(&response.body).ok()?;
    let label = image.get("Config")?.get("Labels")?.get(LABEL_SOURCES)?;
    label.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(status: u16, body: &str) -> Vec<String> {
        let image = Image {
            tag: "convocate:1".into(),
            base: Some("debian".into()),
            context: vec![1],
            hash: "abc".into(),
        };
        let body = body.as_bytes().to_vec();
        match image.judge(&[Answer::Engine(Ok(DockerResponse { status, body }))]) {
            StepVerdict::Differs(change) => change.effects,
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn only_other_sources_of_ours_are_built_again() {
        assert_eq!(effects(404, "{}"), ["build convocate:1 on debian"]);
        let labelled =
            |hash: &str| json!({"Config": {"Labels": {"convocate.sources": hash}}}).to_string();
        assert_eq!(effects(200, &labelled("abc")), ["Holds"]);
        assert_eq!(effects(200, &labelled("old")).len(), 1);
        assert_ne!(effects(200, &labelled("old")), ["Holds"]);
        assert_eq!(effects(200, r#"{"Config":{"Labels":null}}"#), ["Holds"]);
    }
}
