#!/bin/sh
# format.sh check|fix: clang-format over the C code of this repository.
set -eu
cd "$(dirname "$0")/.."
files=$(git ls-files --cached --others --exclude-standard '*.c' '*.h' '*.inc' | grep -v '^third_party/')
case "${1:-check}" in
fix) clang-format -i $files ;;
check) clang-format --dry-run -Werror $files && echo "format: $(echo "$files" | wc -l) files are clean" ;;
*) echo "usage: format.sh check|fix" >&2; exit 2 ;;
esac
