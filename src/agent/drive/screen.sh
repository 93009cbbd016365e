# Shows the screen of a session's tmux, with LINES of what has left it above.
#
#   screen LINES BYTES
shown=$(tmux capture-pane -p -t "=claude:" -S "-$1") || exit
printf '%s\n' "$shown" | tail -c "$2"
