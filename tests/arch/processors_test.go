package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// Programs outside this module write processors: what they can name names no type that they
// cannot name.
func TestProcessorsShowNoInternalTypes(t *testing.T) {
	for _, p := range packages(t) {
		if !under(p.dir, "processors") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(testenv.Root(t), p.dir, "*.go"))
		if err != nil {
			t.Fatal(err)
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
			for _, pos := range internalTypes(f) {
				t.Errorf("%s: a public declaration names a type of internal/", fset.Position(pos))
			}
		}
	}
}

// internalTypes returns where the public declarations of a file name a type of a package
// below internal/.
func internalTypes(f *ast.File) (found []token.Pos) {
	internal := map[string]bool{}
	for _, i := range f.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil || !under(ours(path), "internal") {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		internal[name] = true
	}
	look := func(n ast.Node, private bool) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				return private || len(n.Names) == 0 || n.Names[0].IsExported()
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && internal[x.Name] {
					found = append(found, n.Pos())
				}
			}
			return true
		})
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || receiver(d.Recv).IsExported()) {
				look(d.Type, true) // the names of parameters do not matter
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() {
					look(s.Type, false)
				}
			}
		}
	}
	return found
}

// receiver returns the name of a receiver's type.
func receiver(f *ast.FieldList) *ast.Ident {
	t := f.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if i, ok := t.(*ast.IndexExpr); ok {
		t = i.X
	}
	if i, ok := t.(*ast.Ident); ok {
		return i
	}
	return ast.NewIdent("_")
}

// Built-in processors are written as those of users: they see fragments and pictures, and
// neither Kafka nor GStreamer.
func TestBuiltInsUseTheSDK(t *testing.T) {
	may := map[string][]string{
		"processors/motion":    {"schemas", "processors", "processors/video"},
		"processors/thumbnail": {"schemas", "processors", "processors/video"},
		"processors/transcode": {"processors", "processors/video"},
		"processors/redact":    {"schemas", "processors", "processors/video", "processors/motion"},
	}
	for _, p := range packages(t) {
		allowed, ok := may[p.dir]
		if !ok {
			continue
		}
		delete(may, p.dir)
		for _, d := range p.imports {
			if o := ours(d); o != "" && !slices.Contains(allowed, o) {
				t.Errorf("%s imports %s", p.dir, o)
			}
		}
	}
	for dir := range may {
		t.Errorf("a rule names %s, which does not exist", dir)
	}
}
