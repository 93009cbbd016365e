//! Which ports somebody on this host listens on, from what the kernel tells in `/proc/net`.

use crate::rpc::field::Protocol;

/// The files, and of which protocol each tells.
pub(super) const TABLES: [(&str, Protocol); 4] = [
    ("/proc/net/tcp", Protocol::Tcp),
    ("/proc/net/tcp6", Protocol::Tcp),
    ("/proc/net/udp", Protocol::Udp),
    ("/proc/net/udp6", Protocol::Udp),
];
/// The state of a TCP socket that listens.
const LISTENS: &str = "0A";

/// Adds the ports of one table. A line that is not understood is no port.
pub(super) fn read(protocol: Protocol, table: &str, ports: &mut Vec<(Protocol, u16)>) {
    for line in table.lines() {
        // sl local_address rem_address st …
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(local), _, Some(state)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        let Some(port) = port.filter(|_| protocol == Protocol::Udp || state == LISTENS) else {
            continue;
        };
        if !ports.contains(&(protocol, port)) {
            ports.push((protocol, port));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_and_bound_sockets_are_found_and_nothing_else() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n";
        let tcp = "   0: 0100007F:03E9 00000000:0000 0A 00000000:00000000 00:00000000 0\n   \
                   1: 0100007F:03EA 0100007F:1F90 01 00000000:00000000 00:00000000 0\n   \
                   2: 00000000:03E9 00000000:0000 0A 0\n";
        let udp =
            "  9: 00000000000000000000000001000000:0035 0000:0000 07 0\n x\n 1: 00:zz 0:0 07\n";
        let mut ports = Vec::new();
        read(Protocol::Tcp, &format!("{head}{tcp}"), &mut ports);
        read(Protocol::Udp, &format!("{head}{udp}"), &mut ports);
        assert_eq!(ports, [(Protocol::Tcp, 1001), (Protocol::Udp, 53)]);
    }
}
