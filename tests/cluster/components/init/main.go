// Command init is the first process of whatever must not outlive its owner.
//
//	init [-until-eof] [COMMAND ARGUMENTS...]
//
// It is process 1 of a test cluster's machines and of every pod's sandbox: it reaps orphans and does nothing else until
// SIGTERM or SIGINT. When it ends, the kernel kills all processes of its PID namespace, and with them go the mounts and
// network devices that only they held.
//
// With -until-eof it also ends when its standard input does. Its owner holds the other end of that pipe, so even an owner
// that is killed by SIGKILL takes everything with it. With a command it runs that and ends with its exit code; the command
// is killed if init is.
package main

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	arguments := os.Args[1:]
	end := make(chan int)
	if len(arguments) > 0 && arguments[0] == "-until-eof" {
		arguments = arguments[1:]
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			end <- 128 + int(syscall.SIGHUP)
		}()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if len(arguments) > 0 {
		go run(arguments, end)
	} else {
		go reap()
	}
	select {
	case code := <-end:
		os.Exit(code)
	case <-signals:
		os.Exit(0)
	}
}

// run starts the command and reports its exit code. The parent-death signal is bound to the starting thread, hence the lock.
func run(arguments []string, end chan<- int) {
	runtime.LockOSThread()
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		println(err.Error())
		end <- 127
		return
	}
	_ = command.Wait()
	end <- command.ProcessState.ExitCode()
}

// reap waits for every orphan that the kernel hands to process 1, so that none stays a zombie.
func reap() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	for range died {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
