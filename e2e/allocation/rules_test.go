//go:build e2e

package allocation

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// rulesNamespace is not Herald's, so that what is stored there disturbs nobody.
const rulesNamespace = "rules"

// verdict is one document of api/testdata: an object, and in a comment what the API server says as it refuses it.
type verdict struct {
	name   string
	want   string // "" where it takes it
	object *unstructured.Unstructured
}

// TestRules tries on a real API server what the tests of the API try on its code. It is here since no webhook is called
// here, which would refuse what is not in Herald's namespace.
func TestRules(t *testing.T) {
	ctx := begin(t)
	if err := world.Lab.Apply(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+rulesNamespace+"}}"); err != nil {
		t.Fatal(err)
	}
	objects := world.Dynamic
	for _, folder := range []string{"valid", "invalid"} {
		for _, v := range verdicts(t, folder) {
			t.Run(folder+"/"+v.name, func(t *testing.T) {
				kind := resource(objects, v.object)
				check(t, store(ctx, kind, v.object), v.want)
				if err := kind.Delete(ctx, v.object.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
					t.Error(err)
				}
			})
		}
	}
	for _, v := range verdicts(t, "updates") {
		t.Run("updates/"+v.name, func(t *testing.T) { check(t, store(ctx, resource(objects, v.object), v.object), v.want) })
	}
}

func resource(objects dynamic.Interface, obj *unstructured.Unstructured) dynamic.ResourceInterface {
	kind := obj.GroupVersionKind()
	plural := strings.ToLower(kind.Kind) + "s"
	switch kind.Kind {
	case "Community":
		plural = "communities"
	case "ServiceL2Status", "ServiceBGPStatus":
		plural = strings.ToLower(kind.Kind) + "es"
	}
	return objects.Resource(schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: plural}).Namespace(rulesNamespace)
}

// store creates an object, or updates the one that has its name, and then its status, which the API server takes only
// apart from the rest. Fields that it does not know are a mistake of the test.
func store(ctx context.Context, kind dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
	status := obj.Object["status"]
	stored, err := kind.Create(ctx, obj, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if apierrors.IsAlreadyExists(err) {
		stored, err = update(ctx, kind, obj)
	}
	if err != nil || status == nil {
		return err
	}
	stored.Object["status"] = status
	_, err = kind.UpdateStatus(ctx, stored, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
	return err
}

func update(ctx context.Context, kind dynamic.ResourceInterface, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	old, err := kind.Get(ctx, obj.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	obj.SetResourceVersion(old.GetResourceVersion())
	return kind.Update(ctx, obj, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("taken, want it refused with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("refused with %v, want %q", err, want)
	}
}

var wantComment = regexp.MustCompile(`(?m)^# want: (.*)$`)

// verdicts reads a folder below api/testdata.
func verdicts(t *testing.T, folder string) (all []verdict) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "api", "testdata", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data in api/testdata/%s: %v", folder, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(content), "\n---\n") {
			v := verdict{object: &unstructured.Unstructured{}}
			if err := yaml.Unmarshal([]byte(document), &v.object.Object); err != nil {
				t.Fatalf("parse %s: %v", file, err)
			}
			v.name = filepath.Base(file) + "/" + v.object.GetName()
			if m := wantComment.FindStringSubmatch(document); m != nil {
				v.want = m[1]
			}
			all = append(all, v)
		}
	}
	return all
}
