package gwlab

import (
	"errors"
	"fmt"
	"time"
)

// Eventually tries until try returns nil, a Fatal error, or the time is over.
func Eventually(within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := try()
		var f fatal
		switch {
		case err == nil:
			return nil
		case errors.As(err, &f):
			return f.error
		case time.Now().After(deadline):
			return fmt.Errorf("not within %s: %w", within, err)
		}
		time.Sleep(20 * time.Millisecond) // pause between tries of a bounded wait
	}
}

type fatal struct{ error }

// Fatal marks an error after which trying again is pointless.
func Fatal(err error) error { return fatal{err} }
