package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

// testCase is one YAML document of a file below testdata, with what the comments above it say.
type testCase struct {
	file, name string
	want       string // part of the message with which the API server refuses the object; "" where it takes it
	document   string
}

var wantComment = regexp.MustCompile(`(?m)^# want: (.*)$`)

// TestValidObjects applies testdata/valid, and reads each object into its Go type as Herald's processes do.
func TestValidObjects(t *testing.T) {
	server, decoder := newAPIServer(t), newDecoder(t)
	for _, c := range testCases(t, "valid") {
		t.Run(c.file+"/"+c.name, func(t *testing.T) {
			obj := parse(t, c.document)
			if errs := server.create(t.Context(), obj); len(errs) > 0 {
				t.Fatalf("refused: %v", errs.ToAggregate())
			}
			content, err := obj.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := decoder.Decode(content, nil, nil); err != nil {
				t.Fatalf("read into the Go type: %v", err)
			}
		})
	}
}

func newDecoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1beta1.AddToScheme, v1beta2.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// TestInvalidObjects applies testdata/invalid, where each document says in a comment why it is refused.
func TestInvalidObjects(t *testing.T) {
	server := newAPIServer(t)
	for _, c := range testCases(t, "invalid") {
		t.Run(c.file+"/"+c.name, func(t *testing.T) {
			if c.want == "" {
				t.Fatal("the document has no '# want:' comment")
			}
			checkVerdict(t, server.create(t.Context(), parse(t, c.document)), c.want)
		})
	}
}

// TestUpdates applies the documents of each file in testdata/updates in turn. A document without a '# want:' comment is
// taken and is what the next one changes.
func TestUpdates(t *testing.T) {
	server := newAPIServer(t)
	stored := map[string]*unstructured.Unstructured{}
	for _, c := range testCases(t, "updates") {
		t.Run(c.file+"/"+c.name, func(t *testing.T) {
			obj := parse(t, c.document)
			key := c.file + " " + obj.GetKind() + " " + obj.GetName()
			var errs field.ErrorList
			if old := stored[key]; old == nil {
				errs = server.create(t.Context(), obj)
			} else {
				errs = server.update(t.Context(), obj, old)
			}
			checkVerdict(t, errs, c.want)
			if len(errs) == 0 {
				stored[key] = obj
			}
		})
	}
}

// neverStored matches the reasons for which no API server ever took an object, whatever rules it had.
var neverStored = regexp.MustCompile(`Required value|keepaliveTime: Invalid value`)

// TestMistakesOfOldMayStay changes objects that were stored before a rule forbade them, as those of an earlier
// installation may be: what is not touched must not stand in the way.
func TestMistakesOfOldMayStay(t *testing.T) {
	server := newAPIServer(t)
	for _, c := range testCases(t, "invalid") {
		if neverStored.MatchString(c.want) {
			continue
		}
		t.Run(c.file+"/"+c.name, func(t *testing.T) {
			old, obj := parse(t, c.document), parse(t, c.document)
			server.admit(old) // what is stored was defaulted
			obj.SetLabels(map[string]string{"touched": "true"})
			if errs := server.update(t.Context(), obj, old); len(errs) > 0 {
				t.Errorf("a new label is refused: %v", errs.ToAggregate())
			}
		})
	}
}

// TestLongListsAreAffordable fills lists to their bounds: the API server refuses an object whose rules cost too much,
// whatever they would have found.
func TestLongListsAreAffordable(t *testing.T) {
	server := newAPIServer(t)
	names := many(256, func(i int) any { return fmt.Sprintf("%063d", i) })
	selectors := many(128, func(i int) any {
		return map[string]any{"matchLabels": map[string]any{"app.kubernetes.io/name": fmt.Sprintf("%063d", i)}}
	})
	communities := many(256, func(i int) any { return fmt.Sprintf("large:4294967295:4294967295:%d", i) })
	aliases := many(256, func(i int) any { return map[string]any{"name": fmt.Sprintf("%063d", i), "value": communities[i]} })
	ranges := many(1000, func(i int) any {
		return fmt.Sprintf("2001:0db8:0000:0000:0000:0000:%04x:0000-2001:0db8:0000:0000:0000:0000:%04x:ffff", i, i)
	})
	for kind, spec := range map[string]map[string]any{
		"IPAddressPool": {"addresses": ranges, "serviceAllocation": map[string]any{
			"namespaces": names, "namespaceSelectors": selectors, "serviceSelectors": selectors,
		}},
		"L2Advertisement": {
			"ipAddressPools": names, "ipAddressPoolSelectors": selectors, "nodeSelectors": selectors, "serviceSelectors": selectors,
		},
		"BGPAdvertisement": {
			"communities": communities, "ipAddressPools": names, "peers": names,
			"ipAddressPoolSelectors": selectors, "nodeSelectors": selectors, "serviceSelectors": selectors,
		},
		"Community": {"communities": aliases},
	} {
		t.Run(kind, func(t *testing.T) {
			if errs := server.create(t.Context(), object("v1beta1", kind, spec)); len(errs) > 0 {
				t.Error(errs.ToAggregate())
			}
		})
	}
}

func many(n int, item func(i int) any) []any {
	var items []any
	for i := range n {
		items = append(items, item(i))
	}
	return items
}

func checkVerdict(t *testing.T, errs field.ErrorList, want string) {
	t.Helper()
	switch {
	case want == "" && len(errs) > 0:
		t.Errorf("refused: %v", errs.ToAggregate())
	case want != "" && len(errs) == 0:
		t.Errorf("taken, want it refused with %q", want)
	case want != "" && !strings.Contains(errs.ToAggregate().Error(), want):
		t.Errorf("refused with %v, want %q", errs.ToAggregate(), want)
	}
}

// testCases reads the documents of a folder below testdata. A document is named by its object.
func testCases(t *testing.T, folder string) []testCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data in %s: %v", folder, err)
	}
	var cases []testCase
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(content), "\n---\n") {
			c := testCase{file: filepath.Base(file), name: parse(t, document).GetName(), document: document}
			if m := wantComment.FindStringSubmatch(document); m != nil {
				c.want = m[1]
			}
			cases = append(cases, c)
		}
	}
	return cases
}
