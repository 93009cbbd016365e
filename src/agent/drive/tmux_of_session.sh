# Stands before the scripts that talk to a session's tmux. Its first argument is the name of the
# server's socket, or nothing for the usual one. A container that has just started has no server for
# a moment; a text is not to be lost to that.
socket=$1
shift
tmux() {
    command tmux ${socket:+-L "$socket"} -u "$@"
}
tries=100
until tmux has-session -t =claude 2>/dev/null || [ "$tries" -eq 0 ]; do
    tries=$((tries - 1))
    sleep 0.05
done
