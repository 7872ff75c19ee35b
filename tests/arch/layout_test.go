package arch

import (
	"slices"
	"testing"
)

// mayNeed tells what of ours each of these packages may need, directly or through
// others: what is below it. A package that is not listed may need anything that the
// other tests allow.
var mayNeed = map[string][]string{
	"internal/codec":     {"schemas"},
	"internal/cmaf":      {"schemas", "internal/codec"},
	"internal/kafka":     {"schemas"},
	"internal/medialog":  {"schemas", "internal/kafka"},
	"internal/registry":  {"schemas", "internal/kafka", "internal/secrets"},
	"internal/secrets":   {"schemas"},
	"internal/share":     {"schemas", "internal/kafka", "internal/registry", "internal/secrets"},
	"internal/gstreamer": {"schemas", "internal/codec"},
	"internal/camsim":    {"schemas", "internal/codec", "internal/gstreamer"},
	"internal/service":   {},
	"internal/supervise": {},
	"ingest/assemble":    {"schemas", "internal/codec"},
}

func TestPackagesNeedWhatIsBelowThem(t *testing.T) {
	for _, p := range packages(t) {
		below, listed := mayNeed[p.dir]
		if !listed {
			continue
		}
		for _, d := range p.deps {
			if o := ours(d); o != "" && !slices.Contains(below, o) {
				t.Errorf("%s needs %s; it may need %v", p.dir, o, below)
			}
		}
	}
}

// mayImport tells which packages (and those below them) may import these.
var mayImport = map[string][]string{
	// What GStreamer needs stays with those that talk RTSP or decode.
	"internal/gstreamer": {"ingest/rtsp", "internal/camsim", "processors/video", "cmd/framelog"},
	// Simulated cameras are for the demo.
	"internal/camsim": {"cmd/framelog"},
	// A source hands over units; only ingest makes chunks of them.
	"ingest/assemble": {"ingest", "cmd/framelog"},
	// The sources: ingest knows them only as a Source.
	"ingest/rtsp": {"cmd/framelog"},
	// Who runs which camera: for ingest, processors and archivers.
	"internal/share": {"ingest", "processors", "internal/archive", "cmd/framelog"},
	// The muxer: for what serves or stores MP4.
	"internal/cmaf": {"egress", "processors", "internal/archive", "cmd/framelog"},
	// The binary wires everything, and nothing imports it.
	"cmd/framelog": {},
}

func TestWhoImportsWhom(t *testing.T) {
	for _, p := range packages(t) {
		for _, d := range p.imports {
			by, listed := mayImport[ours(d)]
			if listed && !under(p.dir, "tests") && !slices.ContainsFunc(by, func(dir string) bool { return under(p.dir, dir) }) {
				t.Errorf("%s imports %s; it may be imported by %v", p.dir, ours(d), by)
			}
		}
	}
}

// The protocols of egress stand side by side. They share the decision on access,
// and egress itself puts them together.
func TestProtocolsNeverImportEachOther(t *testing.T) {
	for _, p := range packages(t) {
		for _, d := range p.imports {
			o := ours(d)
			if p.dir != "egress" && under(p.dir, "egress") && under(o, "egress") && o != "egress/access" && o != p.dir {
				t.Errorf("%s imports %s", p.dir, o)
			}
		}
	}
}
