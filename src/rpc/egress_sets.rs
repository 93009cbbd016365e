//! Names that belong together: what one service wants to be reached, by a word.
//!
//! Each set says where its names are from. An entry is a name, or `*.` and what names end with, and
//! may have a port.

/// Names under one word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EgressSet {
    pub(crate) name: &'static str,
    pub(crate) entries: &'static [&'static str],
}

/// In the order of their names.
pub(crate) const EGRESS_SETS: [EgressSet; 7] = [
    // https://code.claude.com/docs/en/network-config, "Network access requirements"
    EgressSet {
        name: "claude",
        entries: &[
            "api.anthropic.com",
            "claude.ai",
            "platform.claude.com",
            "console.anthropic.com",
            "downloads.claude.ai",
        ],
    },
    // https://doc.rust-lang.org/cargo/reference/registry-index.html (the sparse index) and
    // https://crates.io/data-access
    EgressSet { name: "crates", entries: &["index.crates.io", "static.crates.io", "crates.io"] },
    // https://deb.debian.org and https://www.debian.org/security
    EgressSet { name: "debian", entries: &["deb.debian.org", "security.debian.org"] },
    // https://docs.github.com/en/get-started/using-github/troubleshooting-connectivity-problems
    // and https://api.github.com/meta, "domains"
    EgressSet {
        name: "github",
        entries: &[
            "github.com",
            "github.com:22",
            "api.github.com",
            "codeload.github.com",
            "*.githubusercontent.com",
        ],
    },
    // https://docs.npmjs.com/cli/configuring-npm/registry
    EgressSet { name: "npm", entries: &["registry.npmjs.org"] },
    // https://docs.pypi.org/api/index-api
    EgressSet { name: "pypi", entries: &["pypi.org", "files.pythonhosted.org"] },
    // https://documentation.ubuntu.com/server/explanation/software/about-apt (package archives)
    EgressSet {
        name: "ubuntu",
        entries: &[
            "archive.ubuntu.com",
            "*.archive.ubuntu.com",
            "security.ubuntu.com",
            "ports.ubuntu.com",
        ],
    },
];
