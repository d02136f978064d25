package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"runtime/debug"
	"strings"
	"time"
)

// bill is a software bill of materials in CycloneDX's format: https://cyclonedx.org/docs/1.6/json/
type bill struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

// SBOM lists the modules that a program was built of, and the version of Go whose standard library it has, as the linker
// has written them into it. The version is the program's own.
func SBOM(program []byte, version string, created time.Time) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("read what the program was built of: %w", err)
	}
	b := bill{
		Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: metadata{
			Timestamp: created.UTC().Format(time.RFC3339),
			Component: golang("application", path.Base(info.Path), info.Path, version),
		},
		Components: []component{golang("library", "stdlib", "stdlib", strings.TrimPrefix(info.GoVersion, "go"))},
	}
	for _, module := range info.Deps {
		b.Components = append(b.Components, library(module))
	}
	return json.MarshalIndent(b, "", "  ")
}

func library(module *debug.Module) component {
	if module.Replace != nil {
		module = module.Replace
	}
	c := golang("library", module.Path, module.Path, module.Version)
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(module.Sum, "h1:")); err == nil && len(sum) > 0 {
		c.Hashes = []hash{{Algorithm: "SHA-256", Content: hex.EncodeToString(sum)}}
	}
	return c
}

// golang names a component as https://github.com/package-url/purl-spec does those of Go.
func golang(kind, name, where, version string) component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", where, version)
	return component{Type: kind, Ref: purl, Name: name, Version: version, PURL: purl}
}
