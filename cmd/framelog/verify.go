package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/evidence"
	"github.com/framelog/framelog/internal/medialog"
)

// verifyCmd is "framelog verify".
type verifyCmd struct {
	settings
	Dir        string `arg:"" help:"The directory that \"framelog export\" wrote."`
	PublicKey  string `help:"The export must be signed with the key of this one, in PEM as \"openssl pkey -pubout\" writes it." placeholder:"FILE"`
	AgainstLog bool   `help:"Also compare it with the footage, as far as the log or the archive still has it."`
	Output     string `help:"How to print: table or json." enum:"table,json" default:"table" short:"o" placeholder:"FORM"`
}

// verdict is the JSON of verify.
type verdict struct {
	OK       bool               `json:"ok"`
	Signed   bool               `json:"signed"`
	Problems []evidence.Problem `json:"problems"`
	Log      *evidence.Compared `json:"log,omitempty"` // with --against-log
	Manifest *evidence.Manifest `json:"-"`
}

// Run verifies the export. It fails if a byte is changed.
func (c *verifyCmd) Run(ctx context.Context, k *kong.Context) error {
	v, err := c.verify(ctx, k)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		e := json.NewEncoder(k.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(v)
	} else {
		err = c.print(k, v)
	}
	if err == nil && !v.OK {
		err = fmt.Errorf("%s is not as it was exported", c.Dir)
	}
	return err
}

func (c *verifyCmd) verify(ctx context.Context, k *kong.Context) (*verdict, error) {
	var key ed25519.PublicKey
	if c.PublicKey != "" {
		var err error
		if key, err = evidence.ReadPublicKey(c.PublicKey); err != nil {
			return nil, &cli.UsageError{What: "--public-key: " + err.Error()}
		}
	}
	files, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, &cli.UsageError{What: err.Error(), Remedy: "name a directory that \"framelog export\" wrote"}
	}
	total := int64(0)
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			total += info.Size()
		}
	}
	show := onTerminal(k)
	got, err := evidence.Verify(ctx, c.Dir, key, progress(show, c.Dir+": read", total))
	clearLine(show)
	if err != nil {
		return nil, err
	}
	v := &verdict{Signed: got.Signed, Problems: got.Problems, Manifest: got.Manifest}
	if c.AgainstLog && got.Manifest != nil {
		if v.Log, err = c.compare(ctx, k, got.Manifest); err != nil {
			return nil, err
		}
		v.Problems = append(v.Problems, v.Log.Problems...)
	}
	v.OK = len(v.Problems) == 0
	return v, nil
}

// compare compares the export with the log.
func (c *verifyCmd) compare(ctx context.Context, k *kong.Context, m *evidence.Manifest) (*evidence.Compared, error) {
	cfg, err := c.load(nil)
	if err != nil {
		return nil, err
	}
	if err := brokers.Check(ctx, cfg); err != nil {
		return nil, err
	}
	l, err := medialog.Connect(readerConfig(cfg, "framelog-verify"), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	total := int64(0)
	for i := range m.Clips {
		total += m.Clips[i].Bytes - m.Clips[i].Header.Bytes
	}
	all, err := withArchive(cfg, l, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	show := onTerminal(k)
	got, err := m.Compare(ctx, all, progress(show, "the log: compared", total))
	clearLine(show)
	if errors.Is(err, evidence.ErrMuxer) {
		return nil, &cli.UsageError{What: err.Error(), Remedy: "compare it with the version that made it, " + m.Made.Software}
	}
	return got, err
}

// print tells people what was found.
func (c *verifyCmd) print(k *kong.Context, v *verdict) error {
	say := func(format string, args ...any) { fmt.Fprintf(k.Stdout, format+"\n", args...) }
	for _, p := range v.Problems {
		say("%s: %s", p.File, p.Cause)
	}
	m := v.Manifest
	if m == nil {
		return nil
	}
	say("%s: %s.", c.Dir, whatOf(m))
	for _, gone := range m.Missing {
		say("Without footage: %s to %s, %s %s", shown(gone.From), shown(gone.To), gone.Kind, gone.Reason)
	}
	if v.Log != nil {
		say("The log and the archive have %d of the %d segments with the same bytes, %d with others, and %d not any more.",
			v.Log.Equal, v.Log.Segments, len(v.Log.Problems), v.Log.Gone)
	}
	switch {
	case !v.OK:
	case v.Signed && c.PublicKey != "":
		say("Every byte is as it was exported, and signed with the key.")
	case v.Signed:
		say("Every byte is as it was exported, and signed with the key %s; --public-key says whether it is the right one.", m.PublicKey)
	default:
		say("Every byte is as it was exported. It has no signature: whoever can change the clips can also change the sums.")
	}
	return nil
}
