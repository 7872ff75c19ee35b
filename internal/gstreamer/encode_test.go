package gstreamer

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

func needEncoders(t *testing.T) {
	t.Helper()
	if err := Init(); err != nil {
		testenv.Missing(t, "%v", err)
	}
	if err := Require("x264enc", "h264parse", "avenc_aac", "aacparse"); err != nil {
		testenv.Missing(t, "%v", err)
	}
}

// collect takes what an encoder delivers.
type collect struct {
	mu     sync.Mutex
	config []byte
	units  []EncodedUnit
}

func (c *collect) take(config []byte, u EncodedUnit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config, c.units = config, append(c.units, u)
}

// wait gives what has come once that is n units. More may come meanwhile.
func (c *collect) wait(t *testing.T, n int) (config []byte, units []EncodedUnit) {
	t.Helper()
	for deadline := time.Now().Add(testenv.Patience); ; <-time.After(5 * time.Millisecond) {
		c.mu.Lock()
		config, units = c.config, c.units
		c.mu.Unlock()
		if len(units) >= n {
			return config, units
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d units of %d", len(units), n)
		}
	}
}

func TestH264Encoder(t *testing.T) {
	needEncoders(t)
	for name, bFrames := range map[string]int{"zero latency": 0, "B-frames": 2} {
		var c collect
		e, err := NewH264Encoder(H264Config{Width: 160, Height: 96, FPS: 25, BFrames: bFrames, KeyInterval: 10}, c.take)
		if err != nil {
			t.Fatal(err)
		}
		const frames, start = 60, 7 * time.Second
		pic := make([]byte, 160*96*3/2)
		for n := range frames {
			for i := range pic {
				pic[i] = byte(i*n + i/160)
			}
			if err := e.Push(pic, start+time.Duration(n)*40*time.Millisecond, 40*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		config, units := c.wait(t, frames-2*bFrames-1)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if config[0] != 1 { // avcC: configurationVersion
			t.Errorf("%s: configuration begins with %d", name, config[0])
		}
		if units[0].PTS != start {
			t.Errorf("%s: the first unit has PTS %v", name, units[0].PTS)
		}
		seen, reordered := map[time.Duration]bool{}, false
		for i, u := range units {
			if seen[u.PTS] || u.PTS < start || (u.PTS-start)%(40*time.Millisecond) != 0 {
				t.Errorf("%s: unit %d has PTS %v", name, i, u.PTS)
			}
			seen[u.PTS] = true
			if i > 0 && (u.DTS <= units[i-1].DTS || u.DTS > u.PTS) {
				t.Errorf("%s: unit %d has DTS %v after %v, and PTS %v", name, i, u.DTS, units[i-1].DTS, u.PTS)
			}
			reordered = reordered || u.PTS != u.DTS && i > 0 && u.PTS < units[i-1].PTS
			if u.Sync && i%10 != 0 || i == 0 && !u.Sync {
				t.Errorf("%s: unit %d: sync is %v", name, i, u.Sync)
			}
		}
		if reordered != (bFrames > 0) {
			t.Errorf("%s: reordering is %v", name, reordered)
		}
		if err := e.Push(pic, 0, 0); err == nil {
			t.Errorf("%s: a closed encoder took a picture", name)
		}
	}
}

func TestAACEncoder(t *testing.T) {
	needEncoders(t)
	var c collect
	e, err := NewAACEncoder(AACConfig{SampleRate: 48000, Channels: 1}, c.take)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for n := range 50 {
		if err := e.Push(make([]byte, 2*1920), time.Duration(n)*40*time.Millisecond, 40*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	config, units := c.wait(t, 80)
	if len(config) < 2 || config[0]>>3 != 2 { // AudioSpecificConfig: AAC-LC
		t.Errorf("configuration is %x", config)
	}
	for i, u := range units {
		if off := u.PTS - time.Duration(i)*1024*time.Second/48000; off.Abs() > time.Millisecond {
			t.Errorf("frame %d has PTS %v", i, u.PTS)
		}
	}
}

func TestMissing(t *testing.T) {
	if err := Init(); err != nil {
		testenv.Missing(t, "%v", err)
	}
	err := Require("appsrc", "nosuchelement", "avnosuchelement")
	var m *MissingError
	if !errors.As(err, &m) || len(m.Elements) != 2 {
		t.Fatalf("error is %v", err)
	}
	if want := "apt-get install gstreamer1.0-plugins-base gstreamer1.0-libav"; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
}
