# Says on what branch a repository is, how much of it is not committed and how much not pushed.
#
#   look DIRECTORY
#
# Nothing is written: git would renew its index else, and somebody else may be at that.
cd "$1" 2>/dev/null && [ -e .git ] || exit 3
export GIT_OPTIONAL_LOCKS=0
git status --porcelain=v2 --branch | sed -n -e '/^# branch[.]/p' -e '$='
echo "since $(git rev-list --count refs/convocate/begin..HEAD 2>/dev/null)"
