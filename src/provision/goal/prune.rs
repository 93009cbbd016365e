//! Goal: no session image that nobody needs any more.
//!
//! An image that was built again, or shipped again, has lost its name to the newer one. It is known
//! by the label of its sources.

use std::collections::BTreeSet;

use crate::docker::call::{ContainerSummary, ImageSummary};
use crate::docker::{DockerError, DockerResponse, call};
use crate::provision::goal::image::LABEL_SOURCES;
use crate::provision::order::{Action, Answer, Question};
use crate::provision::step::{Change, Goal, StepVerdict};

/// The images of sessions are those that some container or `keep` names, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoOldImages {
    /// The images' name, without a tag.
    pub(crate) name: String,
    /// Names with tags that stay in any case.
    pub(crate) keep: Vec<String>,
}

impl Goal for NoOldImages {
    fn questions(&self) -> Vec<Question> {
        [call::images(&self.name), call::nameless_images(LABEL_SOURCES), call::all_containers()]
            .map(Question::Engine)
            .into()
    }

    fn judge(&self, answers: &[Answer]) -> StepVerdict {
        let [Answer::Engine(named), Answer::Engine(nameless), Answer::Engine(containers)] = answers
        else {
            return StepVerdict::mismatch();
        };
        let text = |error: DockerError| format!("docker: {error}");
        let images =
            |answer: &Result<DockerResponse, String>| -> Result<Vec<ImageSummary>, String> {
                answer.clone()?.images().map_err(text)
            };
        let read = || -> Result<Change, String> {
            let containers = containers.clone()?.containers().map_err(text)?;
            Ok(self.removals(&images(named)?, &images(nameless)?, &containers))
        };
        match read() {
            Ok(change) => StepVerdict::of(change),
            Err(why) => StepVerdict::refuse(why, "start the Docker engine"),
        }
    }
}

impl NoOldImages {
    /// An Engine that still needs one refuses its removal; nothing is forced.
    fn removals(
        &self,
        named: &[ImageSummary],
        nameless: &[ImageSummary],
        containers: &[ContainerSummary],
    ) -> Change {
        let used = containers.iter().flat_map(|container| [&container.image, &container.image_id]);
        let used: BTreeSet<&String> = used.chain(&self.keep).collect();
        let mut change = Change::default();
        for image in named.iter().filter(|image| !used.contains(&image.id)) {
            let tags = image.repo_tags.iter().flatten();
            let is_kept = image.repo_tags.iter().flatten().any(|tag| used.contains(tag));
            for tag in tags.filter(|_| !is_kept) {
                let action = Action::Engine(call::image_remove(tag));
                change.add(format!("remove {tag}"), action);
            }
        }
        for ImageSummary { id, .. } in nameless.iter().filter(|image| !used.contains(&image.id)) {
            let action = Action::Engine(call::image_remove(id));
            change.add(format!("remove {id}, which has no name any more"), action);
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(body: &Value) -> Answer {
        Answer::Engine(Ok(DockerResponse { status: 200, body: body.to_string().into_bytes() }))
    }

    fn effects(keep: &[&str], used: &[(&str, &str)]) -> Vec<String> {
        effects_beside(&json!([]), keep, used)
    }

    fn effects_beside(nameless: &Value, keep: &[&str], used: &[(&str, &str)]) -> Vec<String> {
        let image = |tag: &str| json!({"Id": format!("sha256:{tag}"), "RepoTags": [tag]});
        let images = json!([image("convocate:1"), image("convocate:2"), image("convocate:3")]);
        let container = |(image, id): &(&str, &str)| {
            let state = "exited";
            json!({"Id": "c", "Image": image, "ImageID": id, "State": state, "Created": 1})
        };
        let containers: Vec<Value> = used.iter().map(container).collect();
        let keep = keep.iter().map(ToString::to_string).collect();
        let goal = NoOldImages { name: "convocate".into(), keep };
        match goal.judge(&[answer(&images), answer(nameless), answer(&json!(containers))]) {
            StepVerdict::Differs(change) => change.effects,
            StepVerdict::Holds => Vec::new(),
            StepVerdict::Refused(failure) => vec![failure.what],
        }
    }

    #[test]
    fn what_a_container_or_the_host_names_stays() {
        assert_eq!(effects(&["convocate:3"], &[]), ["remove convocate:1", "remove convocate:2"]);
        let by_tag = [("convocate:1", "sha256:else")];
        assert_eq!(effects(&["convocate:3"], &by_tag), ["remove convocate:2"]);
        let by_id = [("sha256:convocate:2", "sha256:convocate:2")];
        assert_eq!(effects(&["convocate:3", "convocate:1"], &by_id), Vec::<String>::new());
    }

    #[test]
    fn what_has_lost_its_name_goes_when_no_container_is_left_of_it() {
        // An old Engine says so in its own way, a newer one says nothing.
        let nameless =
            json!([{"Id": "sha256:a", "RepoTags": ["<none>:<none>"]}, {"Id": "sha256:b"}]);
        let all = ["convocate:1", "convocate:2", "convocate:3"];
        assert_eq!(
            effects_beside(&nameless, &all, &[("sha256:b", "sha256:b")]),
            ["remove sha256:a, which has no name any more"]
        );
        assert_eq!(effects_beside(&nameless, &all, &[]).len(), 2);
    }
}
