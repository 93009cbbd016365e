#!/bin/bash
# Runs a session: one command, in tmux session `claude`, as user `claude`.
#
#   entrypoint COMMAND   as root, below the container's init; ends when the session ends
#
# CLAUDE_UID and CLAUDE_GID say who `claude` is on the host (1337 if they do not). CONVOCATE_COLS
# and CONVOCATE_ROWS are the terminal's size until somebody attaches.
#
# Exit status: the command's own; 129 if the session was closed under it; 143 if the container was
# asked to stop. Waiting costs no processor time: nothing here polls while the session lives.
set -eu

# This part is root's, and a directory of the session's may stand first in the image's own path.
image_path=$PATH
PATH=/usr/sbin:/usr/bin:/sbin:/bin

run=/run/convocate
last_words=$run/last-words
# `$run` is memory, which goes with the container. What is to be read afterwards is kept here.
kept=/var/lib/convocate
start_words=$kept/start-words
channel=convocate-end

# --- as root -----------------------------------------------------------------------------------

uid=${CLAUDE_UID:-1337}
gid=${CLAUDE_GID:-1337}

# Only the account files change. usermod would walk through the home and change owners there.
adopt_ids() {
    sed -i "s/^claude:x:[0-9]*:[0-9]*:/claude:x:$uid:$gid:/" /etc/passwd
    sed -i "s/^claude:x:[0-9]*:/claude:x:$gid:/" /etc/group
}

# The host's Docker socket is there only if the session was given it; then claude may use it.
join_docker() {
    local socket=/var/run/docker.sock
    if [ -S "$socket" ] && ! grep -q '^convocate-docker:' /etc/group; then
        echo "convocate-docker:x:$(stat -c %g "$socket"):claude" >>/etc/group
    fi
}

exec_as_claude() {
    exec setpriv --reuid "$uid" --regid "$gid" --init-groups -- \
        env PATH="$image_path" HOME=/home/claude USER=claude LOGNAME=claude SHELL=/bin/bash "$@"
}

# What runs as claude has none of our descriptors: its server, or what took its place, may have a
# client of tmux run a program. What a start says is kept, and of that a part is told.
#
# tmux takes a last character `;` of an argument for its own, hence the newline behind the command.
start_session() {
    (
        exec </dev/null >"$start_words" 2>&1
        exec_as_claude tmux -f /etc/convocate/tmux.conf new-session -d -s claude \
            -x "${CONVOCATE_COLS:-80}" -y "${CONVOCATE_ROWS:-24}" -c /home/claude \
            -- /usr/local/lib/convocate/pane "$last_words" bash -lc "$1"$'\n'
    ) || head -c 4096 "$start_words" >&2
}

# The waiter hangs on tmux's socket until tmux.conf's hook or the end of the server wakes it.
# A signal that comes before the waiter is known is found in `asked`.
await_end() {
    trap 'asked=yes; [ -z "$waiter" ] || kill "$waiter" 2>/dev/null || :' TERM INT
    exec_as_claude tmux wait-for "$channel" </dev/null >/dev/null 2>&1 &
    waiter=$!
    [ -n "$asked" ] || wait "$waiter" || :
    trap '' TERM INT
}

# First the terminal goes away, which is SIGHUP; then SIGTERM; what is left then dies with the
# container. In all less than the ten seconds that a stop has. To everybody but ourselves and init,
# by the shell itself: where all processes of the cap are in use, no other can be started.
end_processes() {
    local seconds=$1
    kill -HUP -1 2>/dev/null || :
    (exec_as_claude tmux kill-server </dev/null >/dev/null 2>&1) || :
    await_processes "$seconds"
    kill -CONT -1 2>/dev/null || :
    kill -TERM -1 2>/dev/null || :
    await_processes "$seconds"
}

await_processes() {
    local end=$((SECONDS + $1))
    while [ "$SECONDS" -lt "$end" ] && ! is_alone; do
        sleep 0.1
    done
}

# Whether init and this are all that is left, whoever claude is on the host: root, for a try.
is_alone() {
    local entry
    for entry in /proc/[0-9]*; do
        case ${entry#/proc/} in
            1 | "$$") ;;
            *) return 1 ;;
        esac
    done
}

command=${1:-bash}
asked=
waiter=
rm -f "$last_words" "$kept/last-words"
adopt_ids
join_docker
start_session "$command"
echo "session started: $command"
await_end
if [ -n "$asked" ]; then
    end_processes 3
    echo "session stopped"
    exit 143
fi
end_processes 1
status=129
if [ -f "$last_words" ]; then
    read -r status <"$last_words" || :
    head -c 65536 "$last_words" >"$kept/last-words" || :
fi
echo "session ended with status $status"
exit "$status"
