#!/usr/bin/env bash
# The command line from a first score to a report. Run it in any folder: bash examples/command_line.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Scores to standard output, talk to standard error. Status 1: the system failed, or the mean is below --fail-under.
finer-rewards score "$here/ferries/predicted.sql" "$here/ferries/gold.sql" --db "$here/ferries/ferries.sqlite" \
    --reward "2 * execution_match() + atomic_f1()" --log "$work/scores.jsonl"

# One statement a line, and from a pipe.
echo "SELECT COUNT(*) FROM ferry" > "$work/gold.sql"
echo "SELECT MAX(id) FROM ferry" | finer-rewards score - "$work/gold.sql" --db "$here/ferries/ferries.sqlite" --format jsonl

# Why: operations, results, the score.
finer-rewards explain "SELECT name FROM ferry" "SELECT name FROM ferry WHERE seats > 100" --db "$here/ferries/ferries.sqlite"

# The same predictions under BIRD's rule, and what changes.
finer-rewards rescore "$work/scores.jsonl" --db "$here/ferries/ferries.sqlite" --mode bird
