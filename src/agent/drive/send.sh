# Pastes the text of the environment into a session's tmux, then presses keys.
#
#   send BUFFER [KEY…]
#
# The text is not an argument: those are shown to everybody who lists processes. A program that
# asked for bracketed paste gets it as one. In copy mode, where somebody looks at what has left the
# screen, the keys would not reach the program; that is ended.
buffer=$1
shift
text=$CONVOCATE_TEXT
unset CONVOCATE_TEXT
tmux copy-mode -q -t "=claude:" || exit
if [ -n "$text" ]; then
    printf %s "$text" | tmux load-buffer -b "$buffer" - || exit
    tmux paste-buffer -p -d -b "$buffer" -t "=claude:" || exit
fi
[ $# -eq 0 ] || tmux send-keys -t "=claude:" "$@"
