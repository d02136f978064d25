package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var spec = Spec{
	Program: []byte("\x7fELF a program"),
	Path:    "/speaker",
	SBOM:    []byte("{}"),
	Name:    "ghcr.io/herald-lb/speaker:v0.1.0",
	User:    "0",
	Arch:    "amd64",
	Commit:  "1a2b3c4",
	Created: time.Unix(1_700_000_000, 0).UTC(),
}

func TestArchiveIsAValidImageUnderItsName(t *testing.T) {
	image, annotations := read(t, archive(t, spec))
	if err := validate.Image(image); err != nil {
		t.Errorf("validate the image: %v", err)
	}
	want := map[string]string{
		"io.containerd.image.name":          "ghcr.io/herald-lb/speaker:v0.1.0",
		"org.opencontainers.image.ref.name": "v0.1.0",
	}
	if diff := cmp.Diff(want, annotations); diff != "" {
		t.Errorf("annotations in index.json (-want +got):\n%s", diff)
	}
}

func TestImageStartsItsOneProgram(t *testing.T) {
	image, _ := read(t, archive(t, spec))
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	type started struct {
		Platform   string
		Entrypoint []string
		User       string
		Created    time.Time
		Revision   string
	}
	got := started{
		Platform:   config.OS + "/" + config.Architecture,
		Entrypoint: config.Config.Entrypoint,
		User:       config.Config.User,
		Created:    config.Created.Time,
		Revision:   config.Config.Labels["org.opencontainers.image.revision"],
	}
	want := started{Platform: "linux/amd64", Entrypoint: []string{"/speaker"}, User: "0", Created: spec.Created, Revision: "1a2b3c4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}

	filesystem := mutate.Extract(image)
	defer filesystem.Close()
	files := map[string]string{"speaker": string(spec.Program), "sbom/speaker.cdx.json": "{}"}
	if diff := cmp.Diff(files, contents(t, filesystem)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestProgramCanBeExecuted(t *testing.T) {
	image, _ := read(t, archive(t, spec))
	filesystem := mutate.Extract(image)
	defer filesystem.Close()
	header, err := tar.NewReader(filesystem).Next()
	if err != nil {
		t.Fatal(err)
	}
	if header.Mode != 0o755 {
		t.Errorf("mode of %s = %o, want 755", header.Name, header.Mode)
	}
}

func TestSameInputGivesSameBytes(t *testing.T) {
	if !bytes.Equal(archive(t, spec), archive(t, spec)) {
		t.Error("two archives of one spec differ")
	}
}

func TestOtherProgramGivesOtherDigest(t *testing.T) {
	other := spec
	other.Program = []byte("\x7fELF another program")
	if digest(t, archive(t, spec)) == digest(t, archive(t, other)) {
		t.Error("images of two programs have one digest")
	}
}

func TestNameWithoutTagIsRefused(t *testing.T) {
	untagged := spec
	untagged.Name = "ghcr.io/herald-lb/speaker"
	if _, err := Archive(untagged); err == nil {
		t.Error("an image without a tag was built")
	}
}

func archive(t *testing.T, spec Spec) []byte {
	t.Helper()
	data, err := Archive(spec)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func digest(t *testing.T, archive []byte) v1.Hash {
	t.Helper()
	image, _ := read(t, archive)
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// read unpacks an archive and reads it as any other OCI layout.
func read(t *testing.T, archive []byte) (image v1.Image, annotations map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range contents(t, bytes.NewReader(archive)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err = index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image, manifest.Manifests[0].Annotations
}

func contents(t *testing.T, archive io.Reader) map[string]string {
	t.Helper()
	files := map[string]string{}
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(data)
	}
}
