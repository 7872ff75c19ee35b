package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// clocks are the names of package time that look at a clock or wait for one.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// The assembler is pure: what it makes of its units depends on them and on the
// ticks of their source alone. It takes its time from nowhere else, starts no
// goroutine, and neither Kafka nor GStreamer is near. The same holds for all of
// ours that it uses. The computation of lag is pure too.
func TestPurePackages(t *testing.T) {
	for _, dir := range []string{"ingest/assemble", "monitor/lag"} {
		checkPure(t, dir)
	}
}

func checkPure(t *testing.T, dir string) {
	t.Helper()
	all := packages(t)
	i := slices.IndexFunc(all, func(p pkg) bool { return p.dir == dir })
	if i < 0 {
		t.Fatalf("no package %s", dir)
	}
	pure := []string{dir}
	for _, d := range all[i].deps {
		switch o := ours(d); {
		case strings.HasPrefix(d, "github.com/twmb/"), strings.HasPrefix(d, "github.com/go-gst/"), under(o, "internal/medialog"), under(o, "internal/kafka"), under(o, "internal/gstreamer"):
			t.Errorf("%s needs %s", dir, d)
		case o != "":
			pure = append(pure, o)
		}
	}
	for _, p := range pure {
		files, err := filepath.Glob(filepath.Join(testenv.Root(t), p, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", p, len(files), err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s starts a goroutine", fset.Position(n.Pos()))
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
						t.Errorf("%s uses time.%s", fset.Position(n.Pos()), n.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// The rooms of ingest: what each may import of ours. The root is the contract between
// sources and a camera's life, so neither knows the other.
func TestRoomsOfIngest(t *testing.T) {
	may := map[string][]string{
		"ingest":             {"schemas"},
		"ingest/assemble":    {"schemas", "ingest", "internal/codec"},
		"ingest/camera":      {"schemas", "ingest", "ingest/assemble", "internal/kafka", "internal/medialog", "internal/secrets", "internal/share"},
		"ingest/replay":      {"schemas", "ingest", "internal/medialog"},
		"ingest/rtsp":        {"schemas", "ingest", "ingest/rtsp/native", "internal/codec", "internal/gstreamer", "internal/rtspconn"},
		"ingest/rtsp/native": {"schemas", "internal/codec", "internal/rtspconn"},
	}
	for _, p := range packages(t) {
		if !under(p.dir, "ingest") {
			continue
		}
		allowed, ok := may[p.dir]
		if !ok {
			t.Errorf("%s is no room of ingest that is known here", p.dir)
		}
		for _, d := range p.imports {
			if o := ours(d); o != "" && !slices.Contains(allowed, o) {
				t.Errorf("%s imports %s", p.dir, o)
			}
		}
	}
}
