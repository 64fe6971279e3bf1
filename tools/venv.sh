# Sourced by python-peers.sh and check-record.sh.

# venv_with FOLDER NAME==VERSION...: a virtual environment with these packages; made once,
# and again where the list is another.
venv_with() {
  local venv=$1; shift
  local stamp
  stamp=$venv/.done-$(printf '%s\n' "$@" | sha256sum | cut -c1-16)
  if [ -e "$stamp" ]; then return; fi
  if ! command -v python3 >/dev/null; then
    echo "Python is missing: install python3 and python3-venv (Debian's names)" >&2
    return 1
  fi
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "this Python cannot make virtual environments: install python3-venv (Debian's name)" >&2
    return 1
  fi
  echo "installing $* into $venv (once)" >&2
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "$@"
  rm -f "$venv"/.done*
  touch "$stamp"
}
