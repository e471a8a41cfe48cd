module fedcore.dev/testcluster/init

go 1.26
