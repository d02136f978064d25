package binaries

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImageArchive(t *testing.T) {
	program := filepath.Join(t.TempDir(), "web")
	if err := os.WriteFile(program, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeImage(program+".tar", "lab/web:1", program); err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(program + ".tar")
	if err != nil {
		t.Fatal(err)
	}
	files := untar(t, archive)
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest[0].RepoTags[0] != "lab/web:1" || files[manifest[0].Config] == nil {
		t.Errorf("manifest: got %+v", manifest[0])
	}
	if got := untar(t, files[manifest[0].Layers[0]])["web"]; string(got) != "program" {
		t.Errorf("layer: got %q, want the program", got)
	}
	if !strings.Contains(string(files[manifest[0].Config]), `"/web"`) {
		t.Errorf("configuration does not start the program: %s", files[manifest[0].Config])
	}
}

func untar(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeyChangesWithWhatIsBuilt(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module m")
	write("go.sum", "")
	m := module{name: "m"}
	keys := map[string]string{}
	record := func(what string) {
		key, err := m.key(dir)
		if err != nil {
			t.Fatal(err)
		}
		if other, same := keys[key]; same {
			t.Errorf("%s: the same key as for %s", what, other)
		}
		keys[key] = what
	}
	record("the module")
	write("go.sum", "x")
	record("another sum")
	m.args = []string{"-tags=x"}
	record("another tag")
}

func TestABuildThatFailsLeavesNothingInTheCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd-1")
	if err := buildInto(dir, func(string) error { return errors.New("no compiler") }); err == nil {
		t.Error("no error")
	}
	if exists(dir) {
		t.Error("half a build counts as whole")
	}
	if err := buildInto(dir, func(staging string) error { return os.WriteFile(filepath.Join(staging, "etcd"), nil, 0o755) }); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(dir, "etcd")) {
		t.Error("the build is not there")
	}
}

func TestSourceDirIsFoundFromATest(t *testing.T) {
	dir, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		if !exists(filepath.Join(dir, "bin", m.name, "go.mod")) {
			t.Errorf("no module for %s in %s", m.name, dir)
		}
	}
}
