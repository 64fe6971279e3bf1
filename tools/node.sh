# Sourced by setup.sh and lighthouse.sh.

# node_packages FOLDER WHAT: npm's packages of a folder, as its lock file has them; once.
node_packages() {
  local stamp=$1/node_modules/.stamp
  if [ -e "$stamp" ] && [ ! "$1/package-lock.json" -nt "$stamp" ]; then return; fi
  echo "setup: installing $2" >&2
  (cd "$1" && npm ci --silent --no-audit --no-fund) && touch "$stamp"
}
