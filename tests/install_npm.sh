#!/bin/sh
# npm fetches the components that draw the dashboards. Where it cannot be installed the tests that draw are skipped, and say so; with CI set
# that is a failure.
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] && apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null && command -v npm >/dev/null; then
    exit 0
fi
echo "npm is not installed and cannot be here; the tests that draw dashboards will be skipped" >&2
[ -z "${CI:-}" ]
