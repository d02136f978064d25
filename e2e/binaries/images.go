package binaries

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// The lab's own images. No registry has them: nodes load them from archives.
const (
	PauseImage = "lab.herald/pause:1" // what keeps a pod's namespaces
	WebImage   = "lab.herald/web:1"   // a server that says which pod it is; see e2e/images/web
)

// ensureImages builds the programs below e2e/images and wraps each as an image.
func (s *Set) ensureImages(ctx context.Context, say func(string, ...any)) error {
	source := filepath.Join(s.source, "images")
	key, err := hashTree(source)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.Cache, "images-"+key)
	s.Web = filepath.Join(dir, "web")
	s.Images = []string{filepath.Join(dir, "pause.tar"), filepath.Join(dir, "web.tar")}
	if exists(dir) {
		return nil
	}
	say("building the lab's own images (once; kept in %s)", dir)
	return buildInto(dir, func(staging string) error { return buildImages(ctx, source, staging) })
}

func buildImages(ctx context.Context, source, staging string) error {
	for name, ref := range map[string]string{"pause": PauseImage, "web": WebImage} {
		program := filepath.Join(staging, name)
		err := goCommand(ctx, filepath.Join(source, name), []string{"CGO_ENABLED=0"},
			"build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
		if err != nil {
			return fmt.Errorf("build image %s: %w", ref, err)
		}
		if err := writeImage(program+".tar", ref, program); err != nil {
			return fmt.Errorf("write image %s: %w", ref, err)
		}
	}
	return nil
}

// writeImage makes an image of one static program, in the archive format of docker save (Docker Image Specification
// v1.2): a layer, a configuration, and a manifest that names both.
func writeImage(file, ref, program string) error {
	layer, err := programLayer(program)
	if err != nil {
		return err
	}
	config, err := imageConfig(filepath.Base(program), layer)
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{ref}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	archive, err := tarOf(entry{"manifest.json", 0o644, manifest}, entry{"config.json", 0o644, config}, entry{"layer.tar", 0o644, layer})
	if err != nil {
		return err
	}
	return os.WriteFile(file, archive, 0o644)
}

func programLayer(program string) ([]byte, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	return tarOf(entry{filepath.Base(program), 0o755, data})
}

func imageConfig(program string, layer []byte) ([]byte, error) {
	return json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/" + program}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
}

type entry struct {
	name string
	mode int64
	data []byte
}

func tarOf(entries ...entry) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data))}); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, bytes.NewReader(e.data)); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return archive.Bytes(), err
}
