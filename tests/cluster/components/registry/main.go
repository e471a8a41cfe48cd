// Command registry is an image registry, to which tests push what users push.
//
// As released it brings drivers for every cloud's storage; here is the one that writes to a folder.
package main

import (
	"fmt"
	"os"

	"github.com/distribution/distribution/v3/registry"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if err := registry.RootCmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
