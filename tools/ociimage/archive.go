package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec is all that an image depends on.
type Spec struct {
	Program []byte
	Path    string // in the image, absolute
	SBOM    []byte // goes into the image as /sbom/PROGRAM.cdx.json
	Name    string // repository and tag
	User    string
	Arch    string
	Commit  string
	Created time.Time
}

// Archive gives the image as a tar file in the OCI image layout, which containerd, podman and docker load:
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
func Archive(spec Spec) ([]byte, error) {
	tag, err := name.NewTag(spec.Name, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("read the image's name: %w", err)
	}
	image, err := build(spec, tag)
	if err != nil {
		return nil, err
	}
	files, err := layoutFiles(image, tag)
	if err != nil {
		return nil, err
	}
	return pack(files, spec.Created)
}

// build makes an image with one layer, in which are the program and the list of what it was built of.
func build(spec Spec, tag name.Tag) (v1.Image, error) {
	content, err := pack([]file{
		{name: strings.TrimPrefix(spec.Path, "/"), mode: 0o755, data: spec.Program},
		{name: "sbom/" + path.Base(spec.Path) + ".cdx.json", mode: 0o644, data: spec.SBOM},
	}, spec.Created)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: spec.Created}, CreatedBy: "herald"},
	})
	if err != nil {
		return nil, fmt.Errorf("append the layer: %w", err)
	}
	return configure(image, spec, tag)
}

func configure(image v1.Image, spec Spec, tag name.Tag) (v1.Image, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the image's configuration: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", spec.Arch
	config.Created = v1.Time{Time: spec.Created}
	config.Config.Entrypoint = []string{spec.Path}
	config.Config.User = spec.User
	config.Config.Labels = map[string]string{
		"org.opencontainers.image.source":   "https://github.com/herald-lb/herald",
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  tag.TagStr(),
		"org.opencontainers.image.revision": spec.Commit,
	}
	return mutate.ConfigFile(image, config)
}

// file is one entry of a tar archive.
type file struct {
	name string
	mode int64
	data []byte
}

// layoutFiles lists the files of the OCI image layout that holds this one image.
func layoutFiles(image v1.Image, tag name.Tag) ([]file, error) {
	manifest, err := image.RawManifest()
	if err != nil {
		return nil, fmt.Errorf("make the manifest: %w", err)
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make the configuration: %w", err)
	}
	layer, err := onlyLayer(image)
	if err != nil {
		return nil, err
	}
	index, err := indexOf(manifest, tag)
	if err != nil {
		return nil, err
	}
	files := []file{
		{name: "oci-layout", data: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{name: "index.json", data: index},
	}
	for _, blob := range [][]byte{manifest, config, layer} {
		files = append(files, file{name: blobName(blob), data: blob})
	}
	for i := range files {
		files[i].mode = 0o644
	}
	return files, nil
}

// onlyLayer reads the image's layer, compressed.
func onlyLayer(image v1.Image) ([]byte, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, fmt.Errorf("list the layers: %w", err)
	}
	compressed, err := layers[0].Compressed()
	if err != nil {
		return nil, fmt.Errorf("compress the layer: %w", err)
	}
	defer compressed.Close()
	return io.ReadAll(compressed)
}

// indexOf names the image twice: containerd imports it under the first annotation, others look for a tag in the second.
func indexOf(manifest []byte, tag name.Tag) ([]byte, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(manifest))
	if err != nil {
		return nil, fmt.Errorf("digest the manifest: %w", err)
	}
	return json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests: []v1.Descriptor{{
			MediaType: types.OCIManifestSchema1,
			Size:      size,
			Digest:    digest,
			Annotations: map[string]string{
				"io.containerd.image.name":          tag.Name(),
				"org.opencontainers.image.ref.name": tag.TagStr(),
			},
		}},
	})
}

func blobName(blob []byte) string {
	digest, _, _ := v1.SHA256(bytes.NewReader(blob)) // reading memory cannot fail
	return "blobs/" + digest.Algorithm + "/" + digest.Hex
}

// pack writes a tar archive in which nothing depends on the machine or the hour.
func pack(files []file, modified time.Time) ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: modified, Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("add %s to the archive: %w", f.name, err)
		}
		if _, err := archive.Write(f.data); err != nil {
			return nil, fmt.Errorf("add %s to the archive: %w", f.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("end the archive: %w", err)
	}
	return buffer.Bytes(), nil
}
