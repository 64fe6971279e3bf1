#!/usr/bin/env bash
# Marks a built page as one build: its policy and its id in every document, and
# the list of its files with their digests in build.js, for www/sw.js.
#   tools/stamp.sh DIST
set -euo pipefail
policy=$(cat "$(dirname "$0")/../www/csp.txt")
cd "$1"

files() {
  find . -type f ! -path './bot/*' ! -path './npm/*' ! -name '.*' ! -name sw.js ! -name build.js -printf '%P\n' | LC_ALL=C sort
}
# A page may be stamped again.
find . -name '*.html' ! -path './bot/*' -exec \
  sed -i -e '/<meta http-equiv="Content-Security-Policy" content="default-src .none.; script-src .self. .wasm/d' -e '/<meta name="build"/d' {} +
id=$(files | xargs -d '\n' sha256sum | sha256sum | cut -c1-16)

for document in $(files | grep '\.html$'); do
  sed -i "0,/<meta charset=\"utf-8\">/s||&\n  <meta http-equiv=\"Content-Security-Policy\" content=\"$policy\">\n  <meta name=\"build\" content=\"$id\">|" "$document"
  grep -q "$id" "$document" || { echo "stamp: $document has no <meta charset=\"utf-8\">" >&2; exit 1; }
done

{
  echo "// Made by tools/stamp.sh: this build's files and their SHA-256; null for documents."
  echo "const BUILD = {"
  echo "  id: \"$id\","
  echo "  policy: \"$policy\","
  echo "  files: {"
  files | while read -r file; do
    case $file in
      *.html) digest=null ;;
      *) digest="\"$(sha256sum "$file" | cut -d' ' -f1)\"" ;;
    esac
    echo "    \"$file\": $digest,"
  done
  echo "  },"
  echo "};"
} > build.js
