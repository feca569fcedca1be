#!/bin/sh
# Reads the output of `cargo test` (one run or several, stderr included) on its standard input,
# passes it on, and ends with one line of totals. Fails when a test failed, when nothing ran, or
# when cargo itself reported an error, since a pipe hides its exit code.
#
#     cargo test ... 2>&1 | scripts/totals.sh
exec awk '
{ print; fflush() }
/^test result: / {
    for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) passed += $(i - 1)
        if ($i ~ /^failed/) failed += $(i - 1)
    }
}
# Other programs may add to the totals with a line of their own.
/^totals: [0-9]+ passed, [0-9]+ failed/ { passed += $2; failed += $4 }
/^SKIPPED: / { skipped++ }
/^error(\[|:)/ { broken = 1 }
END {
    # A cargo error that is only "test failed" is already counted.
    if (passed + failed == 0 || (broken && failed == 0)) { failed++ }
    line = sprintf("%d passed, %d failed", passed, failed)
    if (skipped) line = line sprintf(", %d skipped", skipped)
    print line
    exit failed > 0
}'
