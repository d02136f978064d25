package main

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// This test's own program is one that Go's linker wrote.
func TestSBOMListsWhatAProgramWasBuiltOf(t *testing.T) {
	text, err := SBOM(self(t), "v1.2.3", time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	var got bill
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Metadata.Component.Version != "v1.2.3" || got.Metadata.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("the program is %+v of %s", got.Metadata.Component, got.Metadata.Timestamp)
	}
	for _, want := range []string{
		"pkg:golang/stdlib@" + strings.TrimPrefix(runtime.Version(), "go"),
		"pkg:golang/github.com/google/go-containerregistry@",
	} {
		if !slices.ContainsFunc(got.Components, func(c component) bool { return strings.HasPrefix(c.PURL, want) }) {
			t.Errorf("no component is %s:\n%s", want, text)
		}
	}
}

func TestSBOMIsTheSameEachTime(t *testing.T) {
	program := self(t)
	first, err := SBOM(program, "v1", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	second, err := SBOM(program, "v1", time.Unix(0, 0))
	if err != nil || string(first) != string(second) {
		t.Errorf("two lists of one program differ (%v):\n%s\n%s", err, first, second)
	}
}

func TestAFileThatGoDidNotWriteHasNoSBOM(t *testing.T) {
	if _, err := SBOM([]byte("\x7fELF a program"), "v1", time.Unix(0, 0)); err == nil {
		t.Error("a list was made of what nobody knows")
	}
}

func self(t *testing.T) []byte {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}
