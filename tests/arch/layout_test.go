package arch

import (
	"maps"
	"slices"
	"testing"
)

// mayNeed tells what of ours each of these packages may need, directly or through
// others: what is below it. TestRoomsOfIngest has the packages of ingest.
var mayNeed = map[string][]string{
	"internal/codec":         {"schemas"},
	"internal/cmaf":          {"schemas", "internal/codec"},
	"internal/clip":          {"schemas", "internal/kafka", "internal/medialog", "internal/codec", "internal/cmaf", "internal/when"},
	"internal/summary":       {"schemas", "internal/when"},
	"internal/archive":       {"schemas", "internal/kafka", "internal/medialog", "internal/codec", "internal/cmaf", "internal/clip", "internal/summary", "internal/when", "internal/fsync"},
	"internal/archive/s3":    {},
	"internal/evidence":      {"schemas", "internal/kafka", "internal/medialog", "internal/codec", "internal/cmaf", "internal/clip", "internal/when", "internal/fsync"},
	"internal/kafka":         {"schemas"},
	"internal/medialog":      {"schemas", "internal/kafka"},
	"internal/registry":      {"schemas", "internal/kafka", "internal/secrets"},
	"internal/users":         {"schemas", "internal/kafka", "internal/registry", "internal/secrets"},
	"internal/secrets":       {"schemas"},
	"internal/share":         {"schemas", "internal/kafka", "internal/registry", "internal/secrets"},
	"internal/rtspconn":      {"schemas", "internal/codec"},
	"internal/gstreamer":     {"schemas", "internal/codec", "internal/rtspconn"},
	"internal/camsim":        {"schemas", "internal/codec", "internal/gstreamer", "internal/rtspconn"},
	"archiver":               {"schemas", "internal/kafka", "internal/medialog", "internal/registry", "internal/secrets", "internal/share", "internal/codec", "internal/cmaf", "internal/clip", "internal/summary", "internal/archive", "internal/when", "internal/fsync"},
	"monitor":                {"schemas", "internal/kafka", "internal/medialog", "internal/registry", "internal/secrets", "monitor/lag"},
	"egress/parts":           {},
	"egress/live":            {"schemas", "egress/access", "egress/answer", "egress/parts", "internal/tcpinfo"},
	"internal/app/service":   {"internal/tcpinfo"},
	"internal/app/acls":      {"schemas"},
	"internal/app/config":    {"schemas", "internal/secrets"},
	"internal/app/program":   {"schemas", "internal/secrets", "internal/when", "internal/app/config"},
	"internal/app/brokers":   {"schemas", "internal/secrets", "internal/kafka", "internal/app/config"},
	"internal/app/supervise": {},
	"internal/app/upgrade":   {"schemas", "internal/secrets", "internal/kafka", "internal/registry", "internal/app/config"},
	"internal/when":          {},
	"internal/tcpinfo":       {},
	"internal/fsync":         {},
}

func TestPackagesNeedWhatIsBelowThem(t *testing.T) {
	for _, p := range packages(t) {
		below, listed := mayNeed[p.dir]
		if !listed {
			continue
		}
		for _, d := range p.deps {
			o := ours(d)
			if o == "schemas/quickpack" { // a part of schemas
				o = "schemas"
			}
			if o != "" && !slices.Contains(below, o) {
				t.Errorf("%s needs %s; it may need %v", p.dir, o, below)
			}
		}
	}
}

// mayImport tells which packages (and those below them) may import these.
var mayImport = map[string][]string{
	// What GStreamer needs stays with those that talk RTSP or decode.
	"internal/gstreamer": {"ingest/rtsp", "internal/camsim", "processors/video", "cmd/framelog"},
	// The engines for RTSP, and who chooses between them.
	"internal/rtspconn": {"ingest/rtsp", "internal/gstreamer"},
	// Simulated cameras are for the demo and for replays by RTSP.
	"internal/camsim": {"cmd/framelog"},
	// Only a camera's life in ingest makes chunks of units. The binary has the
	// configuration.
	"ingest/assemble": {"ingest/camera", "cmd/framelog"},
	// Sources: cameras know them only as an ingest.Source.
	"ingest/rtsp":        {"cmd/framelog"},
	"ingest/rtsp/native": {"ingest/rtsp"},
	// The command line shows how far a replay has come.
	"ingest/replay": {"internal/app/cli", "cmd/framelog"},
	// Who runs which camera: for ingest, processors and archivers.
	"internal/share": {"ingest", "processors", "archiver", "cmd/framelog"},
	// Passwords and the key that signs sessions. Egress gets them by an interface.
	"internal/users": {"internal/app/cli", "cmd/framelog"},
	// The muxer: for what serves or stores MP4.
	"internal/cmaf": {"egress", "processors", "internal/archive", "internal/clip", "internal/evidence", "cmd/framelog"},
	// Lag: the monitor reads, and the command line prints.
	"monitor":     {"cmd/framelog"},
	"monitor/lag": {"monitor", "internal/app/cli", "cmd/framelog"},
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

// The protocols of egress stand side by side. They share the decision on access, the form of
// answers and the words for parts, and egress itself puts them together.
func TestProtocolsNeverImportEachOther(t *testing.T) {
	shared := []string{"egress/access", "egress/answer", "egress/parts"}
	for _, p := range packages(t) {
		for _, d := range p.imports {
			o := ours(d)
			if p.dir != "egress" && under(p.dir, "egress") && under(o, "egress") && !slices.Contains(shared, o) && !under(p.dir, o) {
				t.Errorf("%s imports %s", p.dir, o)
			}
		}
	}
}

// The rules above are about packages that exist.
func TestRulesNamePackages(t *testing.T) {
	later := []string{"processors", "processors/video"} // come with later roles
	exists := map[string]bool{}
	for _, p := range packages(t) {
		exists[p.dir] = true
	}
	named := slices.Concat(slices.Collect(maps.Keys(mayNeed)), slices.Collect(maps.Keys(mayImport)),
		slices.Concat(slices.Collect(maps.Values(mayNeed))...), slices.Concat(slices.Collect(maps.Values(mayImport))...))
	slices.Sort(named)
	for _, dir := range slices.Compact(named) {
		if !exists[dir] && !slices.Contains(later, dir) {
			t.Errorf("a rule names %s, which does not exist", dir)
		}
	}
}
