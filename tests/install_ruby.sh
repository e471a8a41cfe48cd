#!/bin/sh
# Ruby's stock XML-RPC client comes with Debian's ruby package. Where it cannot be installed the test that needs it is skipped, and says
# so; with CI set that is a failure.
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] && apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq ruby >/dev/null && ruby -e 'require "xmlrpc/client"' 2>/dev/null; then
    exit 0
fi
echo "ruby with xmlrpc/client is not installed and cannot be here; the test of the worker in another language will be skipped" >&2
[ -z "${CI:-}" ]
