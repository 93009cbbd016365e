//! Docker's own disk is full: what is told, and that all goes on when there is room again.

use super::sessions::{CLIENT, ROOT, enrol, listing};
use super::{IMAGE, host_with_image};

#[test]
fn a_full_disk_of_dockers_is_told_and_holds_nothing() {
    let test = "a_full_disk_of_dockers_is_told_and_holds_nothing";
    let Some(host) = host_with_image(test) else { return };
    host.done(
        "systemctl stop docker docker.socket && \
         mount -t tmpfs -o size=900m tmpfs /var/lib/docker && systemctl start docker",
    );
    host.bring_image(IMAGE);
    host.done("/root/convocate-agent install");
    enrol(&host);
    let call = |words: &str| host.sh(&format!("timeout 60 {CLIENT} {words} {ROOT}"));
    for words in ["new one --command bash", "restart one", "new two --command bash"] {
        assert_eq!(call(words).code, 0, "{words}");
    }
    host.sh(
        "dd if=/dev/zero of=/var/lib/docker/filler bs=1M; cat /dev/zero >>/var/lib/docker/filler",
    );

    // What needs no room goes on, and what needs some says so and leaves nothing.
    let told = call("restart two");
    assert_eq!(told.code, 1, "{}", told.text);
    assert!(told.text.contains("docker: ") && told.text.contains("no space left"), "{}", told.text);
    assert!(listing(&host).contains("\n-  two "), "{}", listing(&host));
    assert_eq!(call("new three").code, 0);
    assert_eq!(call("rm three").code, 0);
    let stopped = call("kill one");
    assert_eq!(stopped.code, 0, "{}", stopped.text);
    assert!(listing(&host).contains("\n-  one "), "{}", listing(&host));
    assert_eq!(host.done("docker ps -aq"), "");

    host.done("rm /var/lib/docker/filler");
    for name in ["one", "two"] {
        let started = call(&format!("restart {name}"));
        assert_eq!(started.code, 0, "{}", started.text);
        assert!(listing(&host).contains(&format!("\nR  {name} ")), "{}", listing(&host));
    }
}
