"""Define shell scripts to back up, replace and restore a folder or file on a host.

Each script call performs a complete step. The step that undoes another step is also a single script
call. So a journal entry can contain this call as a command.

A folder belongs to migqual if the folder contains the mark file of migqual, and every file
matches the checksum in the mark file. The scripts remove only folders of migqual. If a user changed
a folder or file, the script fails and leaves the change in place. The error message names the
changed path and the backup.

`$1` is the folder or file. `$2` is the tag in the names of backups and mark files. Only
`RESTORE_FILE` has `$3`, the name of libvirt's systemd unit without `.service`.
"""

_FAIL_IF_FOREIGN = """\
others() {
    before="originally, $1 did not exist"
    test ! -e "$1.$2" || before="the original version is $1.$2"
    echo "$1 was changed by somebody else; $before; move the right version to $1" >&2
    exit 1
}
"""
_IS_OUR_FOLDER = """\
ours() {
    test -e "$1/.$2" && test "$(cd -- "$1" && sort ".$2")" = \
        "$(cd -- "$1" && find . -type f ! -path "./.$2" -exec sha256sum {} + | sort)"
}
"""
BACK_UP_FOLDER = (
    _FAIL_IF_FOREIGN
    + _IS_OUR_FOLDER
    + """\
test -e "$1" || exit 0
ours "$1" "$2" && exit 0
test ! -e "$1.$2" && test ! -e "$1/.$2" || others "$1" "$2"
mv -T -- "$1" "$1.$2\""""
)
# The new folder is complete before the old folder is removed.
INSTALL_FOLDER = (
    _FAIL_IF_FOREIGN
    + _IS_OUR_FOLDER
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
RESTORE_FOLDER = (
    _FAIL_IF_FOREIGN
    + _IS_OUR_FOLDER
    + """\
rm -rf -- "$1.$2.new"
if ours "$1" "$2"; then rm -rf -- "$1"; fi
test ! -e "$1/.$2" || others "$1" "$2"
test -e "$1.$2" || exit 0
test ! -e "$1" || others "$1" "$2"
mv -T -- "$1.$2" "$1\""""
)
REMOVE_EMPTY_PARENT = 'test ! -d "$1" || rmdir --ignore-fail-on-non-empty -- "$1"'

_IS_UNCHANGED_FILE = """\
unchanged() { cmp -s -- "$1" "$1.$2" || cmp -s -- "$1" "$1.$2.ours"; }
"""
BACK_UP_FILE = """\
set -e
test ! -e "$1.$2" || exit 0
cp -a -- "$1" "$1.$2.new"
sync -- "$1.$2.new"
mv -T -- "$1.$2.new" "$1.$2\""""
# The file `$1` keeps its owner and permissions. The file `$1.$2.restart` marks a pending restart of
# the daemon. The script creates this mark before the change. The mark stays until the restart is
# done.
REPLACE_FILE = (
    _FAIL_IF_FOREIGN
    + _IS_UNCHANGED_FILE
    + """\
set -e
unchanged "$1" "$2" || others "$1" "$2"
cp -a -- "$1.$2" "$1.$2.new"
cat > "$1.$2.new"
cp -a -- "$1.$2.new" "$1.$2.ours"
touch -- "$1.$2.restart"
sync -- "$1.$2.new" "$1.$2.ours"
mv -T -- "$1.$2.new" "$1\""""
)
RESTORE_FILE = (
    _FAIL_IF_FOREIGN
    + _IS_UNCHANGED_FILE
    + """\
set -e
rm -f -- "$1.$2.new"
if test -e "$1.$2"; then
    unchanged "$1" "$2" || others "$1" "$2"
    touch -- "$1.$2.restart"
    mv -T -- "$1.$2" "$1"
fi
rm -f -- "$1.$2.ours"
if test -e "$1.$2.restart"; then
    systemctl try-restart "$3.service" && rm -f -- "$1.$2.restart"
fi"""
)
IS_RESTART_PENDING = 'test -e "$1.$2.restart"'
CLEAR_RESTART_PENDING = 'rm -f -- "$1.$2.restart"'
