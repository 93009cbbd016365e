#!/bin/sh
# Stands before rustc (RUSTC_WRAPPER): instruments this project's library for libFuzzer and leaves
# its dependencies fast. The flags are stable ones.
rustc=$1
shift
case " $* " in
*' --crate-name convocate '*)
    exec "$rustc" "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$rustc" "$@"
