// Command ociimage puts one static binary into a container image and writes it as an OCI archive, without a container
// engine. The same binary and arguments give the same bytes. A list of the modules that the binary was built of, in
// CycloneDX's format, goes into the image and beside the archive.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ociimage:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("ociimage", flag.ContinueOnError)
	binary := flags.String("binary", "", "the static `file` that is the image's one program")
	path := flags.String("path", "", "the program's `path` in the image, also its entry point")
	name := flags.String("name", "", "the image's `reference`, such as ghcr.io/herald-lb/speaker:v0.1.0")
	user := flags.String("user", "65534:65534", "`uid:gid` that the program runs as")
	arch := flags.String("arch", runtime.GOARCH, "`architecture` that the program was built for")
	commit := flags.String("commit", "", "the `commit` that the program was built from")
	epoch := flags.String("epoch", "0", "`seconds` since 1970 that everything in the image is dated to")
	output := flags.String("output", "", "the archive's `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	created, err := strconv.ParseInt(*epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("read -epoch: %w", err)
	}
	program, err := os.ReadFile(*binary)
	if err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	sbom, err := SBOM(program, (*name)[strings.LastIndex(*name, ":")+1:], time.Unix(created, 0))
	if err != nil {
		return err
	}
	return write(*output, Spec{
		Program: program,
		Path:    *path,
		SBOM:    sbom,
		Name:    *name,
		User:    *user,
		Arch:    *arch,
		Commit:  *commit,
		Created: time.Unix(created, 0).UTC(),
	})
}

func write(file string, spec Spec) error {
	archive, err := Archive(spec)
	if err != nil {
		return fmt.Errorf("build image %s: %w", spec.Name, err)
	}
	if err := os.WriteFile(file, archive, 0o644); err != nil {
		return fmt.Errorf("write image %s: %w", spec.Name, err)
	}
	if err := os.WriteFile(strings.TrimSuffix(file, ".tar")+".cdx.json", spec.SBOM, 0o644); err != nil {
		return fmt.Errorf("write what image %s is made of: %w", spec.Name, err)
	}
	return nil
}
