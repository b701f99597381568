"""What was on a host before us is moved aside and comes back: as shell, so that each step is one
call, and can be undone by the journal alone.

A folder is ours if it bears our mark and every file in it is as the mark says. Nothing else is ever
removed; what somebody has changed meanwhile is left, and that is an error which names both places.

`$1` is the folder or file, `$2` names what is ours and what was moved aside, `$3` is the unit of
libvirt's daemon.
"""

_OTHERS = """\
others() {
    before="nothing was there before us"
    test ! -e "$1.$2" || before="what was there before us is $1.$2"
    echo "$1 was changed by somebody else; $before" >&2
    exit 1
}
"""
_OURS = """\
ours() {
    test -e "$1/.$2" && test "$(cd -- "$1" && sort ".$2")" = \
        "$(cd -- "$1" && find . -type f ! -path "./.$2" -exec sha256sum {} + | sort)"
}
"""
FOLDER_ASIDE = (
    _OTHERS
    + _OURS
    + """\
test -e "$1" || exit 0
ours "$1" "$2" && exit 0
test ! -e "$1.$2" && test ! -e "$1/.$2" || others "$1" "$2"
mv -T -- "$1" "$1.$2\""""
)
# new ones are complete before the old ones go
FOLDER_PUT = (
    _OTHERS
    + _OURS
    + """\
set -e
rm -rf -- "$1.$2.new"
mkdir -p -m 755 -- "$1.$2.new"
tar -xpf - -C "$1.$2.new"
if test -e "$1"; then
    ours "$1" "$2" || { rm -rf -- "$1.$2.new"; others "$1" "$2"; }
    rm -rf -- "$1"
fi
mv -T -- "$1.$2.new" "$1\""""
)
FOLDER_BACK = (
    _OTHERS
    + _OURS
    + """\
rm -rf -- "$1.$2.new"
if ours "$1" "$2"; then rm -rf -- "$1"; fi
test ! -e "$1/.$2" || others "$1" "$2"
test -e "$1.$2" || exit 0
test ! -e "$1" || others "$1" "$2"
mv -T -- "$1.$2" "$1\""""
)
PARENT_BACK = 'test ! -d "$1" || rmdir --ignore-fail-on-non-empty -- "$1"'

_UNCHANGED = """\
unchanged() { cmp -s -- "$1" "$1.$2" || cmp -s -- "$1" "$1.$2.ours"; }
"""
FILE_ASIDE = """\
set -e
test ! -e "$1.$2" || exit 0
cp -a -- "$1" "$1.$2.new"
sync -- "$1.$2.new"
mv -T -- "$1.$2.new" "$1.$2\""""
# owner and rights stay; the restart is owed from before the change until it is done
FILE_PUT = (
    _OTHERS
    + _UNCHANGED
    + """\
set -e
unchanged "$1" "$2" || others "$1" "$2"
cp -a -- "$1.$2" "$1.$2.new"
cat > "$1.$2.new"
cp -a -- "$1.$2.new" "$1.$2.ours"
touch -- "$1.$2.owed"
sync -- "$1.$2.new" "$1.$2.ours"
mv -T -- "$1.$2.new" "$1\""""
)
FILE_BACK = (
    _OTHERS
    + _UNCHANGED
    + """\
set -e
rm -f -- "$1.$2.new"
if test -e "$1.$2"; then
    unchanged "$1" "$2" || others "$1" "$2"
    touch -- "$1.$2.owed"
    mv -T -- "$1.$2" "$1"
fi
rm -f -- "$1.$2.ours"
if test -e "$1.$2.owed"; then systemctl try-restart "$3.service" && rm -f -- "$1.$2.owed"; fi"""
)
RESTART_OWED = 'test -e "$1.$2.owed"'
RESTARTED = 'rm -f -- "$1.$2.owed"'
