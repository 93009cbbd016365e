//! Goal: no session image that nobody needs any more.

use std::collections::BTreeSet;

use super::order::{Action, Answer, Question};
use super::step::{Change, Verdict};
use crate::docker::call::{Container, Image};
use crate::docker::{Error, call};

/// The images of sessions are those that some container or `keep` names, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoOldImages {
    /// The images' name, without a tag.
    pub name: String,
    /// Names with tags that stay in any case.
    pub keep: Vec<String>,
}

impl NoOldImages {
    pub(super) fn questions(&self) -> Vec<Question> {
        vec![Question::Engine(call::images(&self.name)), Question::Engine(call::all_containers())]
    }

    pub(super) fn judge(&self, answers: &[Answer]) -> Verdict {
        let [Answer::Engine(images), Answer::Engine(containers)] = answers else {
            return Verdict::mismatch();
        };
        let read = || -> Result<(Vec<Image>, Vec<Container>), String> {
            let text = |error: Error| format!("docker: {error}");
            Ok((
                images.clone()?.images().map_err(text)?,
                containers.clone()?.containers().map_err(text)?,
            ))
        };
        match read() {
            Ok((images, containers)) => Verdict::of(self.removals(&images, &containers)),
            Err(why) => Verdict::refuse(why, "start the Docker engine"),
        }
    }

    /// An Engine that still needs one refuses its removal; nothing is forced.
    fn removals(&self, images: &[Image], containers: &[Container]) -> Change {
        let used = containers.iter().flat_map(|container| [&container.image, &container.image_id]);
        let used: BTreeSet<&String> = used.chain(&self.keep).collect();
        let mut change = Change::default();
        for image in images.iter().filter(|image| !used.contains(&image.id)) {
            let tags = image.repo_tags.iter().flatten();
            let is_kept = image.repo_tags.iter().flatten().any(|tag| used.contains(tag));
            for tag in tags.filter(|_| !is_kept) {
                let action = Action::Engine(call::image_remove(tag));
                change.add(format!("remove {tag}"), action);
            }
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::docker::Response;

    fn answer(body: &Value) -> Answer {
        Answer::Engine(Ok(Response { status: 200, body: body.to_string().into_bytes() }))
    }

    fn effects(keep: &[&str], used: &[(&str, &str)]) -> Vec<String> {
        let image = |tag: &str| json!({"Id": format!("sha256:{tag}"), "RepoTags": [tag]});
        let images = json!([image("convocate:1"), image("convocate:2"), image("convocate:3")]);
        let container = |(image, id): &(&str, &str)| {
            let state = "exited";
            json!({"Id": "c", "Image": image, "ImageID": id, "State": state, "Created": 1})
        };
        let containers: Vec<Value> = used.iter().map(container).collect();
        let keep = keep.iter().map(ToString::to_string).collect();
        let goal = NoOldImages { name: "convocate".into(), keep };
        match goal.judge(&[answer(&images), answer(&json!(containers))]) {
            Verdict::Differs(change) => change.effects,
            Verdict::Holds => Vec::new(),
            Verdict::Refused(failure) => vec![failure.what],
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
}
