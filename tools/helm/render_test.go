package helm

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	chart     = "../../config/charts/herald"
	namespace = "metallb-system"
)

// rendering is what helm template prints, and the notes that follow an installation.
type rendering struct {
	objects []object
	notes   string
}

// object is one of Kubernetes'.
type object struct{ unstructured.Unstructured }

// named gives the object with the kind and name, and ends the test if there is none.
func (r rendering) named(t *testing.T, kind, name string) object {
	t.Helper()
	for _, o := range r.objects {
		if o.GetKind() == kind && o.GetName() == name {
			return o
		}
	}
	t.Fatalf("the chart gives no %s %s", kind, name)
	return object{}
}

func (r rendering) kinds() map[string]int {
	kinds := map[string]int{}
	for _, o := range r.objects {
		kinds[o.GetKind()]++
	}
	return kinds
}

// render renders the chart for the release herald, with values in YAML.
func render(t *testing.T, values string) rendering {
	t.Helper()
	return renderRelease(t, "herald", values)
}

func renderRelease(t *testing.T, release, values string) rendering {
	t.Helper()
	r, err := try(release, values)
	if err != nil {
		t.Fatalf("render with values %s: %v", values, err)
	}
	return r
}

// try does what helm template does.
func try(release, text string) (r rendering, err error) {
	herald, err := loader.Load(chart)
	if err != nil {
		return r, err
	}
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		return r, err
	}
	if err := chartutil.ProcessDependencies(herald, values); err != nil {
		return r, err
	}
	all, err := util.ToRenderValues(herald, values, common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return r, err
	}
	files, err := engine.Render(herald, all)
	if err != nil {
		return r, err
	}
	for name, file := range files {
		switch {
		case strings.HasSuffix(name, "NOTES.txt"):
			r.notes = file
		case strings.HasSuffix(name, ".yaml"):
			objects, err := decode([]byte(file))
			if err != nil {
				return r, errors.Join(errors.New(name), err)
			}
			r.objects = append(r.objects, objects...)
		}
	}
	return r, nil
}

// decode reads the documents of a file that are not empty.
func decode(data []byte) (objects []object, err error) {
	for documents := kubeyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var content map[string]any
		if err := yaml.UnmarshalStrict(document, &content); err != nil {
			return nil, errors.Join(err, errors.New(string(document)))
		}
		if len(content) > 0 {
			objects = append(objects, object{unstructured.Unstructured{Object: content}})
		}
	}
}

// manifest reads one of the manifests that make manifests renders.
func manifest(t *testing.T, name string) []object {
	t.Helper()
	data, err := os.ReadFile("../../config/manifests/" + name)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}
