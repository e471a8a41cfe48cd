// Command coredns answers for the cluster's Services and pods.
//
// CoreDNS as released brings plugins for every cloud's own name service, and with them four fifths of its build time. Here
// are those that the cluster's Corefile names.
package main

import (
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() {
	coremain.Run()
}
