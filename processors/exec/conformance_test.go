package exec

import (
	"testing"

	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/tests/testenv"
)

// A processor that runs a program keeps the rules of package processors.
func TestConformance(t *testing.T) {
	testenv.SkipShort(t, "ffmpeg")
	t.Run("chunks", func(t *testing.T) {
		processorstest.Run(t, newEnv(t, "chunks", func(s *Settings) { s.Mode = modeEncoded }).Processor)
	})
	t.Run("pictures", func(t *testing.T) {
		processorstest.Run(t, withVideo(newEnv(t, "invert", func(s *Settings) { s.Output, s.Size = "alternative", "64x36" })).Processor,
			processorstest.Fragments(t, "h264-audio", "open-gop")...)
	})
}
