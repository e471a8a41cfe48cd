#!/bin/sh
# Ruby's stock XML-RPC client comes with Debian's ruby package. Elsewhere, or without the rights, the test that needs it says so.
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq ruby >/dev/null
else
    echo "ruby with xmlrpc/client is not installed; the test of the worker in another language will be skipped" >&2
fi
