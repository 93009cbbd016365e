#!/bin/sh
# Prints the session image's name, as the program of this source tree names it.
set -eu
manifest=$(dirname -- "$0")/../../Cargo.toml
printf 'convocate:%s\n' "$(sed -n 's/^version = "\(.*\)"$/\1/p' "$manifest" | head -n 1)"
