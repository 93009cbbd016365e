#!/bin/bash
# Runs the command of a session in the first pane of its tmux session, and leaves its last words.
#
#   pane FILE PROGRAM ARGUMENTS…
#
# FILE gets the exit status, a line, and behind it what stood on the screen at the end.
set +e -m
file=$1
shift

# The command is a job of its own, so that one that stops itself (Ctrl-Z) is put back to work:
# there is no shell behind it that could be asked to. bash hands the terminal over through its
# standard error, so that must be the terminal. It also leaves every loop when a job stops, hence
# no loop here.
resume() {
    [ -n "$(jobs -s)" ] || return
    fg %1 >/dev/null
    status=$?
    resume
}

"$@"
status=$?
resume
{
    echo "$status"
    tmux capture-pane -p -S -200 -t "$TMUX_PANE" | tail -c 60000
} >"$file.new" 2>/dev/null
mv -f "$file.new" "$file"
