package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
)

// profile records where this process spends processor time, and writes what
// memory it holds and has allocated when it is told to end: later its tables
// would be gone. The returned function waits for the files cpu.pprof,
// heap.pprof and allocs.pprof in dir, which are for `go tool pprof`. They go to
// the disk and not to a socket: nobody can ask for them.
func profile(dir string) (stop func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	cpu, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		_ = cpu.Close()
		return nil, fmt.Errorf("profile: %w", err)
	}
	end, done := make(chan os.Signal, 1), make(chan error, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-end
		signal.Stop(end)
		pprof.StopCPUProfile()
		errs := []error{cpu.Close()}
		runtime.GC() // heap.pprof is as of the last collection
		for _, name := range []string{"heap", "allocs"} {
			f, err := os.Create(filepath.Join(dir, name+".pprof"))
			if err == nil {
				err = errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
			}
			errs = append(errs, err)
		}
		done <- errors.Join(errs...)
	}()
	return func() error {
		select {
		case end <- syscall.SIGTERM: // it ends for another reason
		default:
		}
		return <-done
	}, nil
}
