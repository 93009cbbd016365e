//! What to do about what the Engine refuses, for those of its refusals that an operator can mend.

/// What follows the Engine's own words; nothing where there is nothing to say.
pub(super) fn advice(words: &str) -> &'static str {
    let has = |part: &str| words.contains(part);
    if has("bind source path does not exist") {
        "; that path of its host is gone: put it back, and start the session again"
    } else if has("port is already allocated") || has("address already in use") {
        "; something else on its host has its port (see there: ss -lntup): end that, or give the \
         session another port: convocate edit SESSION --port auto"
    } else if has("no space left on device") {
        "; the engine's disk is full: make room there"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_mended_says_how() {
        for (words, part) in [
            (
                "invalid mount config for type \"bind\": bind source path does not exist: /a",
                "put it back",
            ),
            (
                "driver failed programming external connectivity on endpoint x (7): Bind for \
                 0.0.0.0:8080 failed: port is already allocated",
                "--port auto",
            ),
            (
                "Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already in \
                 use",
                "ss -lntup",
            ),
            ("write /var/lib/docker/x: no space left on device", "make room"),
        ] {
            assert!(advice(words).starts_with("; ") && advice(words).contains(part), "{words}");
        }
        assert_eq!(advice("no such container"), "");
    }
}
