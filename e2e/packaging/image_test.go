//go:build e2e

package packaging

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	version = "v9.8.7"
	commit  = "1a2b3c4"
	// sizeLimit is what a program may have, in bytes.
	sizeLimit = 60 << 20
)

// Two people who build one commit get the same bytes, wherever they have it.
func TestOneCommitGivesOneImage(t *testing.T) {
	var builds [2]string
	for n := range builds {
		builds[n] = filepath.Join(t.TempDir(), "source")
		copySource(t, builds[n])
	}
	for _, dir := range builds {
		build(t, dir)
	}
	for _, name := range []string{"controller.tar", "controller.cdx.json", "speaker.tar", "speaker.cdx.json"} {
		one, other := digest(t, builds[0], name), digest(t, builds[1], name)
		if one != other {
			t.Errorf("%s is %s, and built elsewhere %s", name, one, other)
		}
	}
	for program, user := range map[string]string{"controller": "65534:65534", "speaker": "0:0"} {
		t.Run("the "+program+" is small, stripped and static", func(t *testing.T) { checkProgram(t, builds[0], program) })
		t.Run("the image of the "+program+" says what is in it and who runs it", func(t *testing.T) { checkImage(t, builds[0], program, user) })
	}
}

// An abbreviation is longer in a clone that has more objects, and so would give another image.
func TestImagesAreOfTheCommitInFull(t *testing.T) {
	git := exec.CommandContext(t.Context(), "git", "rev-parse", "HEAD")
	git.Dir = root
	head, err := git.Output()
	if err != nil {
		t.Skip("the source is not in a clone: ", err)
	}
	plan := exec.CommandContext(t.Context(), "make", "--dry-run", "image-archives")
	plan.Dir = root
	flag := "-commit " + strings.TrimSpace(string(head))
	if output := string(must(plan.Output())(t)); strings.Count(output, flag) != 2 {
		t.Errorf("the two images are not made with %s:\n%s", flag, output)
	}
}

// copySource copies what the images are made of.
func copySource(t *testing.T, dir string) {
	t.Helper()
	check(t, os.Mkdir(dir, 0o755))
	for _, name := range []string{"Makefile", "go.mod", "go.sum", "api", "config", "controller", "internal", "speaker", "tools"} {
		if output, err := exec.CommandContext(t.Context(), "cp", "-R", filepath.Join(root, name), dir).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s", name, err, output)
		}
	}
}

func build(t *testing.T, dir string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", "image-archives", "VERSION="+version, "COMMIT="+commit, "EPOCH=1700000000")
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build the images: %v\n%s", err, output)
	}
}

func digest(t *testing.T, dir, name string) string {
	t.Helper()
	return fmt.Sprintf("%x", sha256.Sum256(must(os.ReadFile(filepath.Join(dir, "build", "images", name)))(t)))
}

func checkProgram(t *testing.T, dir, name string) {
	file := filepath.Join(dir, "build", "bin", name)
	if size := must(os.Stat(file))(t).Size(); size > sizeLimit {
		t.Errorf("it has %d bytes, more than %d", size, sizeLimit)
	}
	program := must(elf.Open(file))(t)
	defer program.Close()
	if _, err := program.Symbols(); !errors.Is(err, elf.ErrNoSymbols) {
		t.Errorf("it has symbols (%v)", err)
	}
	if program.Section(".debug_info") != nil || program.Section(".zdebug_info") != nil {
		t.Error("it has debugging information")
	}
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			t.Error("it is linked dynamically")
		}
	}
}

func checkImage(t *testing.T, dir, name, user string) {
	files := contents(t, filepath.Join(dir, "build", "images", name+".tar"))
	var index struct{ Manifests []struct{ Digest string } }
	check(t, json.Unmarshal(files["index.json"], &index))
	var manifest struct{ Config struct{ Digest string } }
	check(t, json.Unmarshal(files[blob(index.Manifests[0].Digest)], &manifest))
	var image struct {
		Config struct {
			User   string
			Labels map[string]string
		}
	}
	check(t, json.Unmarshal(files[blob(manifest.Config.Digest)], &image))
	want := map[string]string{
		"org.opencontainers.image.source":   "https://github.com/herald-lb/herald",
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  version,
		"org.opencontainers.image.revision": commit,
	}
	if !maps.Equal(want, image.Config.Labels) {
		t.Errorf("its labels are %v, want %v", image.Config.Labels, want)
	}
	if image.Config.User != user {
		t.Errorf("it runs as %q, want %q", image.Config.User, user)
	}
}

// blob is the name of a file in the OCI image layout.
func blob(digest string) string { return "blobs/sha256/" + digest[len("sha256:"):] }

func contents(t *testing.T, file string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for reader := tar.NewReader(bytes.NewReader(must(os.ReadFile(file))(t))); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		check(t, err)
		files[header.Name] = must(io.ReadAll(reader))(t)
	}
}
