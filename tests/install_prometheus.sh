#!/bin/sh
# prometheus and promtool come with Debian's prometheus package, 2.42 in Debian 12: what works there works on newer servers too; Pushgateway
# has its own. No service is started: the tests start theirs. Where it cannot be installed the tests that need it are skipped, and say so; with CI set
# that is a failure.
install() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    if [ ! -e /usr/sbin/policy-rc.d ]; then # what packages ask before they start a service; 101 forbids it
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-pushgateway \
        >/dev/null && command -v prometheus >/dev/null && command -v promtool >/dev/null && command -v prometheus-pushgateway >/dev/null
}
install && exit 0
echo "prometheus is not installed and cannot be here; the tests of rules and of what Prometheus sees will be skipped" >&2
[ -z "${CI:-}" ]
