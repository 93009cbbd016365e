# shellcheck shell=sh
# Puts the system's packages in place that a script needs. Sourced, never run:
#
#     need COMMAND PACKAGE    0 when COMMAND is there in the end, else 1 and one sentence
#     need_from_pypi DIRECTORY PACKAGE==VERSION...
#                             0 when DIRECTORY is a Python environment with all of them
#
# A package is installed as root, or by `sudo -n`, with apt-get. Nothing is asked, and where none
# of that is possible nothing is changed.

# Servers live where an ordinary user's PATH does not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

need() {
    command -v "$1" >/dev/null 2>&1 && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "$1 is missing, and there is no apt-get here; install the package that has it" >&2
        return 1
    fi
    if ! as_root true; then
        echo "$1 is missing; run: sudo apt-get install $2" >&2
        return 1
    fi
    echo "installing $2" >&2
    install_package "$2" && command -v "$1" >/dev/null 2>&1 && return 0
    echo "$1 is missing, and apt-get could not install $2" >&2
    return 1
}

# Done before, it takes no time.
need_from_pypi() {
    venv=$1
    shift
    [ "$(cat "$venv/installed" 2>/dev/null)" != "$*" ] || return 0
    rm -rf "$venv"
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
        install_package python3-venv || return 1
        python3 -m venv --clear "$venv" || return 1
    fi
    # One package that has no wheel for this machine takes none of the others with it.
    missing=''
    for package; do
        "$venv/bin/pip" install --quiet --only-binary :all: "$package" ||
            missing="$missing $package"
    done
    [ -z "$missing" ] || { echo "not to be had:$missing" >&2; return 1; }
    echo "$*" >"$venv/installed"
}

# The lists of packages may be old or absent: the second try is behind an update.
install_package() {
    apt_install "$1" >/dev/null 2>&1 && return 0
    as_root apt-get -o DPkg::Lock::Timeout=300 -qq update >/dev/null && apt_install "$1" >/dev/null
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
        -qq -y --no-install-recommends install "$1"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@" 2>/dev/null; fi
}
