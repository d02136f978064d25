package herald_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/herald-lb/herald"

// room says what a package may import of ours, besides internal/version, and why no more.
type room struct {
	mayImport []string
	why       string
	// A pure package decides with values: no goroutine, no clock, no logger, no client.
	pure bool
}

const (
	whyVocabulary = "it is the vocabulary that all others share, so it can know none of them"
	whyPure       = "it decides with values alone; move the value type down into internal/lb, not the code up"
	whyEdge       = "an edge knows the world and the vocabulary, never another edge; only the two programs see both sides"
	whyProgram    = "the two programs stay apart: addresses are the controller's to assign, the wire is the speaker's (the rules of who announces are both's: the controller says why nobody does)"
	whyAlone      = "it serves everybody, so it can depend on nobody"
	whyFrame      = "it is the frame around both programs, and knows nothing of load balancing"
)

var (
	apis = []string{"api/v1beta1", "api/v1beta2"}
	edge = []string{"internal/kube", "internal/logging", "internal/metrics", "internal/process", "internal/link"}
	core = []string{"internal/lb", "internal/config", "internal/election"}
)

// rooms is the table of packages in ARCHITECTURE.md.
var rooms = map[string]room{
	".":           {why: whyAlone},
	"api":         {why: whyAlone},
	"config":      {why: whyAlone},
	"api/v1beta1": {why: whyAlone},
	"api/v1beta2": {why: whyAlone},

	"internal/lb":       {why: whyVocabulary, pure: true},
	"internal/config":   {why: whyPure, pure: true, mayImport: slices.Concat(apis, []string{"internal/lb"})},
	"internal/ipam":     {why: whyPure, pure: true, mayImport: []string{"internal/lb"}},
	"internal/election": {why: whyPure, pure: true, mayImport: []string{"internal/lb"}},
	"internal/plan":     {why: whyPure, pure: true, mayImport: []string{"internal/lb", "internal/election"}},

	"internal/kube":    {why: whyEdge, mayImport: slices.Concat(apis, []string{"internal/lb", "internal/config"})},
	"internal/webhook": {why: whyEdge, mayImport: slices.Concat(apis, []string{"internal/lb", "internal/config"})},
	"internal/layer2":  {why: whyEdge, mayImport: []string{"internal/lb"}},
	"internal/link":    {why: whyEdge, mayImport: []string{"internal/lb"}},
	"internal/bgp":     {why: whyEdge, mayImport: []string{"internal/lb"}},
	"internal/bfd":     {why: whyEdge, mayImport: []string{"internal/lb"}},
	"internal/members": {why: whyEdge},

	"internal/logging": {why: whyAlone},
	"internal/metrics": {why: whyAlone},
	"internal/version": {why: whyAlone},
	"internal/nstest":  {why: whyAlone},
	"internal/process": {why: whyFrame, mayImport: []string{"internal/logging", "internal/metrics"}},

	"controller": {why: whyProgram, mayImport: slices.Concat(apis, core, edge,
		[]string{"internal/ipam", "internal/plan", "internal/webhook"})},
	"speaker": {why: whyProgram, mayImport: slices.Concat(apis, core, edge,
		[]string{"internal/plan", "internal/layer2", "internal/bgp", "internal/bfd", "internal/members"})},
}

// worldly packages have no place in a pure one: what they do depends on more than their arguments.
var worldly = []string{"net/http", "os", "github.com/go-kit/log", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"}

// owned modules are imported by one package of ours, so that another can take their place by rewriting that one.
var owned = map[string]string{
	"github.com/osrg/gobgp":           "internal/bgp",
	"github.com/hashicorp/memberlist": "internal/members",
}

func TestImportsKeepToTheTable(t *testing.T) {
	for _, pkg := range packages(t) {
		room, ok := rooms[pkg.name()]
		if !ok {
			t.Errorf("package %s is not in the table: add it there and in ARCHITECTURE.md, with what it may import", pkg.name())
			continue
		}
		for _, imported := range pkg.Imports {
			if complaint := room.complainAbout(pkg.name(), imported); complaint != "" {
				t.Error(complaint)
			}
		}
	}
}

// complainAbout says what is wrong with an import, or nothing.
func (r room) complainAbout(importer, imported string) string {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		if ours == "internal/version" || slices.Contains(r.mayImport, ours) {
			return ""
		}
		return fmt.Sprintf("%s imports %s: %s", importer, ours, r.why)
	}
	if r.pure && slices.ContainsFunc(worldly, within(imported)) {
		return fmt.Sprintf("%s imports %s: a pure package has no goroutine, clock, logger or client", importer, imported)
	}
	for path, owner := range owned {
		if within(imported)(path) && importer != owner {
			return fmt.Sprintf("%s imports %s: only %s knows that module", importer, imported, owner)
		}
	}
	return ""
}

// within tells whether the imported package is the one at a path or below it.
func within(imported string) func(path string) bool {
	return func(path string) bool {
		return imported == path || strings.HasPrefix(imported, path+"/")
	}
}

func TestForbiddenImportsAreNoticed(t *testing.T) {
	tests := map[string]struct {
		importer, imported string
		complaint          bool
	}{
		"the vocabulary imports a pure package":      {"internal/lb", module + "/internal/plan", true},
		"an edge imports another edge":               {"internal/layer2", module + "/internal/link", true},
		"a program imports the other's half":         {"controller", module + "/internal/layer2", true},
		"a pure package talks to the API server":     {"internal/ipam", "k8s.io/client-go/kubernetes", true},
		"a pure package reads files":                 {"internal/plan", "os", true},
		"a stranger imports memberlist":              {"speaker", "github.com/hashicorp/memberlist", true},
		"a stranger imports a package of gobgp":      {"speaker", "github.com/osrg/gobgp/v4/pkg/server", true},
		"a pure package imports the vocabulary":      {"internal/plan", module + "/internal/lb", false},
		"anybody imports the version":                {"internal/metrics", module + "/internal/version", false},
		"an edge uses the operating system":          {"internal/layer2", "os", false},
		"the owner imports its module":               {"internal/bgp", "github.com/osrg/gobgp/v4/pkg/server", false},
		"a name that merely starts like a worldly's": {"internal/plan", "osmosis", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			complaint := rooms[test.importer].complainAbout(test.importer, test.imported)
			if got := complaint != ""; got != test.complaint {
				t.Errorf("complaint about %s importing %s = %q, want one: %t", test.importer, test.imported, complaint, test.complaint)
			}
		})
	}
}

func TestTableNamesItsOwnPackagesOnly(t *testing.T) {
	for name, room := range rooms {
		for _, imported := range room.mayImport {
			if _, ok := rooms[imported]; !ok {
				t.Errorf("%s may import %s, which is not in the table", name, imported)
			}
		}
	}
}

// listed is what go list -json says of a package; test files are free to import what they need.
type listed struct {
	ImportPath string
	Imports    []string
}

// name is the package's path in the module, "." for the root.
func (p listed) name() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

func packages(t *testing.T) []listed {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("list the packages: %v", err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var pkg listed
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read the list of packages: %v", err)
		}
		all = append(all, pkg)
	}
}
