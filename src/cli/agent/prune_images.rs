//! `convocate-agent prune-images`: removes session images that nothing uses.

use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{CHECK, JSON};
use crate::cli::steps::{RunOptions, take};
use crate::cli::this_host::current_image;
use crate::exit::Exit;
use crate::paths::Paths;
use crate::provision::plan::agent_host::prune;

pub(crate) const PRUNE_IMAGES: Command = Command {
    name: "prune-images",
    summary: "remove session images that nothing uses",
    operands: &[],
    flags: &[CHECK, JSON],
    help: "\
An image stays while a container was made from it, and while current-image names it.
An installed host does this once a day.
",
    run: prune_images,
};

fn prune_images(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let run_options = RunOptions::new(parsed.has(&CHECK), parsed.has(&JSON));
    take(vec![prune(current_image(&Paths::default())?)], &run_options, out)?;
    Ok(Exit::Done)
}
