# Makes a session's home ready, and becomes its command: clones the repository, runs the setup
# command, hands the prompt over. Each is done once; what was cut short is begun again.
#
#   start COMMAND
#
# What there is to do stands in the environment. What is done is noted in the home, where the
# session may change it: it harms nobody else.
command=$1
repo=${CONVOCATE_REPO-} branch=${CONVOCATE_BRANCH-} directory=${CONVOCATE_DIRECTORY-}
setup=${CONVOCATE_SETUP-} prompt=${CONVOCATE_PROMPT-}
unset CONVOCATE_START CONVOCATE_REPO CONVOCATE_BRANCH CONVOCATE_DIRECTORY CONVOCATE_SETUP \
    CONVOCATE_PROMPT
notes=$HOME/.convocate

say() {
    printf 'convocate: %s\n' "$1"
}

# The reason stays on the screen, with a shell to look around in.
give_up() {
    say "$1"
    say "the command was not started; a restart of the session tries again"
    say "this is a shell"
    exec bash
}

is_noted() {
    [ "$(cat "$notes/$1" 2>/dev/null)" = "$2" ]
}

note() {
    mkdir -p "$notes" && printf '%s\n' "$2" >"$notes/$1"
}

# The place has its name only when all is there.
clone() {
    local part=$notes/clone
    [ ! -e "$place" ] || give_up "~/$directory is there and is no repository: move it away"
    mkdir -p "$notes" && rm -rf "$part" || give_up "there is no room for the repository"
    say "cloning $repo"
    git clone ${branch:+--branch "$branch"} -- "$repo" "$part" ||
        give_up "git clone ended with status $?"
    # Where the session began, for whoever asks later. An empty repository has no commit.
    git -C "$part" update-ref refs/convocate/begin HEAD 2>/dev/null
    mv "$part" "$place" || give_up "the repository could not be moved to ~/$directory"
}

if [ -n "$repo" ]; then
    place=$HOME/$directory
    [ -e "$place/.git" ] || clone
    cd "$place" || give_up "~/$directory cannot be entered"
fi
if [ -n "$setup" ] && ! is_noted setup "$setup"; then
    say "setting up: $setup"
    bash -c "$setup" || give_up "the setup command ended with status $?"
    note setup "$setup"
fi
if [ -z "$prompt" ] || is_noted prompt "$prompt"; then
    exec bash -c "$command"
fi
note prompt "$prompt"
bash -c "$command $(printf %q "$prompt")"
status=$?
# The shell's statuses for a command that is not there: nobody has read the prompt.
case $status in
    126 | 127) rm -f "$notes/prompt" ;;
esac
exit "$status"
