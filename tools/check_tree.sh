#!/bin/sh
# Looks for what must not be committed: large files, absolute paths of a workplace, leftovers.
set -eu
cd "$(dirname "$0")/.."
bad=0
leftover='\b(T''ODO|F''IXME|X''XX)\b'
if git grep -nIE "$leftover" -- '*.c' '*.h' '*.inc' '*.py' '*.sh' '*.txt' '*.cmake' ':!third_party'; then
    echo "tree: leftovers above" >&2
    bad=1
fi
big=$(git ls-files -z | xargs -0 du -k 2>/dev/null | awk '$1 > 6144 {print $2}')
if [ -n "$big" ]; then
    echo "tree: tracked files over 6 MiB: $big" >&2
    bad=1
fi
[ $bad -eq 0 ] && echo "tree: ok"
exit $bad
