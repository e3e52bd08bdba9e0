#!/bin/bash
# Prints the section of CHANGELOG.md for a version. Fails unless Cargo.toml has that
# version and the section is there.
set -euo pipefail
version=$1
cd "$(dirname "$0")/.."
if ! grep -qx "version = \"$version\"" Cargo.toml; then
    echo "Cargo.toml does not have version $version; set it before tagging" >&2
    exit 1
fi
notes=$(awk -v head="## $version" '
    $0 == head || index($0, head " ") == 1 { inside = 1; next }
    inside && /^## / { exit }
    inside' CHANGELOG.md)
if [ -z "$notes" ]; then
    echo "CHANGELOG.md has no section \"## $version\"; name the unreleased one so" >&2
    exit 1
fi
printf '%s\n' "$notes"
