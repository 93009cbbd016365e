//! Logs on their way from agents to the shell host: what rsyslog is told at both ends, and the
//! authority whose certificates they show each other.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`rsyslog`] | the files of rsyslog and logrotate |
//! | [`authority`] | what is to become of the authority and of the collector's certificate |
//! | [`renewal`] | how an agent's certificate is renewed in good time |

pub mod authority;
pub mod renewal;
pub mod rsyslog;
