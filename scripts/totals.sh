#!/usr/bin/env bash
# Sums up the result lines of `cargo test` on standard input into one line.
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }'
