//! The calls that the agent makes, and what it reads in their answers.
//!
//! A function makes a [`DockerRequest`]; the answer's [`DockerResponse`] is read with the function
//! of the same name on [`DockerResponse`], or with [`DockerResponse::accepted`] where there is
//! nothing to read. Structs hold only fields that are used.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::DockerError;
use super::http::{DockerRequest, DockerResponse, Method, RequestTarget};
use crate::limits::{
    DOCKER_BUILD_TIMEOUT, DOCKER_STOP_MARGIN, EMPTYING_TIMEOUT, SHIP_ENGINE_PATIENCE,
};

/// Asks what the Engine is; the answer's body is not read.
pub(crate) fn version() -> DockerRequest {
    get(&["version"])
}

/// Asks for [`DockerResponse::info`].
pub(crate) fn info() -> DockerRequest {
    get(&["info"])
}

/// Asks for [`DockerResponse::containers`]: all with the label, running or not.
pub(crate) fn containers(label: &str) -> DockerRequest {
    let target = RequestTarget::path(&["containers", "json"]).query("all", "1");
    DockerRequest::new(Method::Get, target.query("filters", &json!({"label": [label]}).to_string()))
}

/// Asks for [`DockerResponse::containers`]: all that there are, running or not.
pub(crate) fn all_containers() -> DockerRequest {
    DockerRequest::new(Method::Get, RequestTarget::path(&["containers", "json"]).query("all", "1"))
}

/// Creates a container; [`DockerResponse::created`] has its id.
pub(crate) fn container_create(name: &str, description: &Value) -> DockerRequest {
    let target = RequestTarget::path(&["containers", "create"]).query("name", name);
    DockerRequest::new(Method::Post, target).with_json(description)
}

/// Starts a container. One that runs already is no error (304).
pub(crate) fn container_start(container: &str) -> DockerRequest {
    post(RequestTarget::path(&["containers", container, "start"]))
}

/// Asks a container to end, and kills it after `grace`. One that does not run is no error (304).
pub(crate) fn container_stop(container: &str, grace: Duration) -> DockerRequest {
    let target = RequestTarget::path(&["containers", container, "stop"]);
    post(target.query("t", &grace.as_secs().to_string())).with_timeout(grace + DOCKER_STOP_MARGIN)
}

/// Removes a container with its anonymous volumes, running or not.
pub fn container_remove(container: &str) -> DockerRequest {
    let target =
        RequestTarget::path(&["containers", container]).query("force", "1").query("v", "1");
    DockerRequest::new(Method::Delete, target).with_timeout(DOCKER_STOP_MARGIN)
}

/// Removes a container that does not run. One that does is an error (409).
pub(crate) fn container_remove_stopped(container: &str) -> DockerRequest {
    DockerRequest::new(
        Method::Delete,
        RequestTarget::path(&["containers", container]).query("v", "1"),
    )
}

/// Waits until a container that empties a home has ended; the answer's body is not read.
pub(crate) fn container_wait(container: &str) -> DockerRequest {
    post(RequestTarget::path(&["containers", container, "wait"])).with_timeout(EMPTYING_TIMEOUT)
}

/// Asks for [`DockerResponse::container`].
pub fn container_inspect(container: &str) -> DockerRequest {
    get(&["containers", container, "json"])
}

/// Prepares a process in a container; [`DockerResponse::created`] has its id.
pub(crate) fn exec_create(container: &str, exec: &ExecConfig<'_>) -> DockerRequest {
    post(RequestTarget::path(&["containers", container, "exec"])).with_json(&json!({
        "AttachStdin": exec.stdin,
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": exec.directory.is_none(),
        "WorkingDir": exec.directory.unwrap_or_default(),
        "User": exec.user,
        "Env": exec.env,
        "Cmd": exec.command,
    }))
}

/// A process in a container, with a terminal of its own or with two pipes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecConfig<'a> {
    pub(crate) user: &'a str,
    /// The program and its arguments.
    pub(crate) command: &'a [&'a str],
    /// `NAME=value`, added to the container's own.
    pub(crate) env: &'a [String],
    /// Whether it can be written to.
    pub(crate) stdin: bool,
    /// Where it starts, if it has pipes; one with a terminal starts where the container does.
    pub(crate) directory: Option<&'a str>,
}

/// Starts a prepared process. Its terminal is the answer's body until the stream ends, or the
/// stream itself if that is taken over.
pub(crate) fn exec_start(exec: &str) -> DockerRequest {
    post(RequestTarget::path(&["exec", exec, "start"]))
        .with_json(&json!({"Detach": false, "Tty": true}))
}

/// Starts a prepared process with pipes. The answer is a stream for
/// [`super::outputs::Outputs`].
pub(crate) fn exec_start_piped(exec: &str) -> DockerRequest {
    post(RequestTarget::path(&["exec", exec, "start"]))
        .with_json(&json!({"Detach": false, "Tty": false}))
}

/// Tells a started process the size of its terminal, in cells.
pub(crate) fn exec_resize(exec: &str, cols: u16, rows: u16) -> DockerRequest {
    let target = RequestTarget::path(&["exec", exec, "resize"]);
    post(target.query("h", &rows.to_string()).query("w", &cols.to_string()))
}

/// Asks for [`DockerResponse::exec`].
pub(crate) fn exec_inspect(exec: &str) -> DockerRequest {
    get(&["exec", exec, "json"])
}

/// Follows the events of containers with the label, from now on. The answer is a stream for
/// [`super::events::EventStream`].
pub(crate) fn events(label: &str, actions: &[&str]) -> DockerRequest {
    let filters = json!({"type": ["container"], "label": [label], "event": actions});
    let target = RequestTarget::path(&["events"]).query("filters", &filters.to_string());
    DockerRequest::new(Method::Get, target)
}

/// Asks for [`DockerResponse::images`] of one name.
pub(crate) fn images(reference: &str) -> DockerRequest {
    let filters = json!({"reference": [reference]}).to_string();
    DockerRequest::new(
        Method::Get,
        RequestTarget::path(&["images", "json"]).query("filters", &filters),
    )
}

/// Asks for [`DockerResponse::images`] that have a label and no name any more.
pub(crate) fn nameless_images(label: &str) -> DockerRequest {
    let filters = json!({"dangling": ["true"], "label": [label]}).to_string();
    DockerRequest::new(
        Method::Get,
        RequestTarget::path(&["images", "json"]).query("filters", &filters),
    )
}

/// Asks whether an image is there; the answer's body is not read.
pub fn image_inspect(image: &str) -> DockerRequest {
    let mut segments = vec!["images"];
    segments.extend(image.split('/'));
    segments.push("json");
    get(&segments)
}

/// Asks for an image as an archive. The answer is a stream.
pub(crate) fn image_save(id: &str) -> DockerRequest {
    get(&["images", id, "get"]).with_timeout(SHIP_ENGINE_PATIENCE)
}

/// Brings images in an archive, which is the request's streamed body; [`DockerResponse::built`]
/// tells whether it went well.
pub(crate) fn image_load() -> DockerRequest {
    let target = RequestTarget::path(&["images", "load"]).query("quiet", "1");
    post(target).with_timeout(SHIP_ENGINE_PATIENCE)
}

/// Gives an image a name, which may have been another's.
pub(crate) fn image_tag(id: &str, name: &str, tag: &str) -> DockerRequest {
    post(RequestTarget::path(&["images", id, "tag"]).query("repo", name).query("tag", tag))
}

/// Asks for [`DockerResponse::images`]: all, those without a name too.
pub(crate) fn all_images() -> DockerRequest {
    DockerRequest::new(Method::Get, RequestTarget::path(&["images", "json"]).query("all", "1"))
}

/// Takes a name from an image, and removes it if that was its last one. An image that a container
/// needs is refused (409).
pub(crate) fn image_remove(image: &str) -> DockerRequest {
    let mut segments = vec!["images"];
    segments.extend(image.split('/'));
    DockerRequest::new(Method::Delete, RequestTarget::path(&segments))
}

/// Builds an image from a tar archive of its sources; [`DockerResponse::built`] tells whether it
/// went well, and no container is left either way. Arguments and labels are objects of names and
/// their texts.
pub(crate) fn image_build(
    tag: &str,
    arguments: &Value,
    labels: &Value,
    context: Vec<u8>,
) -> DockerRequest {
    let target =
        RequestTarget::path(&["build"]).query("t", tag).query("rm", "1").query("forcerm", "1");
    let target = target.query("buildargs", &arguments.to_string());
    let target = target.query("labels", &labels.to_string());
    let mut request = post(target).with_timeout(DOCKER_BUILD_TIMEOUT);
    request.body = Some(("application/x-tar", context));
    request
}

/// Asks whether a network is there, and how it was made; 404 if it is not.
pub fn network_inspect(name: &str) -> DockerRequest {
    get(&["networks", name])
}

/// Makes a network of bridge `bridge`, whose containers do not reach each other.
pub fn network_create(name: &str, bridge: &str, subnet: &str) -> DockerRequest {
    post(RequestTarget::path(&["networks", "create"])).with_json(&json!({
        "Name": name,
        "CheckDuplicate": true,
        "Driver": "bridge",
        "IPAM": { "Config": [{ "Subnet": subnet }] },
        "Options": {
            "com.docker.network.bridge.name": bridge,
            "com.docker.network.bridge.enable_icc": "false",
        },
    }))
}

/// Removes a network. One that containers are on is refused.
pub fn network_remove(name: &str) -> DockerRequest {
    DockerRequest::new(Method::Delete, RequestTarget::path(&["networks", name]))
}

/// A file of a container, which need not run, in a tar archive.
pub(crate) fn container_archive(container: &str, path: &str) -> DockerRequest {
    let target = RequestTarget::path(&["containers", container, "archive"]).query("path", path);
    DockerRequest::new(Method::Get, target)
}

fn get(segments: &[&str]) -> DockerRequest {
    DockerRequest::new(Method::Get, RequestTarget::path(segments))
}

fn post(target: RequestTarget) -> DockerRequest {
    DockerRequest::new(Method::Post, target)
}

/// What the Engine runs on.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SystemInfo {
    /// `systemd` or `cgroupfs`: whether a slice can be a parent.
    pub(crate) cgroup_driver: String,
    /// `1` or `2`.
    #[serde(default)]
    pub(crate) cgroup_version: String,
    /// `name=userns` and the like.
    #[serde(default)]
    pub(crate) security_options: Vec<String>,
    /// Where the Engine keeps its data.
    pub(crate) docker_root_dir: String,
}

/// A container in a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerSummary {
    pub(crate) id: String,
    /// What it was made from: the name that was given, or the id if that name means another by now.
    pub(crate) image: String,
    /// The id of that image.
    #[serde(default, rename = "ImageID")]
    pub(crate) image_id: String,
    /// `created`, `running`, `restarting`, `exited`, …
    pub(crate) state: String,
    /// When it was made, in seconds since 1970.
    pub(crate) created: i64,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// A container by itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerInspect {
    pub id: String,
    pub state: ContainerState,
}

/// How a container is.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerState {
    /// Whether it runs, or is about to again.
    pub running: bool,
    /// Whether the Engine is about to start it again by its policy.
    #[serde(default)]
    pub restarting: bool,
    /// Its last exit status.
    pub exit_code: i32,
    /// Whether the kernel killed it for its memory cap.
    #[serde(default, rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Why it could not be started; empty if it could.
    #[serde(default)]
    pub error: String,
    /// Since when, RFC 3339.
    pub started_at: String,
}

/// A process in a container.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecInspect {
    pub(crate) running: bool,
    /// Its exit status, once it has one.
    pub(crate) exit_code: Option<i32>,
    /// Its number on the Engine's host; 0 if the Engine does not say.
    #[serde(default)]
    pub(crate) pid: u32,
}

/// An image in a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageSummary {
    pub(crate) id: String,
    /// Its names; `null` where it has none.
    pub(crate) repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreatedId {
    id: String,
}

#[derive(Deserialize)]
struct RefusalMessage {
    message: String,
}

/// A line of a build's progress, which is one of many unless it says what went wrong.
#[derive(Deserialize)]
struct ProgressLine {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    stream: Option<String>,
}

impl DockerResponse {
    /// The response if the call went well, or was not needed (304).
    ///
    /// # Errors
    /// [`DockerError::Refused`] with the Engine's own words.
    pub fn accepted(self) -> Result<DockerResponse, DockerError> {
        match self.status {
            200..=299 | 304 => Ok(self),
            status => Err(DockerError::Refused { status, message: self.message() }),
        }
    }

    /// Answer of [`info`].
    ///
    /// # Errors
    /// As of [`DockerResponse::accepted`], or what is wrong with the body; so do all below.
    pub(crate) fn info(self) -> Result<SystemInfo, DockerError> {
        self.json()
    }

    /// Answer of [`containers`].
    pub(crate) fn containers(self) -> Result<Vec<ContainerSummary>, DockerError> {
        self.json()
    }

    /// Answer of [`container_inspect`].
    pub fn container(self) -> Result<ContainerInspect, DockerError> {
        self.json()
    }

    /// Answer of [`container_create`] and [`exec_create`]: the id.
    pub(crate) fn created(self) -> Result<String, DockerError> {
        self.json().map(|created: CreatedId| created.id)
    }

    /// Answer of [`exec_inspect`].
    pub(crate) fn exec(self) -> Result<ExecInspect, DockerError> {
        self.json()
    }

    /// Answer of [`images`].
    pub(crate) fn images(self) -> Result<Vec<ImageSummary>, DockerError> {
        self.json()
    }

    /// Answer of [`image_build`]: the status comes before the build, so a failure is in the body.
    ///
    /// # Errors
    /// The build's own words, too.
    pub(crate) fn built(self) -> Result<(), DockerError> {
        let response = self.accepted()?;
        let lines =
            serde_json::Deserializer::from_slice(&response.body).into_iter::<ProgressLine>();
        for line in lines {
            let line =
                line.map_err(|error| DockerError::Unexpected(format!("decode progress: {error}")))?;
            if let Some(words) = line.error {
                return Err(DockerError::Unexpected(words));
            }
        }
        Ok(())
    }

    /// Answer of [`image_build`]: what the build printed until it ended, however it did.
    pub(crate) fn build_output(&self) -> String {
        let lines = serde_json::Deserializer::from_slice(&self.body).into_iter::<ProgressLine>();
        lines.map_while(Result::ok).filter_map(|line| line.stream).collect()
    }

    fn json<T: DeserializeOwned>(self) -> Result<T, DockerError> {
        let response = self.accepted()?;
        serde_json::from_slice(&response.body)
            .map_err(|error| DockerError::Unexpected(format!("decode answer: {error}")))
    }

    /// The Engine's words; where it has none, the status.
    fn message(&self) -> String {
        const SHOWN_CHARS_MAX: usize = 1000;
        let words = match serde_json::from_slice::<RefusalMessage>(&self.body) {
            Ok(refusal) => refusal.message,
            Err(_) => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let one_line = words.trim().replace(char::is_control, " ");
        match one_line.is_empty() {
            true => format!("status {}", self.status),
            false => one_line.chars().take(SHOWN_CHARS_MAX).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> DockerResponse {
        DockerResponse { status, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_refusal_is_in_the_engines_words() {
        let conflict = response(409, "{\"message\":\"name is in use\\n\"}").accepted().unwrap_err();
        assert!(conflict.is_conflict());
        assert_eq!(conflict.to_string(), "name is in use");
        let plain = response(404, "page not found\n").created().unwrap_err();
        assert!(plain.is_not_found());
        assert_eq!(plain.to_string(), "page not found");
        assert_eq!(response(500, "").accepted().unwrap_err().to_string(), "status 500");
        assert!(response(304, "").accepted().is_ok());
    }

    #[test]
    fn answers_are_read_and_what_is_none_is_refused() {
        let list = r#"[{"Id":"c0","Names":["/a"],"Image":"i","State":"running","Created":5,
            "Labels":{"k":"v"}}]"#;
        let containers = response(200, list).containers().unwrap();
        assert_eq!(containers[0].labels["k"], "v");
        assert_eq!(response(201, r#"{"Id":"x","Warnings":[]}"#).created(), Ok("x".to_owned()));
        let exec = response(200, r#"{"Running":true,"ExitCode":null}"#).exec().unwrap();
        assert_eq!((exec.running, exec.exit_code), (true, None));
        for length in 0..list.len() {
            let cut = response(200, &list[..length]).containers();
            assert!(matches!(cut, Err(DockerError::Unexpected(_))), "cut at {length}");
        }
    }

    #[test]
    fn a_build_fails_in_the_middle_of_its_answer() {
        let progress = "{\"stream\":\"Step 1\"}\r\n{\"aux\":{\"ID\":\"x\"}}\r\n";
        assert_eq!(response(200, progress).built(), Ok(()));
        let printed = "{\"stream\":\"E: no\"}\r\n{\"stream\":\" room\\nbye\\n\"}\r\n{\"str";
        assert_eq!(response(200, printed).build_output(), "E: no room\nbye\n");
        let failed = format!("{progress}{{\"errorDetail\":{{}},\"error\":\"no space\"}}");
        assert_eq!(response(200, &failed).built().unwrap_err().to_string(), "no space");
        assert!(response(200, "{\"stream\":").built().is_err());
        assert!(response(500, "{}").built().is_err());
    }

    #[test]
    fn names_are_escaped_and_stops_may_take_their_grace() {
        let stop = container_stop("a b", Duration::from_secs(40));
        assert_eq!(stop.target, "/containers/a%20b/stop?t=40");
        assert!(stop.timeout > Duration::from_secs(40));
        assert_eq!(exec_resize("e", 120, 40).target, "/exec/e/resize?h=40&w=120");
        assert_eq!(
            containers("a=b").target,
            "/containers/json?all=1&filters=%7B%22label%22:%5B%22a%3Db%22%5D%7D"
        );
        assert_eq!(image_inspect("r/i:1").target, "/images/r/i:1/json");
    }
}
