#!/bin/sh
# Debian's chromium draws the dashboards, without a screen. Where it cannot be installed the tests that draw are skipped, and say so; with CI
# set that is a failure.
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] && apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null &&
    command -v chromium >/dev/null; then
    exit 0
fi
echo "chromium is not installed and cannot be here; the tests that draw dashboards will be skipped" >&2
[ -z "${CI:-}" ]
