package clip

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/framelog/framelog/internal/clip"
)

// Who waits for a file hears that its making has panicked, and the next one makes it anew.
func TestFilesAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(1 << 20)
		begun, goOn := make(chan struct{}), make(chan struct{})
		go func() {
			defer func() { _ = recover() }()
			_, _, _ = f.get(t.Context(), "a", func() (*clip.File, error) {
				close(begun)
				<-goOn
				panic("of the muxer")
			})
		}()
		<-begun
		waits := make(chan error)
		go func() {
			_, _, err := f.get(t.Context(), "a", nil)
			waits <- err
		}()
		synctest.Wait()
		close(goOn)
		if err := <-waits; !errors.Is(err, errPanic) {
			t.Errorf("who waits gets %v", err)
		}
		_, release, err := f.get(t.Context(), "a", func() (*clip.File, error) { return &clip.File{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}
