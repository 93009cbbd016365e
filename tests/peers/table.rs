//! What ran, as rows of one table.

use std::io::Write;
use std::sync::Once;

/// One connection, or several with the same choices.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the peer calls itself.
    pub peer: String,
    /// What the peer is.
    pub role: &'static str,
    /// The key exchange method.
    pub kex: &'static str,
    /// The cipher.
    pub cipher: &'static str,
    /// One call of the rpc subsystem.
    pub rpc: bool,
    /// One terminal, from its header to its exit status.
    pub attach: bool,
    /// MiB that came back as they were sent.
    pub echo_mib: usize,
    /// Key exchanges after the first, and who asked for them.
    pub rekeys: (u64, &'static str),
}

/// Prints rows past cargo's capture; the head only once.
pub fn print(rows: &[Row]) {
    static HEAD: Once = Once::new();
    let mut out = String::new();
    HEAD.call_once(|| {
        out.push_str("| peer | role | kex | cipher | rpc | attach | echo | rekeys |\n");
        out.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    });
    let mark = |done: bool| if done { "✓" } else { "" };
    for row in rows {
        let (peer, role, kex, cipher) = (&row.peer, row.role, row.kex, row.cipher);
        let (rpc, attach) = (mark(row.rpc), mark(row.attach));
        let (echo, (rekeys, by)) = (row.echo_mib, row.rekeys);
        out.push_str(&format!("| {peer} | {role} | {kex} | {cipher} | {rpc} | {attach} "));
        out.push_str(&format!("| {echo} MiB | {rekeys} by {by} |\n"));
    }
    let _unseen = std::io::stderr().write_all(out.as_bytes());
}
