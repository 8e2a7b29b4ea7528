#!/bin/sh
# Starts a Windows Python of the lab as if it were a command of this system. `winelab install` copies this file to
# $WINELAB_HOME/bin/python3.14 and python3.11; the name it is called by says which. Standard streams are passed through
# untouched (Wine needs them to be pipes, terminals or /dev/null: a regular file as stdin, stdout or stderr fails).
set -euf

home=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
version=${0##*/python}

windows_path() { # in Windows form: Wine shows / as drive Z:
  case $1 in /*) entry=$1 ;; *) entry=$PWD/$1 ;; esac
  printf 'Z:%s' "$entry" | tr / '\134'
}

python=$home/python-$version/python.exe
[ -z "${WINELAB_VENV:-}" ] || python=$home/venv/python-$version/Scripts/python.exe

command -v wine >/dev/null || { echo "$0: wine is missing: run 'winelab install'" >&2; exit 127; }

export WINEPREFIX="$home/prefix" WINEARCH=win64 WINEDEBUG="${WINEDEBUG:--all}"
export WINEDLLOVERRIDES="ucrtbase,version=n,b;winemenubuilder.exe=d;mscoree,mshtml=d"
unset PYTHONHOME __PYVENV_LAUNCHER__ # they would name a Python of Linux

PYTHONPATH=
separator=
IFS=:
for entry in ${WINELAB_PATH:-}; do
  PYTHONPATH=$PYTHONPATH$separator$(windows_path "$entry")
  separator=';'
done
unset IFS
export PYTHONPATH
if [ -n "${WINELAB_SITE:-}" ]; then # read as the user site, which, unlike PYTHONPATH, honours .pth files (pywin32 has one)
  sites=$home/site/python-$version
  [ -d "$sites/$WINELAB_SITE" ] || { echo "$0: no site '$WINELAB_SITE': run 'winelab pip $version --site $WINELAB_SITE REQ...'" >&2; exit 1; }
  base=$sites/.base/$WINELAB_SITE/Python3${version#3.}
  [ -e "$base/site-packages" ] || { mkdir -p "$base" && ln -sfn "../../../$WINELAB_SITE" "$base/site-packages"; }
  PYTHONUSERBASE=$(windows_path "${base%/*}")
  export PYTHONUSERBASE
  unset PYTHONNOUSERSITE
fi

# Linux puts a process's heap anywhere in the gigabyte behind its program, which for Wine is 0x7d000000, and every Windows
# process needs the page at 0x7ffe0000 (KUSER_SHARED_DATA): one start in 2500 would fail ("failed to map the shared user
# data"). So memory is laid out the same for all of them. A container may forbid that (personality(2)).
fixed=
if setarch -R true 2>/dev/null; then fixed="setarch -R"; fi # used unquoted: two words or none

# The first process of a prefix starts wineserver and Wine's services, and all of them keep the standard error they
# inherit: a reader of this command's stderr would wait for their end, not for Python's. So they are started here, first,
# with nothing of the caller's: no stream, no session, no environment. They stay for 60 s after the last process (a start
# takes 0.15 s with them, 0.4 s without). wineserver ends with 2 where one is running already.
apart() {
  env -i HOME="$HOME" PATH="$PATH" WINEPREFIX="$WINEPREFIX" WINEARCH=win64 WINEDEBUG=-all \
    WINEDLLOVERRIDES="$WINEDLLOVERRIDES" setsid -w "$@" 9>&-
}
# shellcheck disable=SC2086
(
  flock 9
  cd /
  if apart wineserver -p60 2>>"$home/server.log"; then apart $fixed wine cmd /c exit; fi
) 9>"$home/server.lock" </dev/null >/dev/null 2>&1 || true

# shellcheck disable=SC2086
exec $fixed wine "$python" "$@"
