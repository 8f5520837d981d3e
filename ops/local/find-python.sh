#!/bin/sh
# Print the first Python 3.11 or newer that really runs (a pyenv shim may exist but fail).
for python in python3.13 python3.12 python3.11 python3 python; do
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
  echo "$python"
  exit 0
done
echo "starfold: needs Python 3.11 or newer on PATH, and found none that runs" >&2
exit 1
